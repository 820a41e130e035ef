"""Registries of everything that can be extended: a lazy table from a name to `module:attribute`.

Built-ins are rows of a table; a plug-in adds rows through the entry-point group `beholder.<kind>s`.
Nothing is imported before it is asked for. What a plug-in does wrong becomes an error that names it, or, where it is one of
many that nobody asked for by name, a warning.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from beholder.base import events
from beholder.base.errors import BeholderError, UsageError, did_you_mean

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


@dataclass(frozen=True)
class Registry:
    """`kind` in the singular ("net"); `builtin` maps names to "module:attribute"."""

    kind: str
    builtin: Mapping[str, str]

    def names(self) -> list[str]:
        """Return every name, built-in ones first, then those of plug-ins."""
        return [*self.builtin, *(name for name in self._plugins() if name not in self.builtin)]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        return name in self.builtin or name in self._plugins()

    def load(self, name: str, *, of: type | None = None) -> Any:
        """Return what is registered under `name`: a value of the type `of`, else a function, guarded if it is a plug-in's.

        Raises `UsageError`: unknown-<kind> with the nearest name; plug-in-failed where a plug-in cannot be imported, or is
        no such thing.
        """
        if name in self.builtin:
            return attribute(self.builtin[name])
        point = self._plugins().get(name)
        if point is None:
            raise UsageError(
                f"there is no {self.kind} named '{name}'", code=f"unknown-{self.kind}", hint=did_you_mean(name, self.names())
            )
        with self.guarded(name):
            found = attribute(point.value)
            if of is not None and not isinstance(found, of):
                raise TypeError(f"it is no {of.__module__}.{of.__name__} but a {type(found).__name__}")
        return self._wrapped(name, found) if of is None else found

    def sound(self, *, of: type | None = None) -> dict[str, Any]:
        """Return name → what is registered, as `load` does; of each plug-in that cannot be loaded there is a warning."""
        found = {}
        for name in self.names():
            with self.tolerant(name):
                found[name] = self.load(name, of=of)
        return found

    @contextmanager
    def tolerant(self, name: str) -> Iterator[None]:
        """Let errors in the code of a plug-in become a warning that names it; all else passes."""
        try:
            with self.guarded(name):
                yield
        except UsageError as error:
            if error.code != "plug-in-failed":
                raise
            events.warn(f"{error.message}; it is left out", hint=error.hint)

    @contextmanager
    def guarded(self, name: str) -> Iterator[None]:
        """Let errors in the code of a plug-in become `UsageError` (plug-in-failed) that names it; Beholder's own pass."""
        try:
            yield
        except (Exception, SystemExit) as error:
            point = None if name in self.builtin else self._plugins().get(name)
            if point is None or (isinstance(error, BeholderError) and error.code != "import-failed"):
                raise
            owner = f" of {point.dist.name} {point.dist.version}" if point.dist else ""
            what = error.message if isinstance(error, BeholderError) else f"{type(error).__name__}: {error}"
            hint = f"it is a plug-in ({point.value}): update or remove it; --debug shows where it failed"
            raise UsageError(f"the {self.kind} '{name}'{owner} failed: {what}", code="plug-in-failed", hint=hint) from error

    def _wrapped(self, name: str, function: Any) -> Any:
        @functools.wraps(function, updated=())
        def call(*args: Any, **kwargs: Any) -> Any:
            with self.guarded(name):
                return function(*args, **kwargs)

        return call

    def _plugins(self) -> dict[str, EntryPoint]:
        from importlib.metadata import entry_points  # takes longer than all else here

        return {point.name: point for point in entry_points(group=f"beholder.{self.kind}s")}


def attribute(target: str) -> Any:
    """Import `package.module:name` and return what it names; raise `UsageError` (import-failed) if that cannot be done."""
    module, _, name = target.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:  # a module may raise anything while it is imported
        kind = "" if isinstance(error, (ImportError, AttributeError, ValueError)) else f"{type(error).__name__}: "
        hint = "write it as module:function, with the module on the Python path (PYTHONPATH=.)"
        raise UsageError(f"cannot import '{target}': {kind}{error}", code="import-failed", hint=hint) from error
    return found


def name_of(value: object) -> str:
    """Return `module:name` of a function or a class that can be imported under it from anywhere, "" for any other value."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
    if module in (None, "__main__") or not isinstance(name, str) or "<" in name:
        return ""
    found: Any = sys.modules.get(str(module))
    for part in name.split("."):
        found = getattr(found, part, None)
    return f"{module}:{name}" if found is value and found is not None else ""
