"""Evidence from nets: remembered features, heads in folds, nets in folds, and silence where pictures are few."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beholder.base import events
from beholder.base.recipe import load
from beholder.duplicates.facts import facts
from beholder.quality.checks import Evidence
from beholder.sources import scan
from beholder.sources.digest import digested
from beholder.study import evidence
from beholder.study.examine import audit

NEEDS = ("label", "outlier")


pytestmark = pytest.mark.usefixtures("one_thread")


def gathered(source: Path, *, weights: str = "none", from_scratch: bool = True) -> Evidence:
    pictures = digested(scan(source))
    bare = Evidence(pictures, facts(pictures))
    needed = {"features", "probabilities"}
    return evidence.gathered(bare, load("quick").set(weights=weights), needed=needed, minutes=0, from_scratch=from_scratch)


def test_no_net_is_asked_where_no_check_needs_one(leaves: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beholder.study.evidence.gathered", None)
    assert audit(leaves, checks=["dark", "few"]).looked == {"dark": 36, "few": 36}


@pytest.mark.parametrize("weights", ["none", "auto"])
def test_of_few_small_pictures_no_net_is_asked(leaves: Path, weights: str) -> None:
    assert gathered(leaves, weights=weights).probabilities is None


def test_a_look_is_timed_until_the_device_has_done_its_work(leaves: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU has only been told when the net returns: what it was told takes two seconds here, and nothing is really done."""
    now = [0.0]
    monkeypatch.setattr(evidence, "settled", lambda _: now.__setitem__(0, now[0] + 2.0))
    monkeypatch.setattr(evidence.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(evidence, "ENLARGED", 32)
    pictures, recipe = digested(scan(leaves)), load("quick")
    looked = evidence.survey(pictures)
    backbone = evidence.at_hand(recipe.net, looked, small=True)
    assert backbone is not None
    assert evidence.seconds_of(pictures, backbone, recipe, looked) >= 2.0 / evidence.TIMED * len(pictures)


def test_small_pictures_are_enlarged_for_the_backbone_on_board(leaves: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "MANY", 30)
    monkeypatch.setattr(evidence, "ENLARGED", 32)  # for speed
    assert gathered(leaves, weights="auto", from_scratch=False).features is None
    found = gathered(leaves, weights="auto")
    assert found.features is not None
    assert found.features.shape == (36, 1280)
    assert found.probabilities is not None
    assert (found.probabilities.argmax(axis=1) == found.pictures.targets).mean() > 0.9


def test_audit_says_what_it_could_not_check(leaves: Path) -> None:
    [note] = audit(leaves).notes
    assert "label, outlier" in note


@pytest.mark.slow
def test_nets_in_folds_judge_every_picture_and_are_remembered(leaves: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "MANY", 30)
    (leaves / "rust" / "99.png").write_bytes(b"no picture")
    found = gathered(leaves)
    assert found.probabilities is not None
    assert found.features is not None
    assert np.isnan(found.probabilities[-1]).all()
    assert np.isfinite(found.probabilities[:-1]).all()
    assert np.allclose(found.probabilities[:-1].sum(axis=1), 1, atol=0.01)
    monkeypatch.setattr(evidence, "nets", None)
    again = gathered(leaves)
    assert again.probabilities is not None
    assert np.allclose(again.probabilities[:-1], found.probabilities[:-1], atol=0.01)


class Folded:
    """Stands for `nets`: judges fold after fold, all of class 0, and is ended after `most` of them."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.judged: list[int] = []

    def __call__(self, pictures: Any, fold: Any, recipe: Any, *, minutes: float, known: Any, done: Any) -> None:
        for name in np.unique(fold).tolist():
            rows = np.flatnonzero(fold == name)
            if np.isfinite(known[rows]).all():
                continue
            if len(self.judged) == self.most:
                raise KeyboardInterrupt
            said = np.eye(len(pictures.classes), dtype=np.float32)[np.zeros(len(rows), np.int64)]
            done(rows, said, None if name else np.ones((len(pictures), 4), np.float32))
            self.judged.append(name)


def test_nets_in_folds_go_on_where_they_were_ended(leaves: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "MANY", 30)
    monkeypatch.setenv("HOME", str(leaves.parent))
    first, second = Folded(2), Folded(9)
    monkeypatch.setattr(evidence, "nets", first)
    with pytest.raises(KeyboardInterrupt):
        gathered(leaves)
    monkeypatch.setattr(evidence, "nets", second)
    found = gathered(leaves)
    assert (first.judged, second.judged) == ([0, 1], [2])
    assert found.probabilities is not None
    assert found.features is not None
    assert (found.probabilities.argmax(axis=1) == 0).all()
    assert found.features.shape == (36, 4)


def test_small_pictures_are_judged_by_heads_and_nets_together(leaves: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = digested(scan(leaves))
    targets = np.eye(len(pictures.classes), dtype=np.float32)[pictures.targets]
    heads = (0.1 + 0.7 * targets).astype(np.float32)
    monkeypatch.setattr(evidence, "at_hand", lambda net, looked, small: evidence.Backbone(net, "none"))
    monkeypatch.setattr(evidence, "features_of", lambda pictures, *_, **__: np.ones((len(pictures), 4), np.float32))
    monkeypatch.setattr(evidence, "_headed", lambda *_: heads / heads.sum(axis=1, keepdims=True))
    monkeypatch.setattr(evidence, "nets", Folded(9))
    monkeypatch.setattr(evidence, "BOTH", 37)
    alone = gathered(leaves).probabilities
    assert alone is not None
    assert np.allclose(alone, heads / heads.sum(axis=1, keepdims=True))
    monkeypatch.setattr(evidence, "BOTH", 36)
    together = gathered(leaves).probabilities
    assert together is not None
    assert not np.allclose(together, alone)
    assert np.allclose(together.sum(axis=1), 1, atol=1e-5)


@pytest.mark.shared
@pytest.mark.slow
def test_planted_flips_in_trashnet_are_found(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = digested(scan(shared / "data" / "trashnet.zip"))
    rows = np.arange(0, len(pictures), 4)
    some = pictures.take(rows)
    flipped = np.random.default_rng(0).permutation(len(some))[: len(some) // 10]
    targets = some.targets.copy()
    targets[flipped] = (targets[flipped] + 1) % len(some.classes)
    weights = str(shared / "weights" / "mobilenetv2_100")
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        found = audit(replace(some, targets=targets), checks=NEEDS, weights=weights)
    rows_found = found.only(["label"]).rows
    bad = {some.keys[i] for i in flipped}
    hits = [row.picture in bad for row in rows_found]
    assert np.mean(hits) > 0.45, "these are for a person to look at: a tenth would be right by chance"
    assert np.mean(hits[:40]) > 0.55, (
        "of the surest more; the shares move by a tenth with the rounding of an engine (docs/LOG.md)"
    )
    assert sum(hits) > 0.4 * len(bad)
    true = dict(zip(some.keys, some.targets.tolist(), strict=True))
    aloud = [(row.picture, row.suggestion) for row in rows_found if row.suggestion != "review"]
    right = [key in bad and what in ("drop", f"relabel:{some.classes[true[key]]}") for key, what in aloud]
    assert sum(right) >= 0.75 * len(right)
    assert found.kept.targets.tolist() == targets.tolist(), "nobody decided"
    assert any(event.message.startswith("features of the frozen net") for event in said)
    said.clear()
    with events.listen(said.append, alone=True):
        again = audit(replace(some, targets=targets), checks=NEEDS, weights=weights)
    assert any("remembered" in event.message for event in said)
    assert again.csv() == found.csv()


def test_an_audit_without_nets_loads_no_torch(leaves: Path) -> None:
    program = (
        f"import beholder, sys; beholder.audit({str(leaves)!r}, checks=['near-duplicate', 'dark']); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
