"""How a value shows itself in a notebook: HTML, made by `reporting.display` when asked for; and which picture it is about."""

from __future__ import annotations

import importlib
import weakref
from os import PathLike
from typing import Any

SMALL = 12_288
"""Bytes of an array that is kept: 64 × 64 pixels in colour. A larger one is shown while somebody else holds it."""


KEPT = 24
"""Answers of one call whose small arrays are kept: as many as a notebook shows. A call may have a million."""


def html(self: Any) -> str | None:
    """Return a value as HTML for a notebook; None, which lets its repr be shown, where it cannot be made."""
    made: str | None = importlib.import_module("beholder.reporting.display").html(self)
    return made


class Given:
    """The picture that an answer is about, as it was given: it costs hardly any memory, and may be gone when it is called for.

    keep: whether a small array is copied, and small bytes are held; what is large is only referred to, weakly.

    >>> Given("new.jpg")()
    'new.jpg'
    """

    def __init__(self, picture: Any, *, keep: bool = True) -> None:
        self._kept: Any = None
        self._weak: weakref.ref[Any] | None = None
        if isinstance(picture, (str, PathLike)):
            self._kept = picture
        elif keep and getattr(picture, "nbytes", SMALL + 1) <= SMALL:
            self._kept = picture.copy() if hasattr(picture, "copy") else picture
        elif isinstance(picture, bytes):
            self._kept = picture if keep and len(picture) <= SMALL else None
        else:
            try:
                self._weak = weakref.ref(picture)
            except TypeError:
                pass

    def __call__(self) -> Any:
        """Return the picture: its path, or what it was given as; None where it is gone."""
        return self._kept if self._weak is None else self._weak()

    def __reduce__(self) -> tuple[type[Given], tuple[Any]]:
        """Go to other processes, and into copies, without what is not kept."""
        return Given, (self._kept,)
