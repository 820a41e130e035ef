from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from beholder.base import events
from beholder.base.errors import DataError, UsageError
from beholder.sources import scan, shards


def shard(path: Path, files: dict[str, bytes | str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for name, data in files.items():
            raw = data.encode() if isinstance(data, str) else data
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            tar.addfile(info, io.BytesIO(raw))
    return path


def sample(i: int, label: int | str) -> dict[str, bytes | str]:
    return {f"{i:04}.jpg": b"picture %d" % i, f"{i:04}.cls": str(label)}


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Three shards of two samples, the last one a test part."""
    for k, name in enumerate(("train-000", "train-001", "test-000")):
        shard(tmp_path / f"{name}.tar", {**sample(2 * k, 0), **sample(2 * k + 1, 1)})
    return tmp_path


def test_one_shard(three: Path) -> None:
    pictures = scan(three / "train-001.tar")
    assert list(pictures.keys) == ["train-001.tar/0002.jpg", "train-001.tar/0003.jpg"]
    assert pictures.classes == ("0", "1")
    assert pictures.store.read(pictures.keys[1]) == b"picture 3"
    assert pictures.store.stamp(pictures.keys[0]) != pictures.store.stamp(pictures.keys[1])


def test_a_folder_of_shards_with_class_names_and_parts(three: Path) -> None:
    (three / "classes.txt").write_text("leaf\nrust\n")
    with events.listen(alone=True):
        pictures = scan(three)
    assert pictures.classes == ("leaf", "rust")
    assert pictures.parts.tolist() == [2, 2, 0, 0, 0, 0]
    assert [pictures.store.read(key) for key in pictures.keys][2:4] == [b"picture 0", b"picture 1"]


@pytest.mark.parametrize(
    "text", ["train-{000..001}.tar", "train-{000,001}.tar", "train-*.tar", "{train-00{0..1}}.tar"[1:-5] + ".tar"]
)
def test_several_shards_by_a_pattern(three: Path, text: str) -> None:
    with events.listen(alone=True):
        pictures = scan(three / text)
    assert len(pictures) == 4
    assert set(pictures.parts.tolist()) == {0}


def test_braces_expand_in_order(tmp_path: Path) -> None:
    for name in ("a-08.tar", "a-09.tar", "a-10.tar", "b-08.tar", "b-09.tar", "b-10.tar"):
        (tmp_path / name).touch()
    assert [path.name for path in shards.expanded(f"{tmp_path}/{{a,b}}-{{08..10}}.tar")] == sorted(
        path.name for path in tmp_path.iterdir()
    )


def test_labels_in_json_and_packed_shards(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {"a.png": b"1", "a.json": json.dumps({"label": "cat", "id": 3})}
    files |= {"b.seg.png": b"2", "b.json": json.dumps({"class": "dog"}), "c.png": b"3", "c.json": "{}"}
    with events.listen(alone=True):
        pictures = scan(shard(tmp_path / "s.tar.gz", files))
    assert [pictures.labels(i) for i in range(2)] == [("cat",), ("dog",)]
    assert "1 of the 3 pictures" in pictures.notes[-1]


def test_several_labels_of_a_sample(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {"a.png": b"1", "a.cls": "cat;dog", "b.png": b"2", "b.cls": "dog"}
    files |= {"c.png": b"3", "c.json": json.dumps({"label": ["cat", "dog"]})}
    assert scan(shard(tmp_path / "s.tar", files)).targets.tolist() == [[1, 1], [0, 1], [1, 1]]


def test_folders_of_classes_in_a_tar_with_json_beside_are_still_classes(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {"cat/1.png": b"1", "cat/1.json": "{}", "dog/1.png": b"2", "dog/1.json": "{}"}
    assert scan(shard(tmp_path / "s.tar", files)).classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"a.jpg": b"", "a.cls": b"\xff\xfe\xff"}, "bad-labels"),
        ({"a.jpg": b"", "a.json": "{"}, "bad-labels"),
        ({"a.jpg": b"", "a.json": "[" * 100_000}, "bad-labels"),
        ({"a.jpg": b"", "a.cls": "", "b.jpg": b"", "b.cls": " "}, "no-labels"),
        ({"a.jpg": b"", "a.cls": "7"}, "bad-labels"),
        ({"a.jpg": b"", "a.cls": "0"}, "one-class"),
    ],
)
def test_shards_that_cannot_be_used(tmp_path: Path, files: dict[str, bytes | str], code: str) -> None:
    (tmp_path / "classes.txt").write_text("leaf\nrust\n")
    with pytest.raises(DataError) as caught:
        scan(shard(tmp_path / "s.tar", files))
    assert caught.value.code == code
    assert caught.value.hint


def test_patterns_that_stand_for_nothing(three: Path) -> None:
    for text, code in (
        ("train-{000..002}.tar", "path-missing"),
        ("valid-*.tar", "path-missing"),
        ("{0..999999999}.tar", "too-many-shards"),
    ):
        with pytest.raises(UsageError) as caught:
            scan(three / text)
        assert caught.value.code == code
