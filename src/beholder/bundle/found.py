"""The answer of a detector for one picture, the same in a file of lines and over the network."""

from __future__ import annotations

from typing import Any

from beholder.base.errors import BundleError
from beholder.base.records import Detections
from beholder.bundle.finder import Finder, Looked
from beholder.bundle.recogniser import NOT_FINITE

Answered = Detections | dict[str, Any]


def answers(finder: Finder, looked: list[Looked], *, threshold: float | None = None, most: int | None = None) -> list[Answered]:
    """Return the `Detections` of each picture, at least one, as `Finder.detections` does.

    {"error": {"code", "message"}} instead for a picture to which the net answers NaN or infinity.
    """
    try:
        return list(finder.detections(looked, threshold=threshold, most=most))
    except BundleError as error:
        if error.code != "not-finite":
            raise
        if len(looked) == 1:
            return [{"error": {"code": error.code, "message": NOT_FINITE}}]
    return [answers(finder, [each], threshold=threshold, most=most)[0] for each in looked]


def said(answer: Answered) -> dict[str, Any]:
    """Return an answer as plain JSON values: {"width", "height", "boxes"}, or what it is instead."""
    return answer.json() if isinstance(answer, Detections) else answer
