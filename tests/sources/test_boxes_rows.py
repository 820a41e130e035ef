"""Tables with a row for each box, and those of the German traffic signs."""

from __future__ import annotations

import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from beholder.base import events
from beholder.base.boxes import Boxes
from beholder.base.errors import DataError
from beholder.base.records import Pictures
from beholder.sources import rows, scan


def put(path: Path, *, width: int = 40, height: int = 30) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (200, 0, 0)).save(path)
    return path


def read(source: Any, **more: Any) -> tuple[Pictures, list[str]]:
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        pictures = scan(source, **more)
    return pictures, [str(event.fields.get("code")) for event in said if event.kind == "warn"]


def boxes_of(pictures: Pictures) -> Boxes:
    assert pictures.boxes is not None
    assert len(pictures.boxes) == len(pictures)
    return pictures.boxes


def table(root: Path, text: str, name: str = "cells.csv", *, pictures: int = 3) -> Path:
    for n in range(pictures):
        put(root / f"pics/{n}.png")
    (root / name).write_text(text)
    return root / name


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("path", ["path", "file", "image", "filename", "FileName"])
@pytest.mark.parametrize("label", ["label", "class"])
@pytest.mark.parametrize("corners", ["xmin,ymin,xmax,ymax", "x1,y1,x2,y2", "XMin,YMin,XMax,YMax", "x_min,y_min,x_max,y_max"])
def test_columns_of_any_name(tmp_path: Path, mark: str, path: str, label: str, corners: str) -> None:
    lines = [f"{path},{corners},{label}", "pics/1.png,4,6,10,9,red", "pics/0.png,1,2,3,4.5,blue", "pics/1.png,0,0,9,9,blue"]
    source = table(tmp_path, "\n".join(line.replace(",", mark) for line in lines), "a.tsv" if mark == "\t" else "a.csv")
    pictures, codes = read(source)
    boxes = boxes_of(pictures)
    assert list(pictures.keys) == ["pics/1.png", "pics/0.png"]
    assert pictures.classes == ("blue", "red")
    assert pictures.targets.tolist() == [[1, 1], [1, 0]]
    assert boxes.corners.tolist() == [[4, 6, 10, 9], [0, 0, 9, 9], [1, 2, 3, 4.5]]
    assert boxes.classes.tolist() == [1, 0, 0]
    assert boxes.sizes.tolist() == [[0, 0]] * 2
    assert codes == ["no-annotation"], "2.png has no row"


def test_negatives_sizes_parts_and_groups(tmp_path: Path) -> None:
    head = "filename,width,height,class,xmin,ymin,xmax,ymax,split,group\n"
    source = table(tmp_path, head + "0.png,40,30,red,30,20,50,40,train,p1\n1.png,40,30,,,,,,test,p2\n2.png,40,30,blue,,,,,,\n")
    pictures, _ = read(source)
    boxes = boxes_of(pictures)
    assert pictures.targets.tolist() == [[0, 1], [0, 0], [1, 0]], "a label without a box says that the thing is there"
    assert boxes.corners.tolist() == [[30, 20, 40, 30]]
    assert boxes.starts.tolist() == [0, 1, 1, 1]
    assert boxes.sizes.tolist() == [[40, 30]] * 3
    assert pictures.parts.tolist() == [0, 2, -1]
    assert pictures.groups.tolist() == [0, 1, -1]


def test_one_class_and_swapped_corners(tmp_path: Path) -> None:
    text = "file,label,xmin,ymin,xmax,ymax\n0.png,red,4,6,10,9\n1.png,red,10,9,4,6\n1.png,red,nan,1e308,inf,x\n2.png,,,,,\n"
    pictures, codes = read(table(tmp_path, text))
    assert pictures.classes == ("red",)
    assert pictures.targets.tolist() == [[1], [1], [0]]
    assert boxes_of(pictures).corners.tolist() == [[4, 6, 10, 9]]
    assert codes == ["empty-box"]
    assert any("2 boxes without area" in note for note in pictures.notes)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("0.png,,1,2,3,4", "bad-annotations"),
        ("0.png,red,1,2", "bad-annotations"),
        ("0.png,red,a,b,c,d", "bad-annotations"),
        ("gone.png,red,1,2,3,4", "missing-files"),
        ("../../../etc/passwd,red,1,2,3,4", "missing-files"),
        ("", "no-pictures"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, text: str, code: str) -> None:
    with pytest.raises(DataError) as caught:
        read(table(tmp_path, f"file,label,xmin,ymin,xmax,ymax\n{text}\n"))
    assert caught.value.code == code
    assert caught.value.hint


def test_rows_that_disagree(tmp_path: Path) -> None:
    text = "file,label,x1,y1,x2,y2,split\n0.png,red,1,1,2,2,train\n0.png,red,3,3,4,4,test\n"
    with pytest.raises(DataError) as caught:
        read(table(tmp_path, text))
    assert caught.value.code == "contradictory-rows"


def test_in_folders_and_archives(tmp_path: Path) -> None:
    for part in ("train", "test"):
        put(tmp_path / f"set/{part}/{part}.png")
        text = f"filename,width,height,class,xmin,ymin,xmax,ymax\n{part}.png,40,30,{part},4,6,10,9\n"
        (tmp_path / f"set/{part}/_annotations.csv").write_text(text)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as packed:
        for path in sorted((tmp_path / "set").rglob("*.*")):
            packed.write(path, path.relative_to(tmp_path / "set"))
    for source in (tmp_path / "set", tmp_path / "set.zip"):
        pictures, _ = read(source)
        assert list(pictures.keys) == ["test/test.png", "train/train.png"]
        assert pictures.parts.tolist() == [2, 0]
        assert boxes_of(pictures).corners.tolist() == [[4, 6, 10, 9]] * 2
        assert len(read(f"boxes:{source}")[0]) == 2


def test_an_archive_that_leads_outside_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "0.png")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as packed:
        packed.write(tmp_path / "0.png", "0.png")
        packed.writestr("a.csv", "file,label,x1,y1,x2,y2\n0.png,red,1,1,2,2\n../../0.png,blue,1,1,2,2\n")
    with pytest.raises(DataError) as caught:
        read(tmp_path / "set.zip")
    assert caught.value.code == "unsafe-names"


def test_pictures_apart(tmp_path: Path) -> None:
    text = "file,label,x1,y1,x2,y2\n0.png,red,1,1,2,2\n1.png,blue,1,1,2,2\n"
    (tmp_path / "tables").mkdir()
    table(tmp_path, "")
    for name, more in (("boxes.csv", text), ("plain.csv", "file,label\n0.png,red\n1.png,blue\n")):
        (tmp_path / "tables" / name).write_text(more)
        with pytest.raises(DataError):
            read(tmp_path / "tables" / name)
        pictures, _ = read(tmp_path / "tables" / name, images=tmp_path)
        assert list(pictures.keys) == ["pics/0.png", "pics/1.png"]
        assert (pictures.boxes is None) == (name == "plain.csv")
    with zipfile.ZipFile(tmp_path / "tables/other name.zip", "w") as packed:
        for n in range(2):
            packed.write(tmp_path / f"pics/{n}.png", f"in/{n}.png")
    for name in ("boxes.csv", "plain.csv"):
        pictures, _ = read(tmp_path / "tables" / name)
        assert list(pictures.keys) == ["in/0.png", "in/1.png"]
        assert f"the pictures of {name} are those in other name.zip beside it" in pictures.notes


def test_many_boxes_of_few_pictures_take_bounded_time() -> None:
    """Joining the rows of a picture one after another would take time in the square of their number."""
    body = b"".join(b"%d.png,%s,1,2,%d,9\n" % (n % 5, (b"red", b"blue")[n % 2], 3 + n % 30) for n in range(200_000))
    begun = time.process_time()
    told = rows.parse(b"file,label,xmin,ymin,xmax,ymax\n" + body, "a.csv", "a.csv")
    assert time.process_time() - begun < 60
    assert [len(row.boxes) for row in told] == [40_000] * 5


@pytest.fixture
def signs(tmp_path: Path) -> Path:
    """Two classes with two tracks of three frames each, as the German traffic signs are published."""
    for label in range(2):
        folder = tmp_path / f"Final_Training/Images/{label:05d}"
        lines = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
        for track in range(2):
            for frame in range(3):
                put(folder / f"{track:05d}_{frame:05d}.ppm")
                lines.append(f"{track:05d}_{frame:05d}.ppm;40;30;5;6;25;{20 + frame};{label}")
        (folder / f"GT-{label:05d}.csv").write_text("\n".join(lines))
    return tmp_path


def test_traffic_signs_keep_their_tracks_together(signs: Path) -> None:
    pictures, codes = read(signs)
    assert not pictures.multi
    assert pictures.classes == ("00000", "00001")
    assert pictures.targets.tolist() == [0] * 6 + [1] * 6
    assert pictures.groups.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3], "track 0 of one class is not that of another"
    assert any("frames of 4 tracks" in note for note in pictures.notes)
    assert codes == []


def test_traffic_signs_are_cut_out(signs: Path) -> None:
    pictures, _ = read(f"boxes:{signs}")
    assert not pictures.multi
    assert pictures.classes == ("00000", "00001")
    assert pictures.groups.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert [np.shape(pictures.store.read(key))[:2] for key in pictures.keys[:3]] == [(14, 20), (15, 20), (16, 20)]
    assert any("frames of 4 tracks" in note for note in pictures.notes)


@pytest.mark.shared
def test_real_boxes_and_the_archive_beside_them(shared: Path) -> None:
    pictures, codes = read(shared / "data/blood-cells-boxes.csv")
    boxes = boxes_of(pictures)
    assert len(pictures) == 364
    assert pictures.classes == ("Platelets", "RBC", "WBC")
    assert boxes.counts(3).tolist() == [361, 4153, 372]
    assert codes == ["empty-box"]
    assert any("blood-cells.zip beside it" in note for note in pictures.notes)
    assert any(note.startswith("2 boxes without area") for note in pictures.notes)
