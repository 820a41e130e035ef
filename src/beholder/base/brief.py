"""Short reprs: what a person sees of a value in a notebook, a debugger or a message. One line each, never the whole of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import PurePath
from typing import Any

MOST, TEXT, FEW = 400, 60, 4
"""Characters of a repr, characters of a text in it, and entries of a list in it, at most."""


def shown(self: Any) -> str:
    """Return the repr of a dataclass: its fields, each cut short."""
    return within(type(self).__name__, (f"{f.name}={short(getattr(self, f.name, None))}" for f in fields(self) if f.repr))


def changed(self: Any) -> str:
    """Return the repr of a dataclass of settings: what is not as it is by default. It evaluates to an equal value.

    >>> from beholder.base.recipe import Recipe
    >>> Recipe().set(lr=0.1, net="cnn")
    Recipe(net=NetRecipe(name='cnn'), train=TrainRecipe(lr=0.1))
    """
    values = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != _default(f)}
    return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in values.items())})"


def within(name: str, parts: Iterable[str]) -> str:
    """Return "name(part, part, …)" in at most `MOST` characters and one line."""
    inside = ", ".join(part for part in parts if part)
    return cut(f"{name}({inside}", MOST - 1) + ")"


def listed(names: Iterable[object], *, most: int = FEW) -> str:
    """Return some names with commas between.

    >>> listed(["ant", "bee", "fly"], most=2)
    'ant, bee, … (3)'
    """
    every = list(names)
    some = ", ".join(cut(str(name), TEXT // 2) for name in every[:most])
    return some if len(every) <= most else f"{some}, … ({len(every):,})"


def cut(text: str, most: int = TEXT) -> str:
    """Return a text in at most `most` characters and one line."""
    text = "".join(letter if letter.isprintable() else " " for letter in text[: most + 1])
    return text if len(text) <= most else f"{text[: most - 1]}…"


def without_secrets(text: str) -> str:
    """Return a text with the URLs in it bare: without name, password, query and fragment, any of which may be secret.

    >>> without_secrets("from https://me:pass@example.org:8080/x.zip?X-Signature=abc#y")
    'from https://example.org:8080/x.zip'
    """
    return _URL.sub(r"\1\2", text)


_URL = re.compile(r"(\b[A-Za-z][\w+.-]*://)(?:[^\s/?#\"'<>]*@)?([^\s?#\"'<>]*)(?:[?#][^\s\"'<>]*)?")


def short(value: object) -> str:
    """Return a value in a few words: shape and type of an array, the first of a list, the name of what is large.

    >>> short([1, 2]), short(range(99)), short("a" * 99)[:3]
    ('[1, 2]', '<99 × int>', "'aa")
    """
    if value is None or isinstance(value, (bool, int, float, complex)):
        return repr(value)
    if isinstance(value, str):
        return repr(cut(value))
    if isinstance(value, PurePath):
        return repr(cut(str(value)))
    if (dtype := getattr(value, "dtype", None)) is not None and (shape := getattr(value, "shape", None)) is not None:
        return f"<{str(dtype).removeprefix('torch.')} {tuple(shape)}>"
    if isinstance(value, Mapping):
        return f"<{len(value):,} entries{': ' if value else ''}{listed(list(value)[: FEW + 1])}>" if value else "{}"
    if isinstance(value, (list, tuple, Set, range)) and not hasattr(value, "_fields"):
        return _several(value)
    text = repr(value) if is_dataclass(value) or hasattr(value, "_fields") else ""
    return text if 0 < len(text) <= 2 * TEXT and "\n" not in text else f"<{type(value).__name__}>"


def _several(values: Any) -> str:
    left, right = "[]" if isinstance(values, list) else "()" if isinstance(values, tuple) else "{}"
    some = list(values) if len(values) <= FEW else []
    inner = ", ".join(short(value) for value in some)
    if not values or (some and len(inner) <= 2 * TEXT):
        return f"{left}{inner}{',' if left == '(' and len(some) == 1 else ''}{right}"
    return f"<{len(values):,} × {type(next(iter(values))).__name__}>"


def _default(field: Field[Any]) -> object:
    return field.default_factory() if field.default_factory is not MISSING else field.default
