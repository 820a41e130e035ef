"""With little time a run is worth as much as its floor, takes samples, and says so. No test here reads a clock."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import beholder
from beholder.base import events
from beholder.base.deadline import Deadline
from beholder.base.errors import Interrupted
from beholder.base.fields import NetRecipe
from beholder.base.recipe import load
from beholder.base.records import PixelPolicy
from beholder.duplicates.facts import facts, unseen
from beholder.evaluation import evaluate as tested
from beholder.evaluation.evaluate import LEAST, evaluate
from beholder.evaluation.sections import examined
from beholder.evaluation.words import Words
from beholder.learn import begin, dial, finish, material
from beholder.learn.checkpoint import RunFolder
from beholder.learn.dial import dialled
from beholder.learn.floor import on_pixels
from beholder.learn.prepare import prepare
from beholder.learn.probe import Head
from beholder.machine.device import Precision
from beholder.reporting import report as write_report
from beholder.reporting.context import Room
from beholder.reporting.mistakes import Mistake, _heat
from beholder.sources import scan
from beholder.sources.digest import digested
from beholder.study import policy as mend
from beholder.study.steps import steps

LATE = Deadline(10.0, now=lambda: 10.0)
FP32 = Precision("fp32", torch.float32, "asked")


@pytest.fixture
def leaves_of_three(draw: Callable[..., Path], tmp_path: Path) -> Path:
    """Three classes that differ in colour, of 40 pictures."""
    return draw(tmp_path / "leaves", each=40, size=(16, 16))


def test_the_floor_is_a_net_that_says_what_the_regression_says(leaves_of_three: Path) -> None:
    prepared = prepare(beholder.split(scan(leaves_of_three), seed=0), load("quick").set(net="cnn"))
    floor = on_pixels(prepared, prepared.valid, Deadline())
    assert floor.created is not None
    images = torch.from_numpy(prepared.valid.pixels.take(np.arange(len(prepared.valid.pixels)))).float() / 255
    mean, std = (torch.tensor(values).reshape(1, -1, 1, 1) for values in (prepared.normal.mean, prepared.normal.std))
    with torch.inference_mode():
        said = floor.created.net.eval()((images - mean) / std).argmax(1)
    right = (said == prepared.valid.targets.argmax(1)).float().mean()
    assert float(right) == pytest.approx(floor.score)
    assert floor.score > 0.9


def test_a_net_that_has_no_time_to_learn_leaves_its_place_to_its_floor(
    leaves_of_three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(begin, "STEPS", 10**12)
    out = tmp_path / "m.beholder"
    outcome = steps(leaves_of_three, recipe=load("quick").set(minutes=5.0, net="cnn"), out=out)
    floor = outcome.bundle.config.floor
    assert (outcome.bundle.config.net.name, floor.kept, floor.net) == ("logistic", True, None)
    assert outcome.evaluation.scores.headline["accuracy"].value > 0.9
    assert "training was left out" in outcome.clock
    assert outcome.json()["minutes_needed"] > 5
    assert "logistic regression" in outcome.json()["floor"]
    assert list(outcome.card).index("clock") < list(outcome.card).index("advice")
    page = (out / "report.html").read_text("utf-8")
    assert page.index("training was left out") < page.index("test pictures correctly")
    assert beholder.load(out)(np.zeros((16, 16, 3), np.uint8)) is not None


def test_a_floor_that_is_not_beaten_is_said_where_there_was_time(
    leaves_of_three: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    outcome = steps(
        leaves_of_three, recipe=load("quick").set(net="cnn", epochs=1, lr=1e-9, batch=64), out=tmp_path / "m.beholder"
    )
    assert outcome.bundle.config.net.name == "cnn"
    assert not outcome.bundle.config.floor.kept
    assert "no better than a simple baseline" in outcome.floor
    assert outcome.floor in (tmp_path / "m.beholder" / "report.html").read_text("utf-8")
    assert outcome.clock == ""


def test_a_run_that_had_its_time_says_nothing_of_the_clock(leaves_of_three: Path) -> None:
    outcome = steps(leaves_of_three, recipe=load("quick").set(minutes=5.0, net="cnn", epochs=3, batch=16))
    assert (outcome.clock, "clock" in outcome.json()) == ("", False)
    assert outcome.bundle.config.net.name == "cnn"


def test_what_there_is_no_time_to_decode_is_sampled_and_a_resumed_run_takes_the_same(
    leaves_of_three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(material, "READING", 0.0)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    parts = beholder.split(scan(leaves_of_three), seed=0)
    fields = {"net": "cnn", "minutes": 5.0, "epochs": 40, "batch": 8}
    out = tmp_path / "m.beholder"
    told: list[str] = []

    def stop(event: events.Event) -> None:
        told.append(event.message)
        if event.message.startswith("epoch 2"):
            raise KeyboardInterrupt

    with events.listen(stop, alone=True), pytest.raises((KeyboardInterrupt, Interrupted)):
        beholder.train(parts, out=out, **fields)
    assert any("a stratified sample" in words for words in told)
    sample = RunFolder.beside(out).kept("sample")
    assert sample is not None
    assert material.LEAST <= len(sample["train"]) < len(parts.train)
    monkeypatch.setattr(material, "READING", 1.0)  # it has time now, and does not take it
    bundle = beholder.train(parts, out=out, resume=True, **fields)
    assert bundle.history[-1]["epoch"] > 2
    assert not any("belongs to another run" in words for words in told)


def test_a_test_without_time_scores_a_stratified_sample(
    leaves_of_three: Path, draw: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tested, "GRACE", 0.0)
    bundle = beholder.train(beholder.split(scan(leaves_of_three), seed=0), net="logistic", epochs=4, batch=16)
    others = digested(scan(draw(tmp_path / "others", each=60, size=(16, 16))))
    found = evaluate(bundle, others, until=LATE)
    assert LEAST <= len(found.targets) < 180
    assert np.ptp(np.bincount(found.targets)) <= 2
    assert any("a stratified sample" in note for note in found.notes)
    assert found.whole == 180
    write_report(bundle, found, tmp_path / "report.html")
    assert f"There was time to test {len(found.targets)} of 180" in (tmp_path / "report.html").read_text("utf-8")
    monkeypatch.setattr(tested, "GRACE", 60.0)
    assert len(evaluate(bundle, others, until=LATE).targets) == 180, "a quick net is not told by a sample"
    whole = evaluate(bundle, others)
    rows = [whole.keys.index(key) for key in found.keys]
    np.testing.assert_allclose(found.logits, whole.logits[rows], rtol=1e-4, atol=1e-4)
    assert found.keys == [whole.keys[row] for row in sorted(rows)]
    heard: list[str] = []
    with events.listen(lambda event: heard.append(event.message), alone=True):
        after = examined(bundle, found, ["calibration", "slices"], until=LATE)
    assert set(after.sections) == {"calibration"}
    assert any("no time was left" in words for words in heard)
    wrong = [Mistake(row, found.keys[row], "rust", "mildew", 0.9, 1) for row in range(6)]
    assert len(_heat(Room(bundle, found, None, Words("en")), wrong)) == 6
    assert _heat(Room(bundle, found, None, Words("en"), LATE), wrong) == {}


def test_what_there_is_no_time_to_look_at_is_known_by_its_bytes(
    leaves_of_three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    pictures = digested(scan(leaves_of_three))
    rows = facts(pictures, until=LATE)
    assert 0 < unseen(rows).sum() < len(pictures)
    assert len(np.unique(rows["pixels"], axis=0)) == len(pictures)
    assert not unseen(facts(pictures)).any(), "what was not looked at is not remembered as if it had been"
    monkeypatch.setenv("HOME", str(tmp_path / "other"))
    monkeypatch.setattr(mend, "LOOKING", 0.0)
    found = mend.curated(pictures, load("quick").set(weights="none"), until=Deadline.of(0.0, 1e9))
    assert sum(len(part) for _, part in found.parts.items()) == len(pictures)
    assert found.findings is not None
    assert max(found.findings.looked.values()) < len(pictures)


def test_a_resumed_run_keeps_the_parts_that_it_had_although_more_is_known_now(
    leaves_of_three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    recipe = load("quick").set(net="cnn", minutes=5.0, epochs=30, batch=16)
    out = tmp_path / "m.beholder"
    real = mend.split

    def otherwise(pictures: beholder.Pictures, *, seed: int, **more: Any) -> beholder.Parts:
        return real(pictures, seed=seed + 1, **more)  # as if others looked alike

    def stop(event: events.Event) -> None:
        if event.message.startswith("epoch 2"):
            raise KeyboardInterrupt

    with events.listen(stop, alone=True), pytest.raises((KeyboardInterrupt, Interrupted)):
        steps(leaves_of_three, recipe=recipe, out=out)
    sample = RunFolder.beside(out).kept("sample")
    assert sample is not None
    whole = digested(scan(leaves_of_three))
    gone = whole.keys[whole.hexdigests.index(sample["train"][0].tobytes().hex())]
    monkeypatch.setattr(mend, "split", otherwise)
    monkeypatch.setattr(mend, "certain", lambda *_: {gone: "drop"})  # as if it were seen to contradict another only now
    outcome = steps(leaves_of_three, recipe=recipe, out=out, resume=True)
    known = dict(outcome.bundle.splits)
    assert len(known) == len(whole)
    assert outcome.bundle.config.audit is not None
    assert outcome.bundle.config.audit.dropped == 0
    assert all(known[row.tobytes().hex()] == part for part, digests in sample.items() for row in digests)
    assert outcome.bundle.history[-1]["epoch"] > 2
    again = steps(leaves_of_three, recipe=recipe, out=out, resume=True)
    assert again.bundle.history == outcome.bundle.history, "it is trained already"
    assert dict(again.bundle.splits) == known


@pytest.mark.parametrize(("rate", "n", "width"), [(10_000, 10_000, 0.5), (200, 10_000, 0.25), (20, 10_000, 0.125)])
def test_a_net_that_is_too_slow_here_is_made_narrower(
    monkeypatch: pytest.MonkeyPatch, rate: float, n: int, width: float
) -> None:
    monkeypatch.setattr(dial, "threads", lambda *_: 1)
    monkeypatch.setattr(dial, "seconds_each", lambda *_: 1 / rate)
    given = {"n": n, "classes": 3, "seconds": 60.0, "on": torch.device("cpu"), "precision": FP32}
    found = dialled(NetRecipe(name="fastnet", width=0.5), PixelPolicy(16, 16, 3), asked=0.0, **given)
    assert found.width == width
    assert found.batch == 2 ** int(np.log2(max(32, found.rate * 60 / dial.STEPS)))
    asked = dialled(NetRecipe(name="fastnet", width=0.75), PixelPolicy(16, 16, 3), asked=0.75, **given)
    assert asked.width == 0.75


def test_many_pictures_and_the_time_for_them_get_a_wider_net(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial, "threads", lambda *_: 1)
    monkeypatch.setattr(dial, "seconds_each", lambda *_: 1 / 4000)
    given = {"classes": 3, "asked": 0.0, "on": torch.device("cpu"), "precision": FP32}
    net, policy = NetRecipe(name="fastnet", width=0.5), PixelPolicy(16, 16, 3)
    assert dialled(net, policy, n=50_000, seconds=600.0, **given).width == 0.75
    assert dialled(net, policy, n=50_000, seconds=60.0, **given).width == 0.5
    assert dialled(net, policy, n=5_000, seconds=600.0, **given).width == 0.5


def test_the_json_of_a_bundle_holds_what_the_clock_did(
    leaves_of_three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(begin, "STEPS", 10**12)
    out = tmp_path / "m.beholder"
    beholder.train(beholder.split(scan(leaves_of_three), seed=0), out=out, minutes=5.0, net="cnn")
    config = json.loads((out / "config.json").read_text("utf-8"))
    assert config["clock"]
    assert config["minutes_needed"] > 5
    assert config["plan"]["net"] == "logistic"


def test_what_the_audit_had_no_time_for_stands_in_the_report(
    leaves_of_three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mend, "COSTS", 1e9)
    monkeypatch.setattr(mend, "ASKING", 1e9)
    steps(leaves_of_three, recipe=load("quick").set(minutes=5.0, net="cnn", epochs=1), out=tmp_path / "m.beholder")
    page = (tmp_path / "m.beholder" / "report.html").read_text("utf-8")
    assert "There was no time to look for shortcuts." in page
    assert "There was no time for a net to judge labels and outliers." in page


def test_without_time_for_fine_tuning_nothing_of_it_is_measured(leaves_of_three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("it takes seconds that there are not")

    monkeypatch.setattr(begin, "slowness", lambda: 1e9)
    monkeypatch.setattr(begin, "budget_of", never)
    monkeypatch.setattr(begin, "seconds_each", never)
    bundle = beholder.train(
        beholder.split(scan(leaves_of_three), seed=0), net="timm:tf_efficientnet_lite0", size=32, minutes=5.0
    )
    assert "fine-tuning was left out" in bundle.config.clock
    assert not any("augmentation" in note for note in bundle.config.notes), "of training that there is none of nothing is said"
    assert bundle.config.floor.net == bundle.config.floor.score


def test_where_only_the_head_had_time_its_outputs_on_validation_are_not_computed_again(
    leaves_of_three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(begin, "FEWEST", 10**12)
    read: list[str] = []
    monkeypatch.setattr(finish, "outputs", lambda *_, label, **__: read.append(label))
    recipe = load("quick").set(minutes=5.0, net="timm:tf_efficientnet_lite0", flip="none", **{"data.size": 32})
    outcome = steps(leaves_of_three, recipe=recipe, out=tmp_path / "m.beholder")
    assert "fine-tuning was left out" in outcome.clock
    assert read == []
    assert outcome.bundle.config.calibration.n == outcome.bundle.config.parts["valid"]
    assert outcome.evaluation.scores.headline["accuracy"].value > 0.8


@pytest.mark.parametrize("remembered", [True, False], ids=["in one go", "resumed"])
def test_a_head_that_is_kept_is_calibrated_by_heads_that_have_not_seen_the_pictures(
    remembered: bool, leaves_of_three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads: list[Head] = []
    found = begin.headed

    def headed(*given: Any) -> Head | None:
        head = found(*given)
        assert head is not None
        heads.append(head if remembered else replace(head, features=None))
        return heads[-1]

    fitted: list[Any] = []
    fit = finish.calibrate.fit
    monkeypatch.setattr(begin, "headed", headed)
    monkeypatch.setattr(finish.calibrate, "fit", lambda *given, **named: (fitted.append(given[1]), fit(*given, **named)))
    parts = beholder.split(scan(leaves_of_three), seed=0)
    bundle = beholder.train(parts, net="timm:tf_efficientnet_lite0", size=32, epochs=2)
    assert bundle.config.valid_score == bundle.config.floor.score, "training brought nothing better"
    assert not bundle.config.mirror
    assert np.array_equal(fitted[-1], heads[-1].logits.numpy())
