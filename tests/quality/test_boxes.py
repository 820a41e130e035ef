"""Boxes after the decisions of a person: what is written, that `scan` reads it, and that the source stays as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.squares import drawn

from beholder.base.errors import DataError
from beholder.base.records import Finding, Pictures
from beholder.quality.audit import Findings, decided, read
from beholder.quality.boxes import boxes_table, corrected
from beholder.quality.clean import clean
from beholder.quality.named import NEW, Named, name_of, named
from beholder.sources import scan


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return drawn(tmp_path / "squares", n=16)


def decision(pictures: Pictures, picture: int, box: int | Named, what: str) -> Finding:
    boxes = pictures.boxes
    assert boxes is not None
    name = box if isinstance(box, Named) else name_of(boxes, int(boxes.starts[picture]) + box, pictures.classes)
    return Finding(pictures.keys[picture], "review", 1.0, "decided by a person", decided=what, box=str(name))


def held(pictures: Pictures) -> list[list[tuple[str, list[float]]]]:
    """(class, corners) of the boxes of each picture, in any order."""
    boxes = pictures.boxes
    assert boxes is not None
    rows = [zip(boxes[k].classes.tolist(), boxes[k].corners.tolist(), strict=True) for k in range(len(pictures))]
    return [sorted((pictures.classes[c], corners) for c, corners in row) for row in rows]


def test_a_name_says_the_box_and_is_read_again() -> None:
    for name in (Named(3, (10.0, 20.25, 30.0, 40.0), "a b, c=@"), Named(NEW, (0.0, 0.0, 1e5, 123456.75), "RBC")):
        assert named(str(name)) == name
    assert Named(3, (10.0, 20.4, 30.0, 40.0), "RBC").words == "box 3, RBC at 10,20–30,40"
    for text in (
        "",
        "3",
        "3 1,2,3 RBC",
        "x 1,2,3,4 RBC",
        "-2 1,2,3,4 a",
        "3 1,2,1,4 a",
        "3 nan,2,3,4 a",
        "1 0,0,1e99,1 a",
        "3 1,2,3,4",
    ):
        with pytest.raises(DataError):
            named(text)


def test_decisions_about_boxes_are_followed_and_read_again(source: Path, tmp_path: Path) -> None:
    pictures = scan(source)
    before = source.read_bytes()
    want = held(pictures)
    empty = next(k for k, row in enumerate(want) if not row)
    full = next(k for k, row in enumerate(want) if row)
    fresh = Named(NEW, (1.5, 2.0, 30.25, 40.0), "blue, new")
    rows = [
        decision(pictures, full, 0, "drop"),
        decision(pictures, empty, fresh, "keep"),
        decision(pictures, empty, fresh._replace(corners=(5.0, 5.0, 9.0, 9.0)), "relabel:red"),
        decision(pictures, empty, fresh._replace(corners=(6.0, 5.0, 9.0, 9.0)), "drop"),
    ]
    other = next(k for k, row in enumerate(want) if row and k != full)
    rows.append(decision(pictures, other, 0, "relabel:blue, new"))
    table = Findings(pictures, tuple(rows), {}).save(tmp_path / "audit.csv")
    assert read(table) == rows
    assert decided(read(table)) == {}
    done = clean(source, apply=table, out=tmp_path / "new.csv")
    assert done.boxes == {"left": len(pictures.boxes.classes) + 1, "dropped": 1, "relabelled": 1, "drawn": 2}  # type: ignore[union-attr]
    after = scan(tmp_path / "new.csv")
    by_key = {Path(key).name: row for key, row in zip(after.keys, held(after), strict=True)}
    label, corners = pictures.classes[pictures.boxes[other].classes[0]], pictures.boxes[other].corners[0].tolist()  # type: ignore[index]
    want[empty] = [("blue, new", [1.5, 2.0, 30.25, 40.0]), ("red", [5.0, 5.0, 9.0, 9.0])]
    want[other] = sorted([("blue, new", corners), *(row for row in want[other] if row != (label, corners))])
    gone = pictures.boxes[full].corners[0].tolist()  # type: ignore[index]
    want[full] = [row for row in want[full] if row[1] != gone]
    assert by_key == dict(zip(pictures.keys, want, strict=True))
    assert source.read_bytes() == before


def test_a_folder_holds_the_pictures_and_a_table_of_boxes(source: Path, tmp_path: Path) -> None:
    pictures = scan(source)
    drop = Finding(pictures.keys[2], "dark", 1.0, "", decided="drop")
    done = clean(source, apply=Findings(pictures, (drop, decision(pictures, 0, 0, "drop")), {}), out=tmp_path / "copy")
    after = scan(tmp_path / "copy")
    assert (done.pictures, len(after), done.boxes["dropped"]) == (15, 15, 1)  # type: ignore[index]
    want = held(pictures)
    gone = pictures.boxes[0].corners[0].tolist()  # type: ignore[index]
    want[0] = [row for row in want[0] if row[1] != gone]
    assert held(after) == want[:2] + want[3:]


def test_a_box_that_moved_since_is_left_and_said(source: Path) -> None:
    pictures = scan(source)
    row = decision(pictures, 0, 0, "drop")
    box = named(row.box)
    stale = replace(row, box=str(box._replace(corners=(box.corners[0] - 1, *box.corners[1:]))))
    far = replace(row, box="77 1,2,3,4 red")
    for finding in (stale, far):
        done = corrected(pictures, [finding])
        assert done.missing == (pictures.keys[0],)
        assert held(done.pictures) == held(pictures)


def test_labels_follow_their_boxes(source: Path) -> None:
    pictures = scan(source)
    drawn = pictures.boxes[0]  # type: ignore[index]
    rows = [decision(pictures, 0, k, "drop") for k in range(len(drawn.classes))]
    done = corrected(pictures, rows)
    assert not done.pictures.targets[0].any()
    assert (done.pictures.targets[1:] == pictures.targets[1:]).all()


def test_sizes_parts_and_groups_are_written_and_what_no_table_holds_is_refused(source: Path) -> None:
    pictures = scan(source)
    boxes = replace(pictures.boxes, sizes=np.tile([96, 64], (16, 1)))  # type: ignore[type-var]
    parts = np.zeros(16, np.int8)
    full = replace(pictures, boxes=boxes, parts=parts, groups=np.arange(16) // 2)
    first = boxes_table(full, list(full.keys), "t.csv").decode().splitlines()[:2]
    assert first[0] == "path,label,xmin,ymin,xmax,ymax,width,height,split,group"
    assert first[1].endswith(",96,64,train,0")
    with pytest.raises(DataError, match="cannot hold"):
        boxes_table(replace(pictures, classes=("a\udc80", "c")), list(pictures.keys), "t.csv")


def test_an_old_audit_without_the_column_and_a_bad_box_in_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "audit.csv"
    path.write_text("picture,check,score,verdict,suggestion,other,decided\na.png,dark,1,,drop,,keep\n")
    assert read(path) == [Finding("a.png", "dark", 1.0, "", "drop", "", "keep")]
    path.write_text("picture,suggestion,decided,box\na.png,review,drop,3 1;2\n")
    with pytest.raises(DataError, match="line 2: '3 1;2' names no box"):
        read(path)
