"""A set of photographs without a fault, into which a test plants some."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import pytest

from beholder.duplicates.facts import facts
from beholder.quality.checks import CHECKS, Evidence, Marks
from beholder.sources import scan
from beholder.sources.digest import digested

Picture = npt.NDArray[np.uint8]
Set = list[Picture]


def photograph(seed: int, height: int = 96, width: int = 128) -> Picture:
    """A coloured scene of overlapping rectangles with fine grain: sharp, well exposed, never twice the same."""
    rng = np.random.default_rng(seed)
    picture = np.empty((height, width, 3))
    picture[:] = rng.uniform(40, 200, 3)
    for _ in range(25):
        top, left = rng.integers(0, height - 8), rng.integers(0, width - 8)
        tall, wide = rng.integers(8, height // 2), rng.integers(8, width // 2)
        picture[top : top + tall, left : left + wide] = rng.uniform(0, 255, 3)
    return np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def clean() -> Set:
    """Thirty photographs without a fault."""
    return [photograph(seed) for seed in range(30)]


def evidence(pictures: Set, **more: object) -> Evidence:
    """The evidence of pictures in memory, in two classes by turns."""
    held = digested(scan((pictures, [k % 2 for k in range(len(pictures))])))
    return Evidence(held, facts(held), **more)  # type: ignore[arg-type]


@pytest.fixture
def found() -> Callable[..., set[int]]:
    """A function from the name of a check and pictures to the rows that it finds."""

    def look(name: str, pictures: Set) -> set[int]:
        check = CHECKS.load(name)
        marks = check.ask(evidence(pictures))
        assert isinstance(marks, Marks)
        assert np.nanmin(marks.scores) >= 0
        assert np.nanmax(marks.scores) <= 1
        return set(np.flatnonzero(marks.scores >= check.limit).tolist())

    return look


Changes = Mapping[str, Callable[[Picture], Picture]]
