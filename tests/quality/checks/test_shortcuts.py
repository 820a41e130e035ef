"""Classes that size, brightness, file type, border or folder give away."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from beholder.base.records import Pictures
from beholder.duplicates.facts import FACTS
from beholder.quality.checks import Evidence
from beholder.quality.checks.shortcuts import SHORTCUT, shortcut
from beholder.sources.arrays import ArrayStore


def ordinary(n: int = 400, *, seed: int = 0) -> Evidence:
    """Two classes whose facts have nothing to do with them."""
    rng = np.random.default_rng(seed)
    facts = np.zeros(n, FACTS)
    facts["height"], facts["width"] = rng.integers(100, 200, n), rng.integers(100, 200, n)
    facts["format"], facts["channels"] = rng.choice([b"JPEG", b"PNG"], n), 3
    facts["light"], facts["spread"] = np.sort(rng.random((n, 5)), axis=1), rng.random(n)
    facts["border"], facts["pixels"] = rng.random((n, 2)), rng.integers(1, 255, (n, 16))
    targets = rng.integers(0, 2, n)
    keys = [f"{'ab'[k]}/{rng.choice(['north', 'south'])}/{i}.png" for i, k in enumerate(targets)]
    digests = rng.integers(0, 256, (n, 32)).astype(np.uint8)
    none = np.full(n, -1)
    return Evidence(Pictures(ArrayStore([]), keys, targets, ("a", "b"), none.astype(np.int8), none, digests), facts)


def found(evidence: Evidence) -> set[str]:
    return {remark.verdict for remark in shortcut(evidence) if remark.score >= SHORTCUT.limit}


def test_nothing_is_found_where_nothing_is() -> None:
    assert not found(ordinary())


def _dark(e: Evidence) -> None:
    e.facts["light"] = np.where((e.pictures.targets == 1)[:, None], e.facts["light"] * 0.3, e.facts["light"])
    e.facts["spread"] *= np.where(e.pictures.targets == 1, 0.3, 1)


def _large(e: Evidence) -> None:
    e.facts["width"] += 100 * (e.pictures.targets == 1)


def _jpeg(e: Evidence) -> None:
    e.facts["format"] = np.where(e.pictures.targets == 1, b"JPEG", b"PNG")


def _framed(e: Evidence) -> None:
    e.facts["border"] *= np.where(e.pictures.targets == 1, 0.0, 1.0)[:, None]


def _stamped(e: Evidence) -> None:
    e.facts["corners"] = np.random.default_rng(1).random((len(e.facts), 8))
    e.facts["corners"][:, 4:6] *= np.where(e.pictures.targets == 1, 0.1, 1.0)[:, None]


@pytest.mark.parametrize(
    ("facet", "plant"),
    [("corners", _stamped), ("brightness", _dark), ("size", _large), ("file type", _jpeg), ("border", _framed)],
)
def test_planted_shortcut_is_named(facet: str, plant: Callable[[Evidence], None]) -> None:
    evidence = ordinary()
    plant(evidence)
    sentences = found(evidence)
    assert len(sentences) == 2  # each of the two classes
    assert all(f"can be told by {facet} alone" in sentence for sentence in sentences)


def test_planted_folder_is_named_and_the_class_folder_is_not_one() -> None:
    evidence = ordinary()
    keys = [f"{'ab'[k]}/{'north' if k else 'south'}/{i}.png" for i, k in enumerate(evidence.pictures.targets)]
    planted = Pictures(
        evidence.pictures.store,
        keys,
        evidence.pictures.targets,
        ("a", "b"),
        evidence.pictures.parts,
        evidence.pictures.groups,
        evidence.pictures.digests,
    )
    assert all("source folder" in sentence for sentence in found(Evidence(planted, evidence.facts)))
    assert len(found(Evidence(planted, evidence.facts))) == 2


def test_twins_do_not_make_a_shortcut() -> None:
    """Copies of one picture of random size would be told by that size alone, were they in both sides of a fold."""
    evidence = ordinary(60)
    rows = np.repeat(np.arange(60), 8)
    assert not found(Evidence(evidence.pictures.take(rows), evidence.facts[rows]))


def test_small_classes_are_left_alone() -> None:
    evidence = ordinary(400)
    evidence.pictures.targets[:] = 0
    evidence.pictures.targets[:15] = 1
    _jpeg(evidence)
    assert not found(evidence)
