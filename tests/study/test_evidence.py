"""Evidence from nets: remembered features, heads in folds, nets in folds, and silence where pictures are few."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

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
