from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beholder.base import files
from beholder.base.errors import MachineError
from beholder.base.files import (
    adopt,
    file_sha256,
    folder_atomic,
    recover,
    remove_folder,
    sha256,
    sweep,
    telling_disk_errors,
    write_atomic,
)


def fail_with(number: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_digest_is_that_of_the_standard() -> None:
    assert sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@given(st.binary(max_size=2000))
def test_digest_of_a_file_is_that_of_its_bytes(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(data)
        assert file_sha256(path) == sha256(data) == hashlib.sha256(data).hexdigest()


def test_write_makes_folders_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.json"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert names(path.parent) == ["b.json"]


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, "disk-full"), (errno.EDQUOT, "disk-full"), (errno.EIO, "cannot-write")]
)
@pytest.mark.parametrize("stage", ["fsync", "replace"])
def test_a_failed_write_keeps_the_older_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str, stage: str
) -> None:
    path = tmp_path / "b.json"
    write_atomic(path, b"old")
    monkeypatch.setattr(files.os, stage, fail_with(number))
    with pytest.raises(MachineError) as caught:
        write_atomic(path, b"new")
    assert caught.value.code == code
    assert str(path) in caught.value.message
    assert caught.value.hint
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["b.json"]


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "m.beholder"
    with folder_atomic(path) as temporary:
        assert temporary.parent == path.parent
        (temporary / "sub").mkdir()
        (temporary / "sub" / "a.txt").write_text("a")
        assert not path.exists()
    assert (path / "sub" / "a.txt").read_text() == "a"
    assert names(path.parent) == ["m.beholder"]
    assert path.stat().st_mode & 0o777 == 0o755


def test_a_folder_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "m.beholder"
    for text in ("old", "new"):
        with folder_atomic(path) as temporary:
            (temporary / text).write_text(text)
    assert names(path) == ["new"]
    assert names(tmp_path) == ["m.beholder"]


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt()])
def test_a_failure_inside_leaves_the_older_folder(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "m.beholder"
    with folder_atomic(path) as temporary:
        (temporary / "old").write_text("old")

    def half() -> None:
        with folder_atomic(path) as temporary:
            (temporary / "half").write_text("half")
            raise error

    with pytest.raises(type(error)):
        half()
    assert names(path) == ["old"]
    assert names(tmp_path) == ["m.beholder"]


def test_a_failed_rename_puts_the_older_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.beholder"
    with folder_atomic(path) as temporary:
        (temporary / "old").write_text("old")
    replace, calls = os.replace, []

    def second_fails(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "full")
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", second_fails)
    with pytest.raises(MachineError, match="disk is full"), folder_atomic(path) as temporary:
        (temporary / "new").write_text("new")
    assert names(path) == ["old"]
    assert names(tmp_path) == ["m.beholder"]


def test_when_even_putting_back_fails_the_older_folder_is_not_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.beholder"
    with folder_atomic(path) as temporary:
        (temporary / "old").write_text("old")
    replace, calls = os.replace, []

    def only_first(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) > 1:
            raise OSError(errno.EIO, "broken")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", only_first)
        with pytest.raises(MachineError, match="cannot write"), folder_atomic(path) as temporary:
            (temporary / "new").write_text("new")
    adopt(path)
    assert names(path) == ["old"]


@pytest.mark.parametrize("came", [False, True])
def test_a_kill_between_the_renames_or_after_them_is_made_good(tmp_path: Path, came: bool) -> None:
    path, aside = tmp_path / "m.run", tmp_path / ".m.run.old"
    for folder in (aside, path)[: 1 + came]:
        folder.mkdir()
        (folder / folder.name).touch()
    recover(path)
    assert [each.name for each in tmp_path.iterdir()] == ["m.run"]
    assert names(path) == [path.name if came else aside.name]


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    path = tmp_path / "m.beholder"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    begin = files._ours(path).removesuffix(f"{os.getpid()}.")
    left = {"folder": f"{begin}{dead.pid}.abc.tmp", "file": f"{begin}{dead.pid}.def.tmp"}
    kept = {"living": f"{begin}{os.getpid()}.ghi.tmp", "elsewhere": f".m.beholder.another.{dead.pid}.jkl.tmp"}
    (tmp_path / left["folder"]).mkdir()
    (tmp_path / left["folder"] / "half").write_text("half")
    for name in (left["file"], kept["living"], kept["elsewhere"], "n.beholder"):
        (tmp_path / name).write_text("")
    sweep(path)
    assert names(tmp_path) == sorted([*kept.values(), "n.beholder"])


def test_a_folder_is_removed_at_once_and_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "m.run"
    (path / "sub").mkdir(parents=True)
    (path / "sub" / "a").write_text("a")
    remove_folder(path)
    remove_folder(path)
    assert names(tmp_path) == []


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(MachineError) as caught:
        write_atomic(blocker / "b.json", b"x")
    assert caught.value.code == "cannot-write"
    with pytest.raises(MachineError), folder_atomic(blocker / "m.beholder"):
        pass


def test_other_errors_pass_the_disk_guard(tmp_path: Path) -> None:
    with pytest.raises(KeyError), telling_disk_errors(tmp_path):
        raise KeyError("x")


def test_what_is_written_through_a_link_goes_where_it_leads_and_the_link_stays(tmp_path: Path) -> None:
    file, folder = tmp_path / "file", tmp_path / "folder"
    links = [tmp_path / "to-file", tmp_path / "to-folder"]
    for link, target in zip(links, (file, folder), strict=True):
        link.symlink_to(target.name)
    for _ in range(2):  # where nothing lies yet, and where something does
        write_atomic(links[0], b"1")
        with folder_atomic(links[1]) as made:
            (made / "inside").write_bytes(b"2")
    assert [link.is_symlink() for link in links] == [True, True]
    assert (file.read_bytes(), (folder / "inside").read_bytes()) == (b"1", b"2")
    assert names(tmp_path) == ["file", "folder", "to-file", "to-folder"]
