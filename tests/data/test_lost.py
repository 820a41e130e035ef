from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import beholder
from beholder.base import events
from beholder.base.errors import DataError
from beholder.base.recipe import load
from beholder.data.split import split
from beholder.sources import scan
from beholder.sources.digest import digested
from beholder.study.policy import curated
from beholder.study.steps import steps

RECIPE = load("quick").set(net="cnn", epochs=1, batch=8)


def spoil(folder: Path, *, how: str = "cut") -> None:
    for file in folder.iterdir():
        file.write_bytes({"cut": file.read_bytes()[:60], "html": b"<html>404</html>", "empty": b""}[how])


@pytest.fixture
def two(leaves: Path) -> Path:
    """Three classes of which rust cannot be read, and odd files in the others."""
    spoil(leaves / "rust")
    (leaves / "healthy/x1.png").write_bytes(b"<html>404</html>")
    (leaves / "mildew/x2.png").write_bytes(b"")
    return leaves


@pytest.mark.parametrize("how", ["cut", "html", "empty"])
def test_a_class_that_cannot_be_read_is_said_and_left_out(leaves: Path, how: str) -> None:
    spoil(leaves / "rust", how=how)
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        found = curated(digested(beholder.scan(leaves)), RECIPE)
    lost = [event for event in said if event.fields.get("code") == "lost-class"]
    assert [event.message for event in lost] == [
        "class 'rust' has nothing left and is left out: not one of its 12 pictures can be read"
    ]
    for part in (found.parts.train, found.parts.valid, found.parts.test):
        assert part.classes == ("healthy", "mildew")
        assert not any(key.startswith("rust/") for key in part.keys)
        assert lost[0].message in part.notes
    assert sum(what == "drop" and key.startswith("rust/") for key, what in found.done.items()) == 12


def test_the_same_in_python(two: Path) -> None:
    with events.listen(alone=True):
        parts = beholder.split(beholder.scan(two))
    assert parts.train.classes == parts.test.classes == ("healthy", "mildew")


def test_trained_with_the_classes_that_are_left(two: Path) -> None:
    with events.listen(alone=True):
        outcome = steps(two, recipe=RECIPE)
    assert outcome.bundle.classes == ("healthy", "mildew")
    assert any("class 'rust' has nothing left" in note for note in outcome.bundle.config.notes)


def test_where_nobody_looked_it_is_an_error(two: Path) -> None:
    with events.listen(alone=True), pytest.raises(DataError, match="not one picture of rust can be read") as caught:
        steps(two, recipe=RECIPE.set(audit="off"))
    assert caught.value.code == "lost-class"


def test_one_of_several_labels(two: Path) -> None:
    rows = [f"{name}/{i:02}.png,{label}" for name in ("healthy", "mildew") for i in range(12) for label in [name]]
    rows += [f"rust/{i:02}.png,rust;healthy" for i in range(12)]
    (two / "t.csv").write_text("path,label\n" + "\n".join(rows))
    with events.listen(alone=True):
        parts = split(scan(two / "t.csv"))
    assert parts.train.classes == ("healthy", "mildew")
    assert parts.train.targets.shape[1] == 2
    assert np.array_equal(parts.train.counts() + parts.valid.counts() + parts.test.counts(), [12, 12])
