"""From a source to made pictures on disk, and what they are worth: as a person runs it."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import beholder
from beholder.base.errors import DataError, UsageError
from beholder.base.records import Score
from beholder.cli.commands import app
from beholder.cli.run import run
from beholder.measure.intervals import proportion
from beholder.study.sample import MARK
from beholder.study.worth import Features

FIELDS: dict[str, Any] = {"epochs": 8, "maps": 8, "precision": "fp32"}


def digits(n: int = 1797) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    found = load_digits()
    return np.rint(found.images[:n] * (255 / 16)).astype(np.uint8), found.target[:n].astype(np.int64)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "g.beholder"
    beholder.generate(digits(400), out=path, **FIELDS)
    return path


def test_page_and_scores_lie_in_the_bundle(made: Path) -> None:
    scores = json.loads((made / "scores.json").read_bytes())
    assert scores["bits_per_dimension"]["low"] < scores["bits_per_dimension"]["value"] < scores["bits_per_dimension"]["high"]
    assert any("bits per dimension" in said for said in scores["said"])
    page = (made / "report.html").read_text("utf-8")
    for heading in ("Samples", "Reconstructions", "Map of the latent space", "Losses"):
        assert f">{heading}</h2>" in page
    assert 'src="http' not in page
    assert scores["said"][0] in (made / "README.md").read_text("utf-8")


def test_grid_says_that_it_is_synthetic(made: Path, tmp_path: Path) -> None:
    found = beholder.sample(made, n=10, seed=3, out=tmp_path / "grid.png")
    with Image.open(found.path) as image:
        assert image.size == (4 * 10 - 2, 3 * 10 - 2)
        assert "vae" in image.text[MARK]  # type: ignore[attr-defined]
        pixels = np.asarray(image)
    pictures, _ = beholder.Generator.load(made).sample(10, seed=3)
    assert np.array_equal(pixels[:8, 10:18], pictures[1, 0])
    assert found.counts == {str(k): 1 for k in range(10)}


def test_folder_is_a_source_again(made: Path, tmp_path: Path) -> None:
    beholder.sample(made, n=40, out=tmp_path / "made")
    pictures = beholder.scan(tmp_path / "made")
    assert len(pictures) == 40
    assert pictures.classes == tuple(str(k) for k in range(10))
    with Image.open(next((tmp_path / "made").rglob("*.png"))) as image:
        assert MARK in image.text  # type: ignore[attr-defined]
    of_one = beholder.sample(made, n=3, label="7", out=tmp_path / "sevens")
    assert of_one.counts == {"7": 3}


def test_places_and_numbers_that_do_not_do_are_refused(made: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    for out, n, label, code in (
        (tmp_path / "full", 4, "", "place-taken"),
        (tmp_path / "x.png", 5000, "", "bad-number"),
        (tmp_path / "x.png", 0, "", "bad-number"),
        (tmp_path / "new", 0, "", "bad-number"),
        (tmp_path / "x.png", 4, "eleven", "unknown-class"),
    ):
        with pytest.raises(UsageError) as found:
            beholder.sample(made, n=n, label=label, out=out)
        assert found.value.code == code
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full"]


def test_a_grid_takes_the_place_of_a_grid_alone(made: Path, tmp_path: Path) -> None:
    photo, broken = tmp_path / "photo.png", tmp_path / "broken.png"
    Image.new("L", (8, 8), 7).save(photo)
    broken.write_bytes(b"\x89PNG no more")
    for taken in (photo, broken):
        before = taken.read_bytes()
        with pytest.raises(UsageError) as refused:
            beholder.sample(made, n=4, out=taken)
        assert (refused.value.code, taken.read_bytes()) == ("place-taken", before)
    with pytest.raises(UsageError) as refused:
        beholder.sample(made, n=4, out=tmp_path / "grid.jpg")
    assert refused.value.code == "bad-out"
    beholder.sample(made, n=4, out=tmp_path / "grid.png")
    beholder.sample(made, n=9, out=tmp_path / "grid.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.png", "grid.png", "photo.png"]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"n": 2.5}, "bad-number"),
        ({"n": "a"}, "bad-number"),
        ({"n": True}, "bad-number"),
        ({"n": 10**12}, "bad-number"),
        ({"n": 2, "seed": 10**14}, "bad-seed"),
        ({"n": 2, "seed": -1}, "bad-seed"),
        ({"n": 2, "seed": 1.5}, "bad-seed"),
        ({"n": 2, "label": 1}, "unknown-class"),
    ],
)
def test_numbers_seeds_and_classes_that_are_none_are_refused(made: Path, given: dict[str, Any], code: str) -> None:
    loaded = beholder.Generator.load(made)
    with pytest.raises(UsageError) as refused:
        loaded.sample(**given)
    assert (refused.value.code, bool(refused.value.hint)) == (code, True)
    with pytest.raises(UsageError) as refused:
        beholder.sample(made, out=made.parent / "no.png", **given)
    assert refused.value.code == code


def test_pictures_and_labels_that_it_does_not_know_are_refused(made: Path) -> None:
    loaded = beholder.Generator.load(made)
    images, labels = loaded.sample(2)
    assert loaded.rebuilt(images, labels).shape == images.shape
    assert loaded.rebuilt(images, np.eye(10)[labels]).shape == images.shape
    for given, named, code in (
        (images, np.array([0, 10]), "bad-labels"),
        (images, np.array([0, -1]), "bad-labels"),
        (images, np.ones((2, 3)), "bad-labels"),
        (images, np.array([0.5, 1.0]), "bad-labels"),
        (images[:, :, :6], labels, "bad-pictures"),
        (images.astype(np.float32), labels, "bad-pictures"),
    ):
        with pytest.raises(UsageError) as refused:
            loaded.rebuilt(given, named)
        assert refused.value.code == code
    with pytest.raises(UsageError, match="from one picture to another"):
        loaded.between(images[:1], labels[:1])


def test_classes_that_no_folder_can_be_called_are_said(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = beholder.Generator.load(made)
    names = ("x:y*?", "a/b", ".hid", *loaded.classes[3:])
    odd = dataclasses.replace(loaded, config=dataclasses.replace(loaded.config, classes=names))
    beholder.sample(odd, n=20, out=tmp_path / "made")
    assert "'a/b' lie in the folder 'a_b (1)'" in capsys.readouterr().err
    found = beholder.scan(tmp_path / "made").classes
    assert {"a_b (1)", "hid (2)"} <= set(found)
    assert "x:y*?" in found or os.name == "nt"


def test_command_line_says_json_and_hints(made: Path, tmp_path: Path) -> None:
    invoked = CliRunner().invoke
    done = invoked(app, ["sample", str(made), "--n", "4", "--out", str(tmp_path / "g.png"), "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout) == {"path": str(tmp_path / "g.png"), "counts": {"0": 1, "1": 1, "2": 1, "3": 1}}
    for words in (["predict", str(made), "x.png"], ["export", str(made)], ["evaluate", str(made), "nowhere"]):
        failed = invoked(app, words)
        assert failed.exit_code != 0


@pytest.mark.parametrize("words", [["--report", "r.html"], ["--part", "all"], ["--sections", "none"], ["--ood", "x"]])
def test_options_that_are_for_recognisers_are_refused(words: list[str], made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", str(made), "nowhere", *words]) == 2
    assert "are for models that recognise" in capsys.readouterr().err


def test_source_that_it_was_not_trained_on_is_refused(made: Path) -> None:
    x, y = digits(300)
    with pytest.raises(DataError) as found:
        beholder.worth(made, (255 - x, y))
    assert found.value.code == "not-trained-on"


def test_worth_is_told_by_recognition_by_bits_and_by_features(made: Path) -> None:
    found = beholder.worth(made, digits(400))
    assert found.learnt == len([1 for _, part in beholder.Generator.load(made).splits if part == "train"])
    assert found.accuracy is not None
    assert found.real is not None
    assert found.real.value > found.accuracy.value
    assert found.real.n == found.accuracy.n == 60
    assert found.bits is not None
    assert found.tighter < found.bits.value
    said = found.json()
    assert set(said) >= {"learnt", "accuracy", "real", "bits_per_dimension", "importance_weighted", "spread_over_draws"}
    assert "classification accuracy score" in str(found)


def test_classes_are_dealt_in_their_shares(made: Path) -> None:
    found = beholder.Generator.load(made)
    found.config = dataclasses.replace(found.config, shares=(0.5, 0.3, 0.2, *[0.0] * 7))
    assert np.bincount(found.dealt(10)).tolist() == [5, 3, 2]
    assert np.bincount(found.dealt(1000)).tolist() == [500, 300, 200]
    assert found.dealt(1000)[:10].tolist() == found.dealt(10).tolist()
    found.config = dataclasses.replace(found.config, shares=())
    assert found.dealt(12).tolist() == [*range(10), 0, 1]


@pytest.mark.parametrize(
    ("recall", "n", "spread", "collapsed"),
    [
        (0.5, 200, 1.0, False),
        (0.02, 1000, 0.84, True),
        (0.002, 1000, 0.95, False),  # little training: unlike real pictures, and as varied as they are
        (0.13, 1000, 0.87, False),
        (0.0, 30, 0.1, True),  # too few pictures to tell by recall
    ],
)
def test_collapse_is_said(recall: float, n: int, spread: float, collapsed: bool) -> None:
    score = Score(0.1, 0.05, 0.15, n)
    near = (np.zeros((2, 0), np.int64), np.zeros(0, np.float32), 0.9)
    found = Features("net", score, score, proportion(np.arange(n) < recall * n), Score(0.84, 0.8, 0.9, n), score, spread, near)
    assert found.collapsed is collapsed
    assert any(said.startswith("collapse") for said in found.sentences()) is collapsed
    assert found.json()["collapsed"] is collapsed
    assert (found.json()["precision"]["value"], found.json()["spread"]) == (0.1, spread)


def drawn(folder: Path, counts: dict[str, int], side: int = 16) -> Path:
    random = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for k in range(count):
            Image.fromarray(random.integers(0, 255, (side, side, 3)).astype(np.uint8)).save(folder / name / f"{k}.png")
    return folder


@pytest.mark.parametrize(
    ("counts", "words", "code", "said"),
    [
        ({"a": 5, "b": 6}, (), 1, ("7 readable training pictures are too few", "hint: give 20 at least")),
        ({}, (), 1, ("there are no pictures in", "hint: give a folder")),
        ({"a": 15, "b": 15}, ("--size", "128"), 2, ("pictures of 128 pixels cannot be made", "hint: --size 8 to 64")),
    ],
)
def test_a_source_of_which_nothing_can_be_made_is_an_error_with_a_hint(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    counts: dict[str, int],
    words: tuple[str, ...],
    code: int,
    said: tuple[str, ...],
) -> None:
    (tmp_path / "source").mkdir()
    source, out = drawn(tmp_path / "source", counts), tmp_path / "g.beholder"
    assert run(["generate", str(source), "--out", str(out), "--epochs", "1", *words]) == code
    heard = capfd.readouterr().err
    assert all(each in heard for each in said)
    assert "Traceback" not in heard
    assert not out.exists()


def test_of_one_class_pictures_are_made_without_classes_and_of_large_ones_smaller_ones(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "g.beholder"
    words = ("--epochs", "1", "--set", "generate.maps=8", "--kind", "gan")
    assert run(["generate", str(drawn(tmp_path / "cats", {"cat": 40}, 70)), "--out", str(out), *words]) == 0
    assert "made at 64 pixels, of which there can be no more" in capfd.readouterr().err
    made = beholder.Generator.load(out)
    assert made.classes == ()
    assert made.sample(2)[0].shape == (2, 3, 64, 64)
    assert run(["sample", str(out), "--class", "cat", "--out", str(tmp_path / "x.png")]) == 2
    assert "hint: it learnt from pictures without labels" in capfd.readouterr().err
