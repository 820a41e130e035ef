from __future__ import annotations

import json
from pathlib import Path

import pytest

import beholder
from beholder.base import events
from beholder.base.recipe import load
from beholder.study.steps import preprocess, steps


@pytest.fixture
def recipe() -> beholder.Recipe:
    return load("quick").set(net="cnn", epochs=4, batch=8)


def test_the_six_steps_come_in_order_and_leave_a_tested_bundle(leaves: Path, tmp_path: Path, recipe: beholder.Recipe) -> None:
    heard: list[events.Event] = []
    with events.listen(heard.append, alone=True):
        outcome = steps(leaves, recipe=recipe, out=tmp_path / "m.beholder")
    assert [event.fields["number"] for event in heard if event.kind == "step"] == [1, 2, 3, 4, 5, 6]
    saved = beholder.load(tmp_path / "m.beholder")
    result = json.loads(json.dumps(outcome.json()))
    assert result["scores"] == saved.scores["scores"]
    assert result["parts"] == {"train": 24, "valid": 6, "test": 6}
    assert result["net"] == "cnn"
    assert set(result["scores"]["accuracy"]) == {"value", "low", "high", "n"}
    assert len(saved.readings) == 1
    assert (tmp_path / "m.beholder" / "report.html").stat().st_size > 1000
    assert str(tmp_path / "m.beholder") in str(outcome)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["leaves", "m.beholder"]


def test_an_interruption_after_training_leaves_only_the_test_to_do(
    leaves: Path, tmp_path: Path, recipe: beholder.Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "m.beholder"

    def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("beholder.study.steps.evaluate", cut)
        with pytest.raises(KeyboardInterrupt):
            steps(leaves, recipe=recipe, out=out)
    assert beholder.load(out).scores == {}
    with monkeypatch.context() as patch:
        patch.setattr("beholder.study.steps.train", cut)
        outcome = steps(leaves, recipe=recipe, out=out, resume=True)
    assert beholder.load(out).scores == outcome.evaluation.json()


def test_the_users_folder_is_not_touched(leaves: Path, tmp_path: Path, recipe: beholder.Recipe) -> None:
    before = {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in leaves.rglob("*") if file.is_file()}
    steps(leaves, recipe=recipe, out=tmp_path / "m.beholder")
    assert {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in leaves.rglob("*") if file.is_file()} == before


def test_a_second_run_decodes_nothing(leaves: Path, recipe: beholder.Recipe) -> None:
    steps(leaves, recipe=recipe)
    heard: list[events.Event] = []
    with events.listen(heard.append, alone=True):
        steps(leaves, recipe=recipe)
    assert not [event for event in heard if event.kind == "progress" and event.message.startswith("decode")]


def test_parts_of_a_split_share_no_picture(leaves: Path, recipe: beholder.Recipe) -> None:
    parts = preprocess(leaves, recipe)
    keys = [set(part.keys) for _, part in parts.items()]
    assert not keys[0] & keys[1] | keys[0] & keys[2] | keys[1] & keys[2]
    assert len(set.union(*keys)) == 36


def test_arrays_in_memory_go_the_same_way(recipe: beholder.Recipe) -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    x = (rng.integers(0, 100, (60, 10, 10)) + y[:, None, None] * 150).astype(np.uint8)
    outcome = steps((x, y), recipe=recipe)
    assert outcome.path is None
    assert outcome.evaluation.scores.headline["accuracy"].value == 1.0
