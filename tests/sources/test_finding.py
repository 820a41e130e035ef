"""Files that a table or an annotation names not quite as they are called."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from beholder.base import events
from beholder.base.errors import DataError
from beholder.base.records import Pictures
from beholder.sources import scan


def table(root: Path, files: list[str], paths: list[str], name: str = "labels.csv") -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    rows = [f"{path},{'ab'[i % 2]}" for i, path in enumerate(paths)]
    (root / name).write_text("\n".join(["path,label", *rows]), "utf-8")
    return root / name


def read(path: Path) -> tuple[Pictures, list[str]]:
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        pictures = scan(path)
    return pictures, [str(event.fields.get("code")) for event in said if event.kind == "warn"]


NAMES = ["Käfer_1.jpg", "ordner ö/Käfer_2.jpg"]


@pytest.mark.parametrize(("ours", "theirs"), [("NFC", "NFD"), ("NFD", "NFC")])
@pytest.mark.parametrize("whole", [True, False], ids=["file", "folder"])
def test_unicode_forms(tmp_path: Path, ours: str, theirs: str, whole: bool) -> None:
    files = [unicodedata.normalize(ours, name) for name in NAMES]  # type: ignore[arg-type]
    paths = [unicodedata.normalize(theirs, name) for name in NAMES]  # type: ignore[arg-type]
    path = table(tmp_path, files, paths)
    pictures, said = read(path if whole else tmp_path)
    assert list(pictures.keys) == files
    assert said == []


@pytest.mark.parametrize(
    ("file", "said"),
    [("IMG_{i}.JPG", "IMG_{i}.jpg"), ("Sub/IMG_{i}.jpg", "sub/img_{i}.jpg"), ("IMG_{i}.JPEG", "img_{i}")],
)
def test_case(tmp_path: Path, file: str, said: str) -> None:
    path = table(tmp_path, [file.format(i=i) for i in range(4)], [said.format(i=i) for i in range(4)])
    pictures, _ = read(path)
    assert list(pictures.keys) == [file.format(i=i) for i in range(4)]
    assert any("differ from those of the files in case" in note for note in pictures.notes)


def test_where_only_case_decides_it_decides(tmp_path: Path) -> None:
    pictures, said = read(table(tmp_path, ["x/a.png", "x/A.png"], ["A.png", "a.png"]))
    assert list(pictures.keys) == ["x/A.png", "x/a.png"]
    assert said == []


ELSEWHERE = [
    "/home/ana/set/{}",
    "C:\\Users\\ana\\set\\{}",
    "\\\\server\\share\\set\\{}",
    "file:///data/set/{}",
    "../old/{}",
    "set/{}",
]


@pytest.mark.parametrize("path", ELSEWHERE)
def test_paths_of_another_machine(tmp_path: Path, path: str) -> None:
    files = ["cat/1.jpg", "dog/1.jpg", "dog/2.jpg", "3.jpg"]
    pictures, said = read(table(tmp_path, files, [path.format(name) for name in files]))
    assert list(pictures.keys) == files
    assert said in (["moved-files"], [])
    assert path.startswith("..") or said


def test_another_part_is_not_taken_for_the_one_that_is_missing(tmp_path: Path) -> None:
    for start in ("", "/home/ana/"):
        path = table(tmp_path, ["train/1.jpg", "train/2.jpg"], [f"{start}test/1.jpg", f"{start}test/2.jpg"])
        with events.listen(alone=True), pytest.raises(DataError) as caught:
            scan(path)
        assert caught.value.code == "missing-files"


def test_other_folders_are_no_beginning_of_all(tmp_path: Path) -> None:
    path = table(tmp_path, ["here/1.jpg", "here/2.jpg"], ["cat/1.jpg", "dog/2.jpg"])
    with events.listen(alone=True), pytest.raises(DataError) as caught:
        scan(path)
    assert caught.value.code == "missing-files"


def test_pictures_that_were_converted(tmp_path: Path) -> None:
    pictures, said = read(table(tmp_path, ["1.png", "2.png"], ["1.bmp", "2.jpg"]))
    assert list(pictures.keys) == ["1.png", "2.png"]
    assert said == ["other-ending"]
