from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from beholder.base import events
from beholder.base.errors import DataError
from beholder.base.records import Pictures
from beholder.sources import scan
from beholder.sources.table import parse


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def rows_of(pictures: Pictures) -> list[tuple[str, tuple[str, ...]]]:
    return [(key, pictures.labels(i)) for i, key in enumerate(pictures.keys)]


@pytest.fixture
def flat(tmp_path: Path, draw: Callable[..., Path]) -> Path:
    draw(tmp_path / "pics", each=2)
    return tmp_path


def test_path_label_split_group(flat: Path) -> None:
    text = "path,label,split,group\npics/rust/00.png,r,train,p1\npics/rust/01.png,r,VAL,p2\n"
    text += "pics/mildew/00.png,m,test,\n./pics/mildew/01.png, m,,p1\n"
    pictures = scan(write(flat / "t.csv", text, "utf-8-sig"))
    assert rows_of(pictures) == [
        ("pics/rust/00.png", ("r",)),
        ("pics/rust/01.png", ("r",)),
        ("pics/mildew/00.png", ("m",)),
        ("pics/mildew/01.png", ("m",)),
    ]
    assert pictures.parts.tolist() == [0, 1, 2, -1]
    assert pictures.groups.tolist() == [0, 1, -1, 0]
    assert not pictures.multi


@pytest.mark.parametrize("header", ["Filename\tClass", "image path\tCategory", "FILE\tlabels"])
def test_other_names_of_the_columns_and_tabs(flat: Path, header: str) -> None:
    text = f"note\t{header}\nx\tpics/rust/00.png\ta, b\ny\tpics/mildew/00.png\tc\n"
    assert rows_of(scan(write(flat / "t.tsv", text))) == [("pics/rust/00.png", ("a, b",)), ("pics/mildew/00.png", ("c",))]


def test_several_labels(flat: Path) -> None:
    pictures = scan(write(flat / "t.csv", "file,labels\npics/rust/00.png,a;b\npics/rust/01.png,b\npics/mildew/00.png,\n"))
    assert pictures.multi
    assert pictures.targets.dtype == np.uint8
    assert pictures.targets.tolist() == [[1, 1], [0, 1], [0, 0]]
    assert any("no label" in note for note in pictures.notes)


def test_a_row_for_each_label(flat: Path) -> None:
    text = "file,label\n" + "".join(f"pics/rust/0{i}.png,{label}\n" for i in (0, 1) for label in "aab")
    pictures = scan(write(flat / "t.csv", text))
    assert pictures.targets.tolist() == [[1, 1], [1, 1]]
    assert "4 rows name a file" in pictures.notes[0]


def test_rows_that_contradict(flat: Path) -> None:
    names = ["pics/rust/00.png,a", "pics/rust/01.png,b", "pics/mildew/00.png,a", "pics/rust/00.png,b"]
    with pytest.raises(DataError, match=r"pics/rust/00\.png") as caught:
        scan(write(flat / "t.csv", "path,label\n" + "\n".join(names)))
    assert caught.value.code == "contradictory-rows"


def test_pictures_anywhere_below_and_endings_left_out(flat: Path) -> None:
    (flat / "pics").rename(flat / "deep")
    (flat / "other").mkdir()
    (flat / "deep").rename(flat / "other/pics")
    pictures = scan(write(flat / "t.csv", "id,label\npics/rust/00,a\npics/rust/01.png,b\nmildew/01,b"))
    assert list(pictures.keys) == ["other/pics/rust/00.png", "other/pics/rust/01.png", "other/pics/mildew/01.png"]


def test_a_name_that_two_files_have_is_missing(flat: Path) -> None:
    with pytest.raises(DataError) as caught:
        scan(write(flat / "t.csv", "id,label\n00.png,a\n01.png,b"))
    assert caught.value.code == "missing-files"


def test_absolute_paths(flat: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("table")
    text = f"path,label\n{flat}/pics/rust/00.png,a\n{flat}/pics/mildew/00.png,b"
    pictures = scan(write(other / "t.csv", text))
    assert pictures.store.read(pictures.keys[1]) == (flat / "pics/mildew/00.png").read_bytes()


def test_missing_files(flat: Path) -> None:
    with pytest.raises(DataError, match=r"none of the 4 files.*: a\.png, b\.png, c\.png and 1 more") as caught:
        scan(write(flat / "t.csv", "path,label\na.png,x\nb.png,y\nc.png,x\nd.png,y"))
    assert caught.value.code == "missing-files"
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        pictures = scan(write(flat / "t.csv", "path,label\na.png,x\npics/rust/00.png,x\npics/mildew/00.png,y"))
    assert len(pictures) == 2
    assert said[0].kind == "warn"
    assert said[0].message in pictures.notes
    assert "1 of the 3 files" in said[0].message


def test_rows_without_a_label_are_left_out_with_a_warning(flat: Path) -> None:
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        pictures = scan(write(flat / "t.csv", "path,label\npics/rust/00.png,\npics/rust/01.png,x\npics/mildew/00.png,y"))
    assert list(pictures.keys) == ["pics/rust/01.png", "pics/mildew/00.png"]
    assert said[0].fields["code"] == "no-labels"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("path,weight\na.png,1", "no-label-column"),
        ("label,weight\na.png,1", "no-path-column"),
        ("", "no-path-column"),
        ("path,label,split\na.png,x,elsewhere", "bad-split"),
        ("path,label\npics/rust/00.png,\npics/rust/01.png,", "no-labels"),
        ("path,label\npics/rust/00.png,x\npics/rust/01.png,x", "one-class"),
        ("path,label\n", "no-pictures"),
        ("path,label\n" + "x" * 200_000 + ",x", "bad-table"),
    ],
)
def test_tables_that_cannot_be_used(flat: Path, text: str, code: str) -> None:
    with pytest.raises(DataError) as caught:
        scan(write(flat / "t.csv", text))
    assert caught.value.code == code
    assert caught.value.hint


def test_the_columns_found_are_listed() -> None:
    with pytest.raises(DataError, match="its columns are: path, weight"):
        parse(b"path, weight\na,1", "t.csv", where="t.csv")


def test_text_that_is_not_utf8() -> None:
    with pytest.raises(DataError) as caught:
        parse("path,label\nä.png,x".encode("latin-1"), "t.csv", where="t.csv")
    assert caught.value.code == "bad-encoding"
    assert parse("path,label\nä.png,x".encode("utf-16"), "t.csv", where="t.csv")[0].path == "ä.png"


def test_a_table_inside_a_folder(flat: Path) -> None:
    write(flat / "t.csv", "path,label\npics/rust/00.png,x\npics/mildew/00.png,y")
    pictures = scan(flat)
    assert pictures.classes == ("healthy", "mildew", "rust")
    assert "t.csv" in pictures.notes[0]
    for number, name in enumerate(("rust", "mildew", "healthy")):
        (flat / f"pics/{name}/00.png").rename(flat / f"pics/{number}.png")
        (flat / f"pics/{name}/01.png").unlink()
    write(flat / "t.csv", "path,label\npics/0.png,x\npics/1.png,y")
    assert scan(flat).classes == ("x", "y")


def test_a_table_takes_little_memory(tmp_path: Path) -> None:
    n = 4_000
    (tmp_path / "p").mkdir()
    names = [f"p/picture-{i:08}.jpg" for i in range(n)]
    for name in names:
        (tmp_path / name).touch()
    path = write(tmp_path / "t.csv", "path,label\n" + "".join(f"{name},class {i % 9}\n" for i, name in enumerate(names)))
    scan(path)
    tracemalloc.start()
    try:
        pictures = scan(path)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(pictures) == n
    assert most / n < 300


@pytest.mark.shared
def test_blood_cells_beside_their_zip(shared: Path) -> None:
    pictures = scan(shared / "data" / "blood-cells.csv")
    assert pictures.classes == ("Platelets", "RBC", "WBC")
    assert pictures.counts().tolist() == [201, 349, 358]
    assert pictures.store.read(pictures.keys[0])[:2] == b"\xff\xd8"
