"""Evidence from nets: remembered features, heads in folds, nets in folds, and silence where pictures are few."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beholder.base import events
from beholder.base.recipe import load
from beholder.data.checks import Evidence
from beholder.data.digest import digested
from beholder.data.facts import facts
from beholder.data.sources import scan
from beholder.study import evidence
from beholder.study.examine import audit

NEEDS = ("label", "outlier")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def gathered(source: Path) -> Evidence:
    pictures = digested(scan(source))
    bare = Evidence(pictures, facts(pictures))
    return evidence.gathered(bare, load("quick"), needed={"features", "probabilities"}, minutes=0)


def test_no_net_is_asked_where_no_check_needs_one(leaves: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beholder.study.evidence.gathered", None)
    assert audit(leaves, checks=["dark", "few"]).looked == {"dark": 36, "few": 36}


def test_few_pictures_train_no_net(leaves: Path) -> None:
    assert gathered(leaves).probabilities is None


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
    monkeypatch.setattr(evidence, "at_hand", lambda net: evidence.Backbone(net, "none"))
    monkeypatch.setattr(evidence, "_features", lambda pictures, *_: np.ones((len(pictures), 4), np.float32))
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
    assert np.mean(hits) > 0.6
    assert sum(hits) > 0.4 * len(bad)
    true = dict(zip(some.keys, some.targets.tolist(), strict=True))
    relabelled = [some.classes[true[key]] == name for key, name in found.only(["label"]).relabel.items()]
    assert np.mean(relabelled) > 0.75
    assert any(event.message.startswith("features of the pretrained net") for event in said)
    said.clear()
    with events.listen(said.append, alone=True):
        again = audit(replace(some, targets=targets), checks=NEEDS, weights=weights)
    assert any("remembered" in event.message for event in said)
    assert again.csv() == found.csv()


def test_an_audit_without_nets_loads_no_torch(leaves: Path) -> None:
    program = (
        f"import beholder, sys; beholder.audit({str(leaves)!r}, checks=['near', 'dark']); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
