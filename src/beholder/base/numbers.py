"""Numbers that callers give: whole ones between two bounds."""

from __future__ import annotations

import operator
from typing import Any

from beholder.base.errors import UsageError

SEEDS = 2**31 - 1
"""The largest seed, as of a recipe."""


def whole(value: Any, least: int, most: int, *, code: str, what: str) -> int:
    """Return `value` as an int. Raises `UsageError` (`code`) where it is no whole number from `least` to `most`.

    what: said of it, such as "is no seed"
    """
    hint = f"a whole number from {least:,} to {most:,}"
    try:
        found = operator.index(value)
    except TypeError as error:
        raise UsageError(f"{value!r} {what}", code=code, hint=hint) from error
    if isinstance(value, bool) or not least <= found <= most:
        raise UsageError(f"{value!r} {what}", code=code, hint=hint)
    return found


def check_seed(seed: Any) -> None:
    """Raise `UsageError` (bad-seed) for what is no whole number from 0 to `SEEDS`."""
    whole(seed, 0, SEEDS, code="bad-seed", what="is no seed")
