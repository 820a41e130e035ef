"""Notes on a test that rest on what a bundle remembers: pictures it has seen, readings of the test part, samples."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from beholder.base import events
from beholder.base.records import Pictures
from beholder.bundle.kept import Kept


def sampled(n: int, whole: int) -> list[str]:
    """Return a note where n of `whole` pictures were tested; 0: all."""
    return [f"{n:,} of {whole:,} pictures were tested, a stratified sample: there was no time for more."] if whole else []


def flattery(bundle: Kept, pictures: Pictures) -> list[str]:
    """Return a note, and warn, where pictures (or exact duplicates of them) were used in training or validation."""
    used = sum(bundle.used(pictures.hexdigests))
    if not used:
        return []
    note = f"{used} of these {len(pictures)} pictures were used in training or validation: the scores flatter."
    return [events.warn(note, hint="--part test scores the test part alone")]


def counted(bundle: Kept, known: Sequence[str]) -> list[str]:
    """Count a reading of the test part where pictures are of it, and return a note; known: the part of each, "": none."""
    tested = known.count("test")
    if not tested:
        return []
    bundle.count_reading(tested, datetime.now(UTC).isoformat(timespec="seconds"))
    times = len(bundle.readings)
    if times == 1:
        return ["The test part was read once: this time."]
    return [f"The test part has now been read {times} times; each look back at it makes its scores flatter than the future."]
