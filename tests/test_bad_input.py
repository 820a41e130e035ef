"""Bad input, end to end, through the real command: one clear message with a hint, the exit code as designed, no traceback."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import beholder
from beholder.cli.run import run

SMALL = ["--net", "cnn", "--set", "train.epochs=1", "--set", "train.batch=8"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, draw) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    source = draw(folder / "leaves")
    assert run(["train", str(source), "--out", str(folder / "leaves.beholder"), *SMALL]) == 0
    return folder / "leaves.beholder"


def _said(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """Return (message, hint) of the one error on stderr."""
    found = re.search(r"^error: (.+?)\n\nhint: (.+)\n\Z", capsys.readouterr().err, re.DOTALL | re.MULTILINE)
    assert found, "no error with a hint"
    assert "Traceback" not in found[0]
    assert "internal" not in found[1]
    assert "\n" not in found[1]
    return found[1], found[2]


def _missing(folder: Path, leaves: Path) -> Path:
    return folder / "leafs"


def _empty(folder: Path, leaves: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def _one_class(folder: Path, leaves: Path) -> Path:
    shutil.rmtree(leaves / "rust")
    shutil.rmtree(leaves / "mildew")
    return leaves


def _no_label_column(folder: Path, leaves: Path) -> Path:
    (folder / "labels.csv").write_text("path,colour\nleaves/rust/00.png,brown\n")
    return folder / "labels.csv"


def _csv_of_missing_files(folder: Path, leaves: Path) -> Path:
    (folder / "labels.csv").write_text("path,label\nnowhere/a.png,ant\nnowhere/b.png,bee\n")
    return folder / "labels.csv"


def _no_zip(folder: Path, leaves: Path) -> Path:
    (folder / "pictures.zip").write_bytes(b"this is not a zip file, whatever its name says")
    return folder / "pictures.zip"


def _cut_zip(folder: Path, leaves: Path) -> Path:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for file in sorted(leaves.rglob("*.png")):
            archive.write(file, file.relative_to(leaves))
    (folder / "cut.zip").write_bytes(data.getvalue()[: len(data.getvalue()) // 2])
    return folder / "cut.zip"


def _unreadable_only(folder: Path, leaves: Path) -> Path:
    for file in leaves.rglob("*.png"):
        file.write_bytes(b"\x89PNG\r\n\x1a\nnothing" + str(file).encode())
    return leaves


def _empty_files_only(folder: Path, leaves: Path) -> Path:
    for file in leaves.rglob("*.png"):
        file.write_bytes(b"")
    return leaves


def _table_of_semicolons(folder: Path, leaves: Path) -> Path:
    (folder / "labels.csv").write_text("path;label\nleaves/rust/00.png;rust\n")
    return folder / "labels.csv"


def _table_of_one_class(folder: Path, leaves: Path) -> Path:
    (folder / "labels.csv").write_text("path,label\nleaves/rust/00.png,rust\nleaves/rust/01.png,rust\nnowhere.png,ant\n")
    return folder / "labels.csv"


def _twins_only(folder: Path, leaves: Path) -> Path:
    for number, name in enumerate(("healthy", "mildew", "rust")):
        for file in (leaves / name).iterdir():
            Image.fromarray(np.full((8, 8, 3), 90 * min(number, 1), np.uint8)).save(file)
    return leaves


def _text_file(folder: Path, leaves: Path) -> Path:
    (folder / "notes.txt").write_text("hello")
    return folder / "notes.txt"


def _two_pictures(folder: Path, leaves: Path) -> Path:
    for name in ("rust", "mildew"):
        for file in sorted((leaves / name).iterdir())[1:]:
            file.unlink()
    shutil.rmtree(leaves / "healthy")
    return leaves


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (_missing, 2, "leafs"),
        (_empty, 1, "no pictures"),
        (_one_class, 1, "one class"),
        (_no_label_column, 1, "label"),
        (_csv_of_missing_files, 1, "nowhere/a.png"),
        (_no_zip, 1, "pictures.zip"),
        (_cut_zip, 1, "cut.zip"),
        (_unreadable_only, 1, "36 pictures in"),
        (_empty_files_only, 1, "can be read: 36 empty"),
        (_table_of_one_class, 1, "labels.csv has only one class"),
        (_text_file, 2, "notes.txt"),
        (_two_pictures, 1, "too few"),
        (_twins_only, 1, "nothing is left"),
    ],
)
@pytest.mark.parametrize("command", ["train", "tune"])
def test_sources_that_are_not_fit(
    make: Callable[[Path, Path], Path], code: int, words: str, command: str, leaves: Path, tmp_path: Path, capsys
) -> None:
    source = make(tmp_path, leaves)
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    asked = [command, str(source), "--out", str(tmp_path / "m.beholder")]
    assert run([*asked, "--minutes", "1", "--trials", "1"] if command == "tune" else asked) == code
    message, hint = _said(capsys)
    assert words in message
    assert len(hint) > 10
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_empty_files_are_told_without_an_audit_too(leaves: Path, tmp_path: Path, capsys) -> None:
    _empty_files_only(tmp_path, leaves)
    assert run(["train", str(leaves), "--out", str(tmp_path / "m.beholder"), "--audit", "off"]) == 1
    assert "can be read: 36 empty" in _said(capsys)[0]


def test_a_table_with_semicolons_is_read_as_one(leaves: Path, tmp_path: Path, capsys) -> None:
    source = _table_of_semicolons(tmp_path, leaves)
    assert run(["train", str(source), "--out", str(tmp_path / "m.beholder")]) == 1
    assert "only one class" in _said(capsys)[0]


BELOW = [
    (command, place)
    for command in ("train", "tune", "curve", "audit", "demo", "evaluate", "clean")
    for place in ("a-file/m.beholder", "sealed/deep/m.beholder")
]
TAKEN = [("audit", "a-folder"), ("curve", "a-folder"), ("evaluate", "a-folder"), ("demo", "a-file")]


@pytest.mark.parametrize(("command", "place"), [*BELOW, *TAKEN])
def test_a_place_that_cannot_be_written_is_told_before_anything_is_read(
    command: str, place: str, bundle: Path, leaves: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a-file").write_text("in the way")
    for folder in ("sealed", "a-folder"):
        (tmp_path / folder).mkdir()
    out = tmp_path / place
    real = tempfile.TemporaryFile

    def sealed(*, dir: Path) -> object:
        if dir.name == "sealed":
            raise PermissionError(13, "Permission denied")
        return real(dir=dir)

    monkeypatch.setattr("tempfile.TemporaryFile", sealed)
    before = (bundle / "readings.json").read_bytes()
    option = "--report" if command == "evaluate" else "--out"
    given = [str(bundle)] if command == "evaluate" else []
    more = ["--minutes", "1"] if command == "tune" else []
    assert run([command, *given, *([] if command == "demo" else [str(leaves)]), *more, option, str(out)]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: cannot write ")
    assert option in told.partition("hint: ")[2]
    assert (bundle / "readings.json").read_bytes() == before


def test_a_class_with_one_picture_is_a_warning(leaves: Path, tmp_path: Path, capsys) -> None:
    for file in sorted((leaves / "rust").iterdir())[1:]:
        file.unlink()
    assert run(["train", str(leaves), "--out", str(tmp_path / "m.beholder"), "--json", *SMALL]) == 0
    out, err = capsys.readouterr()
    assert re.search(r"warning: .*rust", err)
    assert json.loads(out)["parts"] == {"train": 17, "valid": 4, "test": 4}


@pytest.mark.parametrize(
    ("assignment", "words", "near"),
    [
        ("train.epoch=3", "train.epoch", "train.epochs"),
        ("trian.lr=3", "trian.lr", "train.lr"),
        ("train.epochs=many", "whole number", "train.epochs=3"),
        ("train.lr=fast", "a number", "train.lr=0.5"),
        ("data.fit=cropp", "cropp", "crop"),
        ("train.lr", "NAME=VALUE", "--set"),
        ("data.size=-4", "data.size", "between"),
        ("net.init=kaimming", "kaimming", "kaiming"),
        ("data.background=mauvish", "mauvish", "#ffffff"),
    ],
)
def test_wrong_settings_name_the_nearest_right_one(
    assignment: str, words: str, near: str, leaves: Path, tmp_path: Path, capsys
) -> None:
    assert run(["train", str(leaves), "--out", str(tmp_path / "m.beholder"), "--set", assignment]) == 2
    message, hint = _said(capsys)
    assert words in message
    assert near in hint


@pytest.mark.parametrize("net", ["fastnett", "timm:resnet19", "nowhere:net", "timm:"])
def test_nets_that_are_not_there(net: str, leaves: Path, tmp_path: Path, capsys) -> None:
    assert run(["train", str(leaves), "--out", str(tmp_path / "m.beholder"), "--net", net]) == 2
    message, _ = _said(capsys)
    assert net.removeprefix("timm:") in message


def test_weights_whose_licence_is_not_permissive(leaves: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("beholder.nets.hub.reachable", lambda: False)
    net = "convnextv2_nano.fcmae_ft_in22k_in1k"
    assert run(["train", str(leaves), "--out", str(tmp_path / "m.beholder"), "--net", net]) == 2
    message, hint = _said(capsys)
    assert net in message
    assert "cc-by-nc-4.0" in message
    assert "--set net.licence=any" in hint
    asked = ["--net", net, "--set", "net.licence=any"]
    assert run(["train", str(leaves), "--out", str(tmp_path / "m.beholder"), *asked]) == 1
    assert f"no pretrained weights for timm:{net}" in _said(capsys)[0]


def test_a_bundle_with_a_changed_byte_or_of_a_newer_schema(bundle: Path, leaves: Path, tmp_path: Path, capsys) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy.beholder"))
    data = bytearray((copy / "model.safetensors").read_bytes())
    data[-5] ^= 4
    (copy / "model.safetensors").write_bytes(data)
    for command in (["evaluate", str(copy), str(leaves)], ["predict", str(copy), str(leaves)]):
        assert run(command) == 1
        assert "damaged" in _said(capsys)[0]
    config = json.loads((bundle / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "schema": 99}))
    assert run(["predict", str(copy), str(leaves)]) == 1
    message, hint = _said(capsys)
    assert "99" in message
    assert "update" in hint


def test_no_bundle_where_one_should_be(bundle: Path, leaves: Path, tmp_path: Path, capsys) -> None:
    assert run(["evaluate", str(bundle.parent / "laeves.beholder"), str(leaves)]) == 2
    assert "leaves.beholder" in _said(capsys)[1]
    assert run(["predict", str(leaves), str(leaves)]) == 1
    assert "not a bundle" in _said(capsys)[0]


def test_predict_on_a_text_file(bundle: Path, leaves: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    assert run(["predict", str(bundle), str(tmp_path / "notes.txt")]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["code"] == "not-a-picture"
    assert "Traceback" not in err
    assert "hint:" in err
    assert run(["predict", str(bundle), str(tmp_path / "notes.txt"), str(leaves / "rust" / "00.png")]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert ["error" in line for line in lines] == [True, False]


def test_evaluate_on_foreign_classes_and_on_nothing(bundle: Path, leaves: Path, tmp_path: Path, capsys) -> None:
    for number, name in enumerate(("ant", "bee")):
        (tmp_path / "insects" / name).mkdir(parents=True)
        Image.fromarray(np.full((9, 9, 3), 90 * number, np.uint8)).save(tmp_path / "insects" / name / "a.png")
    assert run(["evaluate", str(bundle), str(tmp_path / "insects")]) == 1
    assert "ant" in _said(capsys)[0]
    assert run(["evaluate", str(bundle), str(tmp_path / "nothing")]) == 2
    _said(capsys)


def test_a_full_disk_while_saving_is_said_and_loses_nothing(
    bundle: Path, leaves: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "m.beholder"))
    real = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        if self.name == "model.safetensors":
            real(self, data[: len(data) // 2])
            raise OSError(28, "No space left on device")
        return real(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        assert run(["train", str(leaves), "--out", str(copy), *SMALL]) == 1
    message, hint = _said(capsys)
    assert "disk is full" in message
    assert "--out" in hint
    assert beholder.load(copy).classes == ("healthy", "mildew", "rust")


STAGES = ["decode", "training ", "testing"]
"""In whole processes; tests/kill/ does it at every stage, in processes that are forked."""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stage", STAGES)
def test_an_interruption_at_each_stage(stage: str, number: int, tmp_path: Path, draw) -> None:
    source, out = draw(tmp_path / "leaves", each=60, size=(120, 90)), tmp_path / "m.beholder"
    command = [sys.executable, "-m", "beholder", "train", str(source), "--out", str(out), "--net", "cnn"]
    process = subprocess.Popen(
        [*command, "--set", "train.epochs=6", "--set", "train.batch=8"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "HOME": str(tmp_path / "home")},
    )
    said = ""
    for line in process.stderr:
        said += line
        if stage in line:
            break
    else:
        pytest.fail(f"{stage} never came:\n{said}")
    process.send_signal(number)
    asked = time.monotonic()
    said += process.communicate(timeout=60)[1]
    assert process.returncode == 128 + number, said
    assert time.monotonic() - asked < 5
    assert "Traceback" not in said
    assert "error: " in said
    if out.exists():
        assert beholder.load(out).classes == ("healthy", "mildew", "rust")
    left = {path.name for path in tmp_path.iterdir()} - {"leaves", "home", "m.beholder", "m.run"}
    assert not left
