"""One door for everything that can be extended: a lazy table from a name to `module:attribute`.

Built-ins are rows of a table; a plug-in adds rows through the entry-point group `beholder.<kind>`.
Nothing is imported before it is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from beholder.base.errors import UsageError, did_you_mean


@dataclass(frozen=True)
class Registry:
    """`kind` in the singular ("net"); `builtin` maps names to "module:attribute"."""

    kind: str
    builtin: Mapping[str, str]

    def names(self) -> list[str]:
        """Return every name, built-in ones first, then those of plug-ins."""
        return [*self.builtin, *(name for name in self._plugins() if name not in self.builtin)]

    def load(self, name: str) -> Any:
        """Return the object registered under `name`; raise `UsageError` with the nearest name if there is none."""
        target = self.builtin.get(name) or self._plugins().get(name)
        if target is None:
            raise UsageError(
                f"there is no {self.kind} named '{name}'", code=f"unknown-{self.kind}", hint=did_you_mean(name, self.names())
            )
        return attribute(target)

    def _plugins(self) -> dict[str, str]:
        return {point.name: point.value for point in entry_points(group=f"beholder.{self.kind}s")}


def attribute(target: str) -> Any:
    """Import `package.module:name` and return what it names; raise `UsageError` if it is not there."""
    module, _, name = target.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"cannot import '{target}': {error}",
            code="import-failed",
            hint="write it as module:function, with the module on the Python path (PYTHONPATH=.)",
        ) from error
    return found
