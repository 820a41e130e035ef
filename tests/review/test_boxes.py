"""Boxes on the review page, without a browser: what is decided about them, what is written, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.squares import drawn

from beholder.base.errors import UsageError
from beholder.base.records import Finding
from beholder.quality.audit import Findings, read
from beholder.quality.boxes import decided_boxes
from beholder.quality.clean import clean
from beholder.quality.decisions import continued, reopened
from beholder.quality.named import name_of
from beholder.review.session import Session, View
from beholder.sources import scan

NEW = "new 5,5,20,20 red"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return drawn(tmp_path / "squares", n=16)


@pytest.fixture
def session(source: Path, tmp_path: Path) -> Session:
    pictures = scan(source)
    assert pictures.boxes is not None
    first = str(name_of(pictures.boxes, 0, pictures.classes))
    rows = (
        Finding(pictures.keys[0], "box-twice", 1.0, "twice", "drop", box=first),
        Finding(pictures.keys[0], "box-missing", 0.9, "missing", "review", box=NEW),
        Finding(pictures.keys[0], "dark", 0.7, "dark"),
        Finding(pictures.keys[1], "dark", 0.6, "dark"),
    )
    return Session(Findings(pictures, rows, {}), tmp_path / "audit.csv")


def test_a_box_and_its_picture_are_decided_apart(session: Session) -> None:
    twice, missing, dark, _ = session.rows
    key = dark.picture
    session.decide([(0, "drop", twice.box)])
    assert session.view(View())["open"] == "0111"
    assert session.decisions == {}
    assert decided_boxes(read(session.path)) == {key: {twice.box: "drop"}}
    session.decide([(0, "relabel:green", missing.box), (0, "keep")])
    assert session.view(View())["open"] == "0001"
    assert session.progress()["boxes"] == {"kept": 0, "dropped": 1, "relabelled": 0, "drawn": 1}
    assert session.undo() == [0, 0]
    assert session.view(View())["open"] == "0111"
    session.decide([(0, "drop")])  # the picture goes, and what its boxes are does not matter any more
    assert session.view(View())["open"] == "0001"


def test_a_box_that_a_person_drew_is_kept_from_one_audit_to_the_next(session: Session, source: Path, tmp_path: Path) -> None:
    fresh = "new 1.5,2,30,40.25 blue"
    session.decide([(1, "keep", fresh)])
    rows = read(session.path)
    assert rows[-1] == Finding(session.pictures.keys[1], "review", 1.0, "decided by a person", decided="keep", box=fresh)
    again = Session(reopened(scan(source), session.path), session.path)
    assert again.boxes == {session.pictures.keys[1]: {fresh: "keep"}}
    after = continued(Findings(scan(source), session.rows[:1] and tuple(session.rows), {}), session.path)
    assert decided_boxes(after.rows) == {session.pictures.keys[1]: {fresh: "keep"}}
    done = clean(source, apply=session.path, out=tmp_path / "new.csv")
    assert done.boxes is not None
    assert done.boxes["drawn"] == 1
    assert "blue" in scan(tmp_path / "new.csv").classes
    session.undo()
    assert read(session.path)[-1].box == ""


def test_what_is_drawn_of_a_picture(session: Session) -> None:
    shown = session.drawn(0)
    assert (shown["width"], shown["height"]) == (96, 64)
    boxes = shown["boxes"]
    assert isinstance(boxes, list)
    assert [row["new"] for row in boxes] == [False] * (len(boxes) - 1) + [True]
    assert boxes[-1] == {"name": NEW, "label": "red", "corners": [5, 5, 20, 20], "decided": "", "new": True}
    session.decide([(0, "drop", boxes[0]["name"])])
    assert session.drawn(0)["boxes"][0]["decided"] == "drop"  # type: ignore[index]


@pytest.mark.parametrize(
    ("box", "what"),
    [
        ("nonsense", "drop"), ("0 1,2,3,4 red", "drop"), ("99 1,2,3,4 red", "drop"), ("new 1,1,9000,9 red", "keep"),
        ("new -5,1,9,9 red", "keep"), ("new 5,5,4,9 red", "keep"), ("new 1,1,9,9 a\nb", "keep"),
        (NEW, "relabel:"), (NEW, "yes"),
    ],
)  # fmt: skip
def test_what_is_no_decision_about_a_box_is_refused(session: Session, box: str, what: str) -> None:
    with pytest.raises(UsageError):
        session.decide([(0, what, box)])
    assert session.boxes == {}


def test_only_what_is_suggested_of_a_box_is_accepted(session: Session) -> None:
    assert session.accept(View(check="box-twice")) == 1
    assert session.accept(View(check="box-missing")) == 0
    assert decided_boxes(read(session.path)) == {session.rows[0].picture: {session.rows[0].box: "drop"}}
    assert session.decisions == {}
