"""A detector that is told what it finds, and pictures with boxes, so that every figure can be checked by hand."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from beholder.base.arrays import U8
from beholder.base.boxes import Boxes, Drawn
from beholder.base.errors import PictureError
from beholder.base.recipe import Recipe
from beholder.base.records import Pictures, PixelPolicy
from beholder.bundle.config import Tried
from beholder.bundle.finder import Config, Finder
from beholder.bundle.kept import Kept
from beholder.measure.detections import Detected
from beholder.nets.spec import DetectorSpec

Box = tuple[str, float, float, float, float]
"""Class, left, top, right, bottom in pixels of a picture."""

WIDTH, HEIGHT = 100, 80
SOURCE, OWN = ("bee", "ant"), ("ant", "bee", "cat")
"""The classes of the source, and those of the detector, in another order and with one more."""

CURVE = ((2.0, 0.2), (9.0, 0.4))


@dataclass
class Told(Kept, Finder):
    """A detector that finds in the picture whose first pixel is k what `answers[k]` says, with scores."""

    config: Config
    answers: Mapping[int, Sequence[tuple[Box, float]]]
    recipe: Recipe = field(default_factory=Recipe)
    history: list[dict[str, Any]] = field(default_factory=list)
    splits: list[tuple[str, str]] = field(default_factory=list)
    path: Path | None = None
    readings: list[dict[str, Any]] = field(default_factory=list)

    def found(self, images: U8, *, most: int | None = None) -> list[Detected]:
        scale = np.tile([self.policy.width / WIDTH, self.policy.height / HEIGHT], 2)
        rows = []
        for image in images:
            told = self.answers.get(int(image[0, 0, 0]), ())
            corners = np.array([box[1:] for box, _ in told], np.float64).reshape(-1, 4) * scale
            classes = np.array([self.classes.index(box[0]) for box, _ in told], np.int64)
            rows.append(Detected(corners, classes, np.array([score for _, score in told], np.float64)))
        return rows


def detector(answers: Mapping[int, Sequence[tuple[Box, float]]], **fields: Any) -> Told:
    """Return a detector of `OWN` that finds what is said; its thresholds are 0.5."""
    config = Config(
        classes=OWN,
        pixels=PixelPolicy(64, 64),
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        net=DetectorSpec("none", 3, len(OWN)),
        thresholds=(0.5,) * len(OWN),
        tried=(Tried("head", "head on the frozen backbone", 0.4, 3, 2.0, 7.0, "9 steps", CURVE),),
    )
    return Told(config, answers, **fields)


@dataclass(frozen=True)
class Memory:
    """A store that holds its files."""

    files: Mapping[str, bytes]
    name: str = "memory"

    def read(self, key: str) -> bytes:
        if not self.files[key]:
            raise PictureError("the file is empty", code="empty")
        return self.files[key]

    def stamp(self, key: str) -> str:
        return ""


def pictures(
    rows: Sequence[Sequence[Box]], *, classes: tuple[str, ...] = SOURCE, sizes: Any = None, **columns: Any
) -> Pictures:
    """Return a picture for each row of boxes; all pixels of picture k are k."""
    files = {}
    for k in range(len(rows)):
        buffer = io.BytesIO()
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), k, np.uint8)).save(buffer, "png")
        files[f"{k}.png"] = buffer.getvalue()
    drawn = [
        Drawn(
            np.array([box[1:] for box in row], np.float64).reshape(-1, 4),
            np.array([classes.index(box[0]) for box in row], np.int64),
            np.zeros(len(row), bool),
        )
        for row in rows
    ]
    hot = np.array([[name in {box[0] for box in row} for name in classes] for row in rows], np.uint8)
    unknown = {"parts": np.full(len(rows), -1, np.int8), "groups": np.full(len(rows), -1, np.int64)}
    return Pictures(Memory(files), list(files), hot, classes, boxes=Boxes.of(drawn, sizes), **{**unknown, **columns})


TRUTH: list[list[Box]] = [
    [("ant", 10, 10, 30, 30)],
    [("bee", 50, 20, 90, 60)],
    [("ant", 10, 40, 50, 70)],
    [],
]
ANSWERS: dict[int, list[tuple[Box, float]]] = {
    0: [(("ant", 10, 10, 30, 30), 0.9), (("cat", 60, 10, 80, 30), 0.1)],
    1: [(("bee", 70, 20, 100, 60), 0.8)],  # overlaps by 20 of 50 columns
    2: [(("bee", 10, 40, 50, 70), 0.6)],
    3: [(("bee", 10, 40, 50, 70), 0.7)],
}
"""One right, one misplaced, one of another class, one where nothing is; and one that no threshold lets pass."""
