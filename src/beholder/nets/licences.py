"""Licences of pretrained weights: which are permissive, and the refusal of those that are not unless they were asked for."""

from __future__ import annotations

from beholder.base.errors import UsageError

PERMISSIVE = frozenset(
    {
        *("apache-2.0", "mit", "mit-0", "isc", "zlib", "unlicense", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear"),
        *("cc0-1.0", "cc-by-3.0", "cc-by-4.0", "0bsd", "bsl-1.0", "ncsa"),
    }
)
"""SPDX identifiers, in small letters, of licences that allow any use, commercial too, and ask for attribution at most."""

UNKNOWN = frozenset({"", "unknown", "none"})
"""What stands in the place of a licence where nobody states one."""


def permissive(licence: str) -> bool | None:
    """Return whether a licence, by its SPDX identifier in any case, is permissive; None where it is not stated.

    >>> permissive("Apache-2.0"), permissive("cc-by-nc-4.0"), permissive("")
    (True, False, None)
    """
    name = licence.strip().lower()
    return None if name in UNKNOWN else name in PERMISSIVE


def allowed(licence: str, asked: str) -> bool:
    """Return whether weights of a licence may be taken. asked: permissive (or not stated) | any, as `net.licence` says."""
    return asked == "any" or permissive(licence) is not False


def check(what: str, licence: str, asked: str) -> None:
    """Raise `UsageError` (licence) where weights of a licence may not be taken. what: whose weights they are."""
    if not allowed(licence, asked):
        raise UsageError(
            f"the pretrained weights of {what} have the licence {licence}, which is not permissive: it may forbid commercial "
            "use, or set other terms",
            code="licence",
            hint="--set net.licence=any takes them all the same; `beholder nets` lists others",
        )
