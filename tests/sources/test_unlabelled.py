"""Pictures without labels, from each kind of source, in the verbs that need none and in those that do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import beholder
from beholder.base.errors import BeholderError, DataError
from beholder.cli.run import run
from beholder.explanation import explain
from beholder.image import load
from beholder.quality.checks import CHECKS, Check
from beholder.runtime.export.samples import sample


def flat(source: Path, to: Path) -> Path:
    """The pictures of a source in one folder: CLASS-NUMBER.png."""
    to.mkdir()
    for file in sorted(source.rglob("*.png")):
        shutil.copy(file, to / f"{file.parent.name}-{file.name}")
    return to


def arrays(folder: Path) -> np.ndarray:
    from PIL import Image

    return np.stack([np.asarray(Image.open(file)) for file in sorted(folder.iterdir())])


SOURCES: dict[str, Callable[[Path], Any]] = {
    "folder": lambda folder: folder,
    "pattern": lambda folder: str(folder / "*.png"),
    "list": lambda folder: sorted(folder.iterdir()),
    "zip": lambda folder: Path(shutil.make_archive(str(folder), "zip", folder)),
    "tar": lambda folder: Path(shutil.make_archive(str(folder), "gztar", folder)),
    "arrays": arrays,
}


@pytest.fixture
def bare(leaves: Path, tmp_path: Path) -> Path:
    return flat(leaves, tmp_path / "bare")


@pytest.fixture(params=list(SOURCES))
def source(request: pytest.FixtureRequest, bare: Path) -> Any:
    return SOURCES[request.param](bare)


def test_the_pictures_are_there_and_their_labels_are_not(source: Any) -> None:
    for labels in (False, None):
        pictures = beholder.scan(source, labels=labels)
        assert len(pictures) == 36
        assert not pictures.labelled
        assert pictures.classes == ()
        assert pictures.targets.shape == (36, 0)
        assert pictures.labels(3) == ()
        assert len(pictures.counts()) == 0
        assert "without labels" in repr(pictures)
        assert len(pictures.take(np.arange(5))) == 5


def test_what_needs_labels_refuses_with_a_hint(source: Any, small: tuple[Path, Path, Any]) -> None:
    pictures, bundle = beholder.scan(source, labels=False), small[2]
    parts = beholder.Parts(*(pictures.take(np.arange(k, 36, 3)) for k in range(3)))
    for verb in (
        lambda: beholder.split(pictures),
        lambda: beholder.train(parts, net="mlp", epochs=1),
        lambda: beholder.evaluate(bundle, pictures),
        lambda: beholder.compare([bundle, bundle], pictures),
        lambda: beholder.steps(source, out=None, net="mlp"),
    ):
        with pytest.raises(BeholderError) as caught:
            verb()
        assert caught.value.code in ("no-labels", "bad-source", "path-missing", "unknown-source")
        assert caught.value.hint


def test_predict_takes_them(source: Any, small: tuple[Path, Path, Any], bare: Path) -> None:
    bundle = small[2]
    expected = [line["label"] for line in beholder.predict(bundle, bare)]
    lines = list(beholder.predict(bundle, beholder.scan(source, labels=False)))
    assert [line["label"] for line in lines] == expected
    assert len(set(expected)) > 1


def test_predict_walks_archives(small: tuple[Path, Path, Any], bare: Path, capsys) -> None:
    archive = SOURCES["zip"](bare)
    assert run(["predict", str(small[1]), str(archive), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 36
    assert lines[0]["path"] == f"{archive}/healthy-00.png"
    assert not [line for line in lines if "error" in line]


def test_the_audit_runs_what_needs_no_labels_and_says_what_does(source: Any, bare: Path) -> None:
    for name in ("black-1.png", "black-2.png"):
        shutil.copy(bare / "rust-00.png", bare / name)
    given = source if not isinstance(source, np.ndarray) else arrays(bare)
    findings = beholder.audit(beholder.scan(given, labels=False), minutes=0.1)
    [note] = [note for note in findings.notes if "no labels" in note]
    for name in ("label", "conflict", "imbalance", "few", "shortcut"):
        assert name in note.partition(": ")[2].split(", ")
        assert name not in findings.looked
    assert {"dark", "duplicate", "blurred"} <= set(findings.looked)
    assert findings.json()["classes"] == []
    assert set(CHECKS.sound(of=Check)) >= set(findings.looked)


def test_the_command_audits_a_folder_without_classes(bare: Path, tmp_path: Path, capsys) -> None:
    shutil.copy(bare / "rust-00.png", bare / "copy.png")
    assert run(["audit", str(bare), "--out", str(tmp_path / "audit.csv"), "--minutes", "0.1", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["checks"]["duplicate"]["found"] == 1
    assert "37 pictures without labels" in err
    assert run(["train", str(bare), "--out", str(tmp_path / "m.beholder")]) == 1
    assert "have no labels" in capsys.readouterr().err


def test_nearest_pictures_and_calibration_need_no_labels(small: tuple[Path, Path, Any], tmp_path: Path) -> None:
    source, _, bundle = small
    pictures = flat(source, tmp_path / "bare")
    explanation = explain(bundle, pictures / "rust-00.png", like=pictures)
    assert len(explanation.nearest) > 0
    assert explanation.nearest[0].labels == ()
    assert len(sample(bundle, pictures).images) > 0


def test_labels_are_kept_where_there_are_some(leaves: Path) -> None:
    assert beholder.scan(leaves, labels=None).classes == ("healthy", "mildew", "rust")
    assert len(beholder.scan(leaves, labels=False)) == 36
    with pytest.raises(DataError) as caught:
        beholder.scan(leaves / "rust")
    assert caught.value.code == "no-labels"
    assert len(beholder.scan(leaves / "rust", labels=None)) == 12


def test_pixels_are_the_same_from_every_source(source: Any, bare: Path) -> None:
    from beholder.base.records import PixelPolicy

    policy = PixelPolicy(8, 8)
    pictures = beholder.scan(source, labels=False)
    first = load(pictures.store.read(pictures.keys[0]), policy)
    assert np.array_equal(first, load((bare / "healthy-00.png").read_bytes(), policy))


@pytest.mark.parametrize("wrong", ["nowhere", "none/*.png", ["nowhere.png"], [], np.zeros((3,)), 7])
def test_what_holds_no_pictures_is_one_error(wrong: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for labels in (False, None):
        with pytest.raises(BeholderError):
            beholder.scan(wrong, labels=labels)
