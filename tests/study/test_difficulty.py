from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.conftest import Draw

from beholder.base.deadline import Deadline
from beholder.base.errors import DataError
from beholder.base.recipe import Recipe, load
from beholder.base.records import Parts, Pictures
from beholder.measure.curves import auroc
from beholder.study import difficulty
from beholder.study.difficulty import Looks, hardness, looked
from beholder.study.steps import preprocess

NEVER = Deadline()


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory, draw: Draw) -> Parts:
    source = draw(tmp_path_factory.mktemp("difficulty") / "leaves", each=40)
    return preprocess(source, asked()).parts


def asked(**fields: object) -> Recipe:
    return load("quick").set(audit="off", seed=1, **fields)


def mislabelled(pictures: Pictures, every: int = 9) -> tuple[Pictures, np.ndarray]:
    """Return the pictures with one label in so many changed, and which."""
    wrong = np.arange(len(pictures)) % every == 0
    targets = pictures.targets.copy()
    targets[wrong] = (targets[wrong] + 1) % 3
    return replace(pictures, targets=targets), wrong


def test_what_is_labelled_wrong_is_hard(parts: Parts) -> None:
    pictures, wrong = mislabelled(parts.train)
    found = looked(Parts(pictures, parts.valid, parts.test), asked(), NEVER, judged=True, twins=None)
    assert found.rows.tolist() == list(range(len(pictures)))
    assert found.scores is not None
    assert found.scores[wrong].min() > found.scores[~wrong].mean()
    assert auroc(found.scores, wrong)[0] > 0.95
    assert "heads in 5 folds on features of" in found.way
    assert np.allclose(np.linalg.norm(found.directions, axis=1), 1, atol=1e-4)


def test_without_a_pretrained_net_early_epochs_say_it(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(difficulty, "LONGEST", 4)
    pictures, wrong = mislabelled(parts.train)
    how = asked(weights="none", precision="fp32")
    found = looked(Parts(pictures, parts.valid, parts.test), how, NEVER, judged=True, twins=None)
    assert found.scores is not None
    assert auroc(found.scores, wrong)[0] > 0.8
    assert found.way == "2 × 4 early epochs of a small net (fastnet)"
    assert len(found.features) == len(pictures)
    again = looked(Parts(pictures, parts.valid, parts.test), how, NEVER, judged=True, twins=None)
    assert np.array_equal(found.scores, again.scores)


def test_features_come_in_chunks(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = looked(parts, asked(), NEVER, judged=False, twins=None)
    monkeypatch.setattr(difficulty, "CHUNK", 30)
    found = looked(parts, asked(), NEVER, judged=False, twins=None)
    assert found.features.shape[0] == whole.features.shape[0] == len(parts.train)
    assert found.scores is None
    assert np.isfinite(found.features).all()


def test_heads_do_not_judge_what_they_learnt_from() -> None:
    """Features of chance fit any labels: in sample the error would be near 0, out of fold it is that of a guess."""
    rng = np.random.default_rng(0)
    n = 60
    none = np.full(n, -1, np.int64)
    digests = rng.integers(0, 256, (n, 32), dtype=np.uint8)
    pictures = Pictures(None, list(map(str, range(n))), np.arange(n) % 2, ("a", "b"), none.astype(np.int8), none, digests)  # type: ignore[arg-type]
    scores = hardness(rng.normal(size=(n, 200)).astype(np.float32), pictures, None, 0)
    assert scores.mean() > 0.5


def test_too_few_pictures_are_refused(parts: Parts) -> None:
    few = Parts(parts.train.take(np.arange(19)), parts.valid, parts.test)
    with pytest.raises(DataError) as refused:
        looked(few, asked(), NEVER, judged=True, twins=None)
    assert refused.value.code == "too-few-pictures"
    assert "--by random" in refused.value.hint


def test_looks_of_zeros_have_no_direction() -> None:
    assert not Looks(np.arange(2), np.zeros((2, 3), np.float32), None, "").directions.any()
