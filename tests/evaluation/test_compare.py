"""Two bundles on the same pictures: what is said, what is left out, and what cannot be compared."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import beholder
from beholder.base.errors import DataError, UsageError
from beholder.bundle.bundle import Bundle
from beholder.cli.run import run
from beholder.evaluation.sections.reuse import reuse
from beholder.sources.digest import digested

Trained = tuple[Path, Bundle, Bundle, beholder.Parts]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, draw) -> Trained:
    """A bundle that has learnt the colours, and one whose guesses are nearly chance: its weights are as they began."""
    source = draw(tmp_path_factory.mktemp("compare") / "leaves", each=20)
    parts = beholder.split(beholder.scan(source), seed=0)
    good = beholder.train(parts, net="cnn", epochs=4, batch=8)
    good.save(source.parent / "good.beholder")
    poor = dataclasses.replace(good, net=_blank(good), path=None, readings=[])
    poor.save(source.parent / "poor.beholder")
    return source, good, poor, parts


def _blank(bundle: Bundle) -> torch.nn.Module:
    net = copy.deepcopy(bundle.net)
    for parameter in net.parameters():
        parameter.data.zero_()
    return net


def test_the_better_one_is_named_and_the_readings_are_counted(trained: Trained) -> None:
    source, good, poor, parts = trained
    before = len(good.readings)
    found = beholder.compare([poor, good], source)
    assert found.n == len(parts.test)
    pair = found.pairs[0]
    assert (pair.first, pair.second) == ("poor", "good")
    assert pair.found.difference.value > 0.5
    assert pair.p == pytest.approx(1 / 64)  # six against none
    assert pair.verdict.startswith("good is better than poor by 0.")
    assert 0 < pair.others["macro_f1"].low < pair.others["macro_f1"].value
    assert len(good.readings) == before + 1
    assert json.loads(json.dumps(found.json()))["pairs"][0]["first_only"] == 0
    assert "good" in str(found)


def test_equals_are_not_told_apart_and_three_are_corrected(trained: Trained) -> None:
    source, good, poor, _ = trained
    found = beholder.compare([good, good, poor], source)
    assert list(found.scores) == ["good 1", "good 2", "poor"]
    assert found.pairs[0].found.p == 1.0
    assert "not told apart" in found.pairs[0].verdict
    assert found.pairs[1].p == pytest.approx(min(1, 3 * found.pairs[1].found.p))
    assert any("3 pairs" in note for note in found.notes)


def test_pictures_that_one_of_them_learnt_from_are_left_out(trained: Trained) -> None:
    source, good, poor, parts = trained
    digests = [row.tobytes().hex() for row in digested(parts.test).digests]
    splits = [(d, "train" if d in digests[:4] else part) for d, part in good.splits]
    learnt = dataclasses.replace(poor, splits=splits, path=None)
    found = beholder.compare([good, learnt], source)
    assert (found.n, found.left_out) == (len(parts.test) - 4, 4)
    assert "4 pictures are left out" in found.notes[0]
    with pytest.raises(DataError) as none:
        beholder.compare([good, dataclasses.replace(poor, splits=[(d, "train") for d in digests], path=None)], source)
    assert none.value.code == "no-common-pictures"


def test_bundles_that_cannot_be_compared_are_refused(trained: Trained) -> None:
    source, good, poor, _ = trained
    other = dataclasses.replace(poor, config=dataclasses.replace(poor.config, classes=("healthy", "mildew", "scab")))
    with pytest.raises(UsageError, match=r"only .* knows rust.*knows scab"):
        beholder.compare([good, other], source)
    with pytest.raises(UsageError, match="nothing to compare"):
        beholder.compare([good], source)
    with pytest.raises(UsageError, match="tset"):
        beholder.compare([good, poor], source, part="tset")


def test_groups_are_what_intervals_rest_on_and_that_is_said(trained: Trained) -> None:
    _, good, poor, parts = trained
    grouped = dataclasses.replace(parts.test, groups=np.arange(len(parts.test)) // 3)
    found = beholder.compare([good, poor], grouped)
    assert found.notes == (f"Intervals and p rest on {len(parts.test) // 3} groups of pictures, not on single pictures.",)
    assert beholder.compare([good, poor], parts.test).notes == ()


def test_nothing_is_fetched_unasked(trained: Trained) -> None:
    _, good, poor, _ = trained
    for ask in (lambda url: beholder.compare([good, poor], url), lambda url: beholder.evaluate(good, url)):
        with pytest.raises(UsageError) as caught:
            ask("https://example.org/leaves.zip")
        assert caught.value.code == "download-not-allowed"


def test_classes_in_another_order_are_the_same_classes(trained: Trained) -> None:
    source, good, _, _ = trained
    turned = dataclasses.replace(good, config=dataclasses.replace(good.config, classes=good.classes[::-1]), path=None)
    pair = beholder.compare([good, turned], source).pairs[0]
    assert pair.found.difference.value < 0  # the same outputs under other names: only the middle class is right
    assert -1 <= pair.others["macro_f1"].low <= pair.others["macro_f1"].value


def test_the_command_prints_a_table_or_json_and_exits_by_rule(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    source, *_ = trained
    home = source.parent
    models = [str(home / "good.beholder"), str(home / "poor.beholder")]
    assert run(["compare", *models, str(source)]) == 0
    out = capsys.readouterr().out
    assert "only first right" in out
    assert "is better than" in out
    assert run(["compare", *models, str(source), "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"measure", "scores", "pairs", "n", "left_out", "notes"}
    assert run(["compare", models[0], str(source)]) == 2
    assert "hint:" in capsys.readouterr().err
    assert run(["compare", *models, str(home / "nowhere")]) == 2


def test_a_copy_that_was_saved_anew_is_known_from_training(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    folder = tmp_path / "photos"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            coarse = Image.fromarray(rng.integers(0, 255, (6, 6, 3)).astype(np.uint8))
            coarse.resize((48, 48), Image.Resampling.BICUBIC).save(folder / name / f"{number}.png")
    parts = beholder.split(beholder.scan(folder))
    beholder.train(parts, net="logistic", epochs=1, batch=8, out=tmp_path / "m.beholder")
    bundle = beholder.load(tmp_path / "m.beholder")
    known = {*parts.train.keys, *parts.valid.keys}
    assert bundle.hashes.shape == (len(known), 64)
    for file in folder.rglob("*.png"):
        Image.open(file).resize((60, 60)).save(file)
    found = beholder.evaluate(bundle, folder)
    assert {found.keys[row] for row in np.flatnonzero(found.alike)} == known
    assert not found.used.any()
    assert any(f"{len(known)} pictures look the same" in note for note in found.notes)
    section = reuse(bundle, found)
    assert section is not None
    assert (section["alike"], section["only"]["n"], section["without"]["n"]) == (len(known), len(known), 24 - len(known))
    both = beholder.compare([bundle, bundle], folder)
    assert both.n == 24 - len(known)
    kept = (tmp_path / "m.beholder" / "hashes.npy").rename(tmp_path / "m.beholder" / "likeness.npy")
    assert np.array_equal(beholder.load(tmp_path / "m.beholder").hashes, bundle.hashes), "its name in schema 1"
    kept.write_bytes(b"no table")
    assert not len(beholder.load(tmp_path / "m.beholder").hashes)
