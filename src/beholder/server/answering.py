"""What a model that is served says of pictures: labels, or boxes. All else of a server is the same for both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from beholder import image
from beholder.base.arrays import U8, Values
from beholder.base.errors import UsageError
from beholder.base.limits import Limits
from beholder.base.records import Detections
from beholder.bundle import found
from beholder.bundle.answers import answers
from beholder.bundle.finder import Finder, Looked, check_asked
from beholder.bundle.recogniser import Recogniser
from beholder.server.refusal import Refusal

Given = U8 | Looked
"""A picture as the net is given it."""

Tensor = tuple[str, list[int], list[Any]]
"""Datatype, shape and values of an output of protocol v2."""


@dataclass(frozen=True)
class Asked:
    """What a request wants of each picture; None: as the bundle has it. threshold: least probability of a box; most: boxes."""

    threshold: float | None = None
    most: int | None = None


PLAIN = Asked()


class Answering(Protocol):
    """How pictures are read and answered. explainable: whether there are heat maps of such answers."""

    explainable: bool

    def about(self) -> dict[str, Any]:
        """Return what /models says of the answers."""

    def check(self, asked: Asked) -> None:
        """Raise `Refusal` 422 for what cannot be asked."""

    def given(self, picture: bytes | Values, limits: Limits) -> Given:
        """Return a picture as the net is given it. Raises `PictureError`."""

    def answers(self, pictures: Sequence[Any], asked: Sequence[Asked]) -> list[dict[str, Any]]:
        """Return an answer a picture, {"error": …} for one to which the net answers no numbers."""

    def outputs(self, says: frozenset[str]) -> list[dict[str, Any]]:
        """Return the outputs of protocol v2, of answers with these words."""

    def tensor(self, name: str, answers: list[dict[str, Any]]) -> Tensor:
        """Return an output of protocol v2."""


def answering(model: Recogniser | Finder) -> Answering:
    """Return how a model answers."""
    return BoxesSaid(model) if isinstance(model, Finder) else LabelsSaid(model)


_SINGLE = {"p": "FP32", "ood_score": "FP32", "abstain": "BOOL", "positive": "BOOL", "ood": "BOOL"}
_SINGLE |= {"strangeness": "FP32", "stranger": "BOOL"}  # names of ood_score and ood before, until 0.3.0


class LabelsSaid:
    """Labels of a whole picture, as `bundle.answers` has them."""

    explainable = True

    def __init__(self, recogniser: Recogniser) -> None:
        self._recogniser = recogniser

    def about(self) -> dict[str, Any]:
        """Return the task, and whether a picture may have several labels."""
        return {"task": self._recogniser.config.task, "several": self._recogniser.task.several}

    def check(self, asked: Asked) -> None:
        """Refuse what only boxes have."""
        if asked != PLAIN:
            raise Refusal(422, "bad-parameter", "threshold and most are of boxes, and this model tells labels")

    def given(self, picture: bytes | Values, limits: Limits) -> U8:
        """Return uint8 (C, height, width)."""
        return image.load(picture, self._recogniser.policy, limits=limits)

    def answers(self, pictures: Sequence[U8], asked: Sequence[Asked]) -> list[dict[str, Any]]:
        """Return {"label", "p", "probabilities", …} of each picture."""
        return answers(self._recogniser, np.stack(pictures))

    def outputs(self, says: frozenset[str]) -> list[dict[str, Any]]:
        """Return probabilities, label, and what else there is a value of."""
        found = [
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, len(self._recogniser.classes)]},
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
        ]
        return found + [{"name": name, "datatype": kind, "shape": [-1]} for name, kind in _SINGLE.items() if name in says]

    def tensor(self, name: str, answers: list[dict[str, Any]]) -> Tensor:
        """Return an output, a row a picture."""
        if name == "probabilities":
            classes = self._recogniser.classes
            return "FP32", [len(answers), len(classes)], [[answer[name][label] for label in classes] for answer in answers]
        values = [answer[name] if name != "label" else answer[name] or "" for answer in answers]  # text of a tensor has no null
        return ("BYTES" if name == "label" else _SINGLE[name]), [len(answers)], values


class BoxesSaid:
    """Boxes in a picture, as `bundle.found` has them."""

    explainable = False

    def __init__(self, finder: Finder) -> None:
        self._finder = finder

    def about(self) -> dict[str, Any]:
        """Return the task, how many boxes a picture has at most, and from which probability on one of each class is told."""
        config = self._finder.config
        return {"task": "detect", "several": True, "most": config.most, "thresholds": list(config.thresholds)}

    def check(self, asked: Asked) -> None:
        """Refuse a threshold that is no share, and more boxes than are kept of a picture."""
        try:
            check_asked(asked.threshold, asked.most)
        except UsageError as error:
            raise Refusal(422, "bad-parameter", error.message, hint=error.hint) from None

    def given(self, picture: bytes | Values, limits: Limits) -> Looked:
        """Return the picture with its own size."""
        head = image.header(picture, limits=limits)
        return Looked(image.load(picture, self._finder.policy, limits=limits), (head.width, head.height))

    def answers(self, pictures: Sequence[Looked], asked: Sequence[Asked]) -> list[dict[str, Any]]:
        """Return {"width", "height", "boxes": [{"label", "p", "box"}, …]} of each picture.

        They are run together, with the most boxes and the least threshold that one of them wants; each then gets its own.
        """
        usual, least = self._finder.config.most, [each.threshold for each in asked if each.threshold is not None]
        most = max(each.most or usual for each in asked)
        by_class = np.asarray(self._finder.config.thresholds)
        lowest = min([float(by_class.min()) if len(least) < len(asked) else 1.0, *least])
        told = found.answers(self._finder, list(pictures), threshold=lowest, most=most)
        return [self._own(answer, each) for answer, each in zip(told, asked, strict=True)]

    def _own(self, answer: found.Answered, asked: Asked) -> dict[str, Any]:
        """Return the answer to one request of what was found for several."""
        if not isinstance(answer, Detections):
            return answer
        config = self._finder.config
        usual = dict(zip(config.classes, config.thresholds, strict=True))
        kept = [box for box in answer.boxes if box.p >= (usual[box.label] if asked.threshold is None else asked.threshold)]
        return Detections(answer.width, answer.height, tuple(kept[: asked.most or config.most])).json()

    def outputs(self, says: frozenset[str]) -> list[dict[str, Any]]:
        """Return boxes, scores and labels, of each picture as many rows as the richest has, and how many count."""
        return [
            {"name": "boxes", "datatype": "FP32", "shape": [-1, -1, 4]},
            {"name": "scores", "datatype": "FP32", "shape": [-1, -1]},
            {"name": "labels", "datatype": "BYTES", "shape": [-1, -1]},
            {"name": "counts", "datatype": "INT64", "shape": [-1]},
            {"name": "sizes", "datatype": "INT64", "shape": [-1, 2]},
        ]

    def tensor(self, name: str, answers: list[dict[str, Any]]) -> Tensor:
        """Return an output; rows beyond a picture's own boxes are 0, or empty text."""
        n, most = len(answers), max(len(answer["boxes"]) for answer in answers)
        if name == "counts":
            return "INT64", [n], [len(answer["boxes"]) for answer in answers]
        if name == "sizes":
            return "INT64", [n, 2], [[answer["width"], answer["height"]] for answer in answers]
        word, fill = {"boxes": ("box", [0.0] * 4), "scores": ("p", 0.0), "labels": ("label", "")}[name]
        rows = [[box[word] for box in answer["boxes"]] + [fill] * (most - len(answer["boxes"])) for answer in answers]
        if name == "labels":
            return "BYTES", [n, most], [text for row in rows for text in row]
        return "FP32", [n, most, 4] if name == "boxes" else [n, most], rows
