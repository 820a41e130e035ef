"""Others at work at the same time: on the cache, on the pictures. Each run gives a right result or a clear error."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import beholder
from beholder.base import events
from beholder.base.errors import BeholderError, DataError
from beholder.base.files import file_sha256
from beholder.machine.folders import cache_folder

FIELDS = {"net": "cnn", "width": 0.25, "epochs": 2, "batch": 8, "precision": "fp32"}


def weights(bundle: beholder.Bundle) -> bytes:
    return b"".join(value.numpy().tobytes() for value in bundle.net.state_dict().values())


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that no other test shares."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    return cache_folder()


def once(name: str, act: Callable[[], object]) -> Callable[[events.Event], None]:
    """A sink that acts when `name` is first said."""
    done: list[bool] = []

    def at(event: events.Event) -> None:
        if event.message.startswith(name) and not done:
            done.append(True)
            act()

    return at


def train(source: Path, sink: Callable[[events.Event], None]) -> tuple[beholder.Bundle, list[str]]:
    heard: list[str] = []
    with events.listen(sink, lambda event: heard.append(f"{event.kind}: {event.message}"), alone=True):
        return beholder.train(beholder.split(beholder.scan(source), seed=0), **FIELDS), heard


@pytest.mark.skipif(os.name == "nt", reason="there an open file cannot be deleted")
@pytest.mark.parametrize("moment", ["reading the pictures", "decode", "[2/6]", "first step", "training", "epoch 1", "[5/6]"])
def test_a_cache_that_is_deleted_while_in_use_is_not_missed(leaves: Path, own_cache: Path, moment: str) -> None:
    undisturbed, heard = train(leaves, lambda event: None)
    shutil.rmtree(own_cache)
    gone: list[bool] = []
    bundle, _ = train(leaves, once(moment, lambda: (gone.append(own_cache.exists()), shutil.rmtree(own_cache, True))))
    assert gone, f"{moment} was never said: {heard}"
    assert weights(bundle) == weights(undisturbed)


def spoil(file: Path) -> None:
    """Overwrite a picture by another one of the same name, as a person does who edits while training runs."""
    file.write_bytes((file.parent / "11.png").read_bytes() + b"\0" * 7)


CHANGES: dict[str, Callable[[Path], None]] = {
    "deleted": lambda file: file.unlink(),
    "replaced": spoil,
    "cut": lambda file: file.write_bytes(file.read_bytes()[:50]),
    "emptied": lambda file: file.write_bytes(b""),
}


def test_a_picture_that_is_replaced_between_digest_and_decoding_is_read_as_it_is_now(leaves: Path, own_cache: Path) -> None:
    parts = beholder.split(beholder.scan(leaves), seed=0)
    file = leaves / parts.train.keys[0]
    before = file_sha256(file)
    spoil(file)
    known = dict(beholder.train(parts, **FIELDS).splits)
    assert known.get(file_sha256(file)) == "train"
    assert before not in known


@pytest.mark.parametrize("change", sorted(set(CHANGES) - {"replaced"}))
def test_a_picture_that_breaks_between_digest_and_decoding_is_left_out_and_named(
    leaves: Path, own_cache: Path, change: str
) -> None:
    parts = beholder.split(beholder.scan(leaves), seed=0)
    key = parts.train.keys[0]
    CHANGES[change](leaves / key)
    heard: list[events.Event] = []
    with events.listen(heard.append, alone=True):
        bundle = beholder.train(parts, **FIELDS)
    assert any("could not be read" in note and key in note for note in bundle.config.notes)
    warned = [event for event in heard if event.kind == "warn" and event.fields.get("bad") == 1]
    assert len(warned) == 1
    assert key in warned[0].message


@pytest.mark.parametrize("change", CHANGES)
def test_a_picture_that_changes_after_decoding_changes_nothing(leaves: Path, own_cache: Path, change: str) -> None:
    undisturbed, _ = train(leaves, lambda event: None)
    files = sorted(leaves.rglob("*.png"))
    bundle, heard = train(leaves, once("training", lambda: [CHANGES[change](file) for file in files if file.stem != "11"]))
    assert weights(bundle) == weights(undisturbed)
    assert not [words for words in heard if words.startswith("warn") and "read" in words]


def test_pictures_that_vanish_altogether_are_an_error_that_says_so(leaves: Path, own_cache: Path) -> None:
    parts = beholder.split(beholder.scan(leaves), seed=0)
    shutil.rmtree(leaves)
    with pytest.raises(DataError) as caught:
        beholder.train(parts, **FIELDS)
    assert caught.value.code == "all-unreadable"
    assert "path-missing" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("moment", ["reading the pictures", "decode", "[2/6]"])
def test_a_source_that_vanishes_on_the_way_is_a_result_or_a_clear_error(leaves: Path, own_cache: Path, moment: str) -> None:
    undisturbed, _ = train(leaves, lambda event: None)
    shutil.rmtree(own_cache)
    found: list[bytes | str] = []
    try:
        found.append(weights(train(leaves, once(moment, lambda: shutil.rmtree(leaves, ignore_errors=True)))[0]))
    except BeholderError as error:
        found.append(error.code)
    assert found[0] in (weights(undisturbed), "unreadable", "all-unreadable", "no-valid", "one-class")


def test_an_archive_that_is_replaced_after_the_scan_is_noticed(leaves: Path, own_cache: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "leaves"), "zip", leaves))
    parts = beholder.split(beholder.scan(archive), seed=0)
    rng = np.random.default_rng(0)
    for file in leaves.rglob("*.png"):
        file.write_bytes(rng.bytes(200))
    shutil.make_archive(str(tmp_path / "leaves"), "zip", leaves)
    with pytest.raises(BeholderError) as caught, events.listen(alone=True):
        beholder.train(parts, **FIELDS)
    assert caught.value.hint
    assert caught.value.code != "internal"


@pytest.mark.slow
def test_two_runs_on_one_cache_at_once_end_in_the_same_weights(leaves: Path, tmp_path: Path) -> None:
    sets = [word for name in ("train.epochs=2", "train.batch=8", "data.workers=2") for word in ("--set", name)]
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "beholder", "train", str(leaves), "--net", "cnn", "--out", str(tmp_path / name), *sets],
            env={**os.environ, "HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        for name in ("a.beholder", "b.beholder")
    ]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    first, second = (file_sha256(tmp_path / name / "model.safetensors") for name in ("a.beholder", "b.beholder"))
    assert first == second
    assert not [path for path in (tmp_path / "home").rglob(".*") if path.name != ".cache"]
