from __future__ import annotations

import contextlib
import os
import random
import socket
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from beholder.base import events
from beholder.base.errors import DataError, PictureError, UsageError
from beholder.base.limits import Limits
from beholder.sources import scan
from beholder.sources.digest import digested


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


@pytest.mark.parametrize("link", ["one/1.png", "set/one/1.png", "train/one/1.png"])
def test_class_folders_that_are_links_to_one_folder_are_said(tmp_path: Path, link: str) -> None:
    put(tmp_path / "store", "x1/1.png", "x2/2.png")
    put(tmp_path / "set", link)
    above = (tmp_path / "set" / link).parent.parent
    for name, target in (("uno", "../store/x1"), ("eins", "../store/x1"), ("two", "../store/x2")):
        (above / name).symlink_to(tmp_path / "set" / target, target_is_directory=True)
    (above / "un").symlink_to(above / "one", target_is_directory=True)
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        pictures = scan(tmp_path / "set")
    assert pictures.classes == ("eins", "one", "two")
    assert [event.fields["code"] for event in said] == ["same-folder"]
    start = above.relative_to(tmp_path / "set").as_posix().removesuffix(".")
    start += "/" * bool(start)
    assert (
        f"2 links lead to folders that are listed under another name, and were left out: {start}un is {start}one, "
        in said[0].message
    )
    assert f"{start}uno is {start}eins" in said[0].message
    assert said[0].message in pictures.notes


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "b/1.png")
    os.mkfifo(tmp_path / "b/2.png")
    assert len(scan(tmp_path)) == 2


def test_links_in_a_circle_and_sockets_are_left_out(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "a/self.png").symlink_to("self.png")
    (tmp_path / "b/ping").symlink_to("pong")
    (tmp_path / "b/pong").symlink_to("ping")
    with contextlib.chdir(tmp_path), socket.socket(socket.AF_UNIX) as listener:
        listener.bind("b/2.png")
        pictures = scan(tmp_path)
    assert list(pictures.keys) == ["a/1.png", "b/1.png"]
    assert "4 entries left out" in pictures.notes[0]


def test_a_folder_that_may_not_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may list any folder, so the refusal is made."""
    put(tmp_path, "a/1.png", "b/1.png", "lost+found/2.png")
    closed = {str(tmp_path / "lost+found") + "/"}
    real = os.scandir

    def scandir(path: Path) -> object:
        if str(path) in {c.rstrip("/") for c in closed}:
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        pictures = scan(tmp_path)
    assert pictures.classes == ("a", "b")
    assert [event.fields["code"] for event in said] == ["unreadable"]
    assert said[0].message == "1 folders could not be listed and were left out: lost+found/"
    assert said[0].message in pictures.notes
    closed.add(str(tmp_path))
    with pytest.raises(DataError, match="Permission denied") as caught:
        scan(tmp_path)
    assert caught.value.code == "unreadable"


def test_names_in_any_encoding(tmp_path: Path) -> None:
    put(
        tmp_path,
        "a/1.png",
        os.fsdecode(b"caf\xe9/gr\xf6\xdfe.png"),
        os.fsdecode(b"a/\x81\x8d.png"),
        "a/new\nline \U0001f340.png",
    )
    pictures = scan(tmp_path)
    assert pictures.classes == ("a", "café")
    assert os.fsencode(pictures.keys[-1]) == b"caf\xe9/gr\xf6\xdfe.png"
    assert all(pictures.store.read(key)[:4] == b"\x89PNG" for key in pictures.keys)
    assert all(pictures.store.stamp(key) for key in pictures.keys)
    digests = digested(pictures).digests
    assert digests is not None
    assert digests.shape == (4, 32)


def test_names_that_differ_by_case_alone(tmp_path: Path) -> None:
    put(tmp_path, "Cat/1.png", "cat/1.png", "dog/a.PNG", "dog/A.png", "dog/e\u0301.png", "dog/\xe9.png", "dog/b.png")
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        pictures = scan(tmp_path)
    assert pictures.classes == ("Cat", "cat", "dog")
    assert len(pictures) == 7
    assert "6 names differ from another in nothing but case" in pictures.notes[0]
    assert [event.fields["code"] for event in said] == ["case-classes"]
    assert "'Cat' and 'cat'" in said[0].message


class Entry:
    """What `os.scandir` yields, without a disk."""

    def __init__(self, name: str, folder: bool) -> None:
        self.name = name
        self._folder = folder

    def is_dir(self) -> bool:
        return self._folder

    def is_file(self) -> bool:
        return not self._folder

    def is_symlink(self) -> bool:
        return False


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A function that makes `tmp_path` look as if it held n pictures in ten classes."""
    size = 0

    @contextlib.contextmanager
    def scandir(path: Path) -> Iterator[Iterator[Entry]]:
        if Path(path) == tmp_path:
            yield (Entry(f"class {k}", True) for k in range(10))
        else:
            order = random.Random(str(path)).sample(range(size // 10), size // 10)
            yield (Entry(f"picture-{i:012}.jpg", False) for i in order)

    def resize(n: int) -> None:
        nonlocal size
        size = n

    monkeypatch.setattr(os, "scandir", scandir)
    return resize


def bytes_a_picture(root: Path, n: int) -> tuple[float, float]:
    """The most that scanning held at any time, and what stays, in bytes a picture."""
    tracemalloc.start()
    try:
        pictures = scan(root)
        stays, most = tracemalloc.get_traced_memory()
        assert len(pictures) == n
        return most / n, stays / n
    finally:
        tracemalloc.stop()


def seconds(root: Path) -> float:
    """Processor time of a scan, the least of three."""
    found = []
    for _ in range(3):
        began = time.process_time()
        scan(root)
        found.append(time.process_time() - began)
    return min(found)


def test_scanning_takes_little_memory_and_time_in_proportion(tmp_path: Path, many: Callable[[int], None]) -> None:
    many(8_000)
    most, stays = bytes_a_picture(tmp_path, 8_000)
    assert most < 300
    assert stays < 80
    many(2_500)
    small = seconds(tmp_path)
    many(20_000)
    assert seconds(tmp_path) < 8 * small * 2, "eight times the pictures: eight times the time, and no square"


@pytest.mark.slow
def test_a_folder_of_many_pictures_takes_few_bytes_of_each(tmp_path: Path, many: Callable[[int], None]) -> None:
    many(250_000)
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        most, stays = bytes_a_picture(tmp_path, 250_000)
    assert most < 300
    assert stays < 80
    assert [event.fields["done"] for event in said[:2]] == [20_000, 40_000]
    assert said[-1].fields["done"] == said[-1].fields["total"] == 250_000


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


@pytest.mark.parametrize("source", ["azure://bucket/set.zip", "kaggle:cats", "file:///tmp"])
def test_sources_of_unknown_kinds_are_refused_by_name(source: str) -> None:
    with pytest.raises(UsageError, match="no sources of the kind") as caught:
        scan(source)
    assert caught.value.code == "unknown-source"


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ([], "no-pictures"),
        (["a/x.txt"], "no-pictures"),
        (["a/1.png", "a/2.png"], "one-class"),
        (["1.png", "2.png"], "no-labels"),
        (["train/cat/1.png", "test/cat/1.png"], "one-class"),
        (["x/1.png", "one.csv", "two.csv"], "no-labels"),
    ],
)
def test_folders_that_cannot_be_learnt_from(tmp_path: Path, names: list[str], code: str) -> None:
    with pytest.raises(DataError) as caught:
        scan(put(tmp_path, *names))
    assert caught.value.code == code
    assert caught.value.hint


@pytest.mark.parametrize(
    ("names", "said"), [(["x.txt"], "only 1 file of another kind"), (["x.txt", "y.txt"], "only 2 files of")]
)
def test_files_that_are_no_pictures_are_counted(tmp_path: Path, names: list[str], said: str) -> None:
    with pytest.raises(DataError, match=said):
        scan(put(tmp_path, *names))


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
