"""The report's parts beyond the scores: one for each section of `use.sections`."""

from __future__ import annotations

from typing import Any

from beholder.use.report.room import Room


def calibration(room: Room) -> dict[str, Any] | None:
    """Return how far probabilities can be believed."""
    return None


abstention = strangers = corruptions = slices = sealed = cost = calibration
