from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from beholder.base.errors import DataError, PictureError, UsageError
from beholder.data.limits import Limits
from beholder.data.sources import scan


def put(root: Path, *names: str) -> Path:
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix.lower() in (".png", ".jpg", ".jpeg", ".gif"):
            Image.new("L", (4, 4), len(name)).save(file, "PNG")
        else:
            file.write_text(name)
    return root


def labels(root: Path) -> dict[str, str]:
    pictures = scan(root)
    return {key: pictures.labels(i)[0] for i, key in enumerate(pictures.keys)}


def test_class_folders(leaves: Path) -> None:
    pictures = scan(leaves)
    assert pictures.classes == ("healthy", "mildew", "rust")
    assert pictures.counts().tolist() == [12, 12, 12]
    assert pictures.keys[0] == "healthy/00.png"
    assert pictures.targets.tolist() == sorted(pictures.targets.tolist())
    assert set(pictures.parts.tolist()) == {-1} == set(pictures.groups.tolist())
    assert pictures.store.read("rust/01.png") == (leaves / "rust/01.png").read_bytes()
    assert pictures.notes == ()


def test_names_of_all_kinds(tmp_path: Path) -> None:
    put(tmp_path, "Äpfel/größe 1.PNG", "Äpfel/a/b/c.JpG", "梨/二.jpeg", "梨/.hidden.png", "__MACOSX/梨/x.png", ".git/x.png")
    put(tmp_path, "梨/Thumbs.db", "梨/.ipynb_checkpoints/二.png", "梨/notes.txt", "readme.md", "loose.png")
    assert labels(tmp_path) == {"Äpfel/größe 1.PNG": "Äpfel", "Äpfel/a/b/c.JpG": "Äpfel", "梨/二.jpeg": "梨"}
    notes = " ".join(scan(tmp_path).notes)
    assert "2 files that are no pictures" in notes
    assert "1 pictures beside the class folders" in notes


def test_classes_that_are_numbers_are_sorted_as_numbers(tmp_path: Path) -> None:
    put(tmp_path, "10/a.png", "9/a.png", "2/a.png")
    assert scan(tmp_path).classes == ("2", "9", "10")


@pytest.mark.parametrize("name", ["valid", "Val", "VALIDATION"])
def test_parts(tmp_path: Path, name: str) -> None:
    put(tmp_path, "Train/cat/1.png", "Train/dog/1.png", f"{name}/cat/2.png", "test/dog/x/3.png")
    pictures = scan(tmp_path)
    assert dict(zip(pictures.keys, pictures.parts.tolist(), strict=True)) == {
        "Train/cat/1.png": 0, "Train/dog/1.png": 0, f"{name}/cat/2.png": 1, "test/dog/x/3.png": 2,
    }  # fmt: skip
    assert pictures.classes == ("cat", "dog")


def test_wrapping_folders_and_folders_beside_the_parts(tmp_path: Path) -> None:
    put(
        tmp_path,
        "set/v1/train/train/cat/1.png",
        "set/v1/train/train/dog/1.png",
        "set/v1/test/cat/1.png",
        "set/v1/test/dog/2.png",
    )
    put(tmp_path, "set/v1/unlabelled/9.png")
    pictures = scan(tmp_path)
    assert pictures.classes == ("cat", "dog")
    assert sorted(pictures.parts.tolist()) == [0, 0, 2, 2]
    assert any("unlabelled" in note for note in pictures.notes)


def test_a_class_called_train_is_a_class(tmp_path: Path) -> None:
    put(tmp_path, "train/1.png", "bus/1.png", "car/1.png")
    assert scan(tmp_path).classes == ("bus", "car", "train")


def test_loops_of_links_end_and_links_are_followed_once(tmp_path: Path) -> None:
    put(tmp_path / "set", "a/1.png", "b/1.png")
    put(tmp_path / "elsewhere", "2.png")
    (tmp_path / "set/a/loop").symlink_to(tmp_path / "set")
    (tmp_path / "set/c").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set/b/broken.png").symlink_to(tmp_path / "nowhere.png")
    assert labels(tmp_path / "set") == {"a/1.png": "a", "b/1.png": "b", "c/2.png": "c"}
    assert "1 entries left out" in scan(tmp_path / "set").notes[0]


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "b/1.png")
    os.mkfifo(tmp_path / "b/2.png")
    assert len(scan(tmp_path)) == 2


def test_stamps_change_with_the_file(leaves: Path) -> None:
    store = scan(leaves).store
    before = store.stamp("rust/01.png")
    (leaves / "rust/01.png").write_bytes(b"other")
    assert before != store.stamp("rust/01.png") != ""


def test_reading_what_is_gone_or_too_large(leaves: Path) -> None:
    store = scan(leaves, limits=Limits(bytes=10)).store
    with pytest.raises(PictureError) as large:
        store.read("rust/01.png")
    assert large.value.code == "too-many-bytes"
    with pytest.raises(PictureError) as gone:
        store.read("rust/99.png")
    assert gone.value.code == "path-missing"
    assert store.stamp("rust/99.png") == ""


def test_a_missing_path_names_a_near_one(leaves: Path) -> None:
    with pytest.raises(UsageError, match="leafs") as caught:
        scan(leaves.with_name("leafs"))
    assert caught.value.code == "path-missing"
    assert caught.value.hint == "did you mean 'leaves'?"


@pytest.mark.parametrize("source", ["hf:beans", "torchvision:CIFAR10"])
def test_sources_to_come_are_refused_by_name(source: str) -> None:
    with pytest.raises(UsageError, match="not yet supported"):
        scan(source)


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ([], "no-pictures"),
        (["a/x.txt"], "no-pictures"),
        (["a/1.png", "a/2.png"], "one-class"),
        (["1.png", "2.png"], "no-labels"),
        (["train/cat/1.png", "test/cat/1.png"], "one-class"),
        (["x/1.png", "one.csv", "two.csv"], "several-tables"),
    ],
)
def test_folders_that_cannot_be_learnt_from(tmp_path: Path, names: list[str], code: str) -> None:
    with pytest.raises(DataError) as caught:
        scan(put(tmp_path, *names))
    assert caught.value.code == code
    assert caught.value.hint


def test_too_many_files(leaves: Path) -> None:
    with pytest.raises(DataError) as caught:
        scan(leaves, limits=Limits(members=35))
    assert caught.value.code == "too-many-members"


def test_another_kind_of_file(tmp_path: Path) -> None:
    file = tmp_path / "set.docx"
    file.write_text("x")
    with pytest.raises(UsageError) as caught:
        scan(file)
    assert caught.value.code == "unknown-source"
