"""Every error that Beholder raises on purpose.

    BeholderError             exit 1
    ├── UsageError            exit 2     an argument, a name or a type is wrong
    ├── DataError             exit 1     the pictures or their labels are not fit
    │   └── PictureError      exit 1     one picture cannot be read
    ├── BundleError           exit 1     a bundle is damaged, foreign or too new
    └── MachineError          exit 1     the disk is full, the device is missing

    KeyboardInterrupt
    └── Interrupted           exit 130   Ctrl-C (143: SIGTERM)

`Interrupted` is no `BeholderError` and no `Exception`, so that nothing that makes up for a failure can swallow it.
A message says what happened, where and what was received; the hint says what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class _Said(BaseException):
    """What every one of them says. `code` is a short machine-readable reason such as `one-class`."""

    exit_code = 1

    def __init__(self, message: str, *, code: str = "error", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n\nhint: {self.hint}" if self.hint else self.message


class BeholderError(_Said, Exception):
    """Base of the tree. `code` is a short machine-readable reason such as `one-class`."""


class UsageError(BeholderError):
    """An argument, a name or a type is wrong."""

    exit_code = 2


class DataError(BeholderError):
    """The pictures or their labels are not fit for the task."""


class PictureError(DataError):
    """One picture cannot be read; `code` is its reason code."""


class BundleError(BeholderError):
    """A bundle is damaged, foreign, or of a newer schema."""


class MachineError(BeholderError):
    """The machine cannot do it: disk full, device missing, precision not supported."""


class Interrupted(_Said, KeyboardInterrupt):
    """The person or the system asked to stop; what could be saved has been saved."""

    exit_code = 130

    def __init__(self, message: str = "interrupted", *, hint: str = "", exit_code: int = 130) -> None:
        super().__init__(message, code="interrupted", hint=hint)
        self.exit_code = exit_code


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint that names the nearest known word, or else lists them all.

    >>> did_you_mean("epoch", ["epochs", "batch"])
    "did you mean 'epochs'?"
    """
    known = sorted(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else "known: " + ", ".join(known)
