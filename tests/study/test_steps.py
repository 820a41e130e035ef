from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

import beholder
from beholder.base import events
from beholder.base.errors import BeholderError, Interrupted
from beholder.base.recipe import load
from beholder.base.spans import NAMES
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
            steps(leaves, recipe=recipe)
        with pytest.raises(Interrupted, match=r"m\.beholder is trained and kept") as caught:
            steps(leaves, recipe=recipe, out=out)
    assert (caught.value.exit_code, "--resume" in caught.value.hint) == (130, True)
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
    parts = preprocess(leaves, recipe).parts
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


def test_a_profile_sums_to_the_wall_time_and_is_in_the_report_and_the_json(
    leaves: Path, tmp_path: Path, recipe: beholder.Recipe
) -> None:
    heard: list[events.Event] = []
    began = time.monotonic()
    with events.listen(heard.append, alone=True):
        outcome = steps(leaves, recipe=recipe, out=tmp_path / "m.beholder", profile=True, began=began - 2.5)
    wall = time.monotonic() - began + 2.5
    found = json.loads(json.dumps(outcome.json()))["profile"]
    assert sum(found["seconds"].values()) == pytest.approx(found["wall"])
    assert 2.5 < found["seconds"]["start"] < found["wall"] < wall
    assert set(NAMES) - {"stall"} <= set(found["seconds"])
    assert all(seconds > 0 for name, seconds in found["seconds"].items() if name != "other")
    assert found["pictures"] == 4 * 3 * 8
    assert 0 < found["share_of_peak"] < 1
    report = (tmp_path / "m.beholder" / "report.html").read_text()
    assert "Time profile" in report
    assert '<th scope="row">backward</th>' in report
    assert any("where the" in event.message and event.fields.get("profile") == outcome.profile for event in heard)


def test_nothing_is_recorded_unless_asked_for(leaves: Path, tmp_path: Path, recipe: beholder.Recipe) -> None:
    outcome = steps(leaves, recipe=recipe, out=tmp_path / "m.beholder")
    assert outcome.profile is None
    assert "profile" not in outcome.json()
    assert "Time profile" not in (tmp_path / "m.beholder" / "report.html").read_text()


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"net": "fastnt"}, "unknown-net"),
        ({"net": "timm:resnet19"}, "unknown-net"),
        ({"weights": "no/such/weights"}, "missing-weights"),
    ],
)
def test_a_net_that_cannot_be_had_is_said_before_any_picture_is_looked_at(fields: dict[str, str], code: str) -> None:
    with pytest.raises(beholder.UsageError) as error:
        steps("no/such/source", recipe=load("quick").set(**fields))
    assert error.value.code == code


def test_what_is_secret_in_an_address_is_not_told() -> None:
    told: list[str] = []
    with events.listen(lambda event: told.append(str(event.fields) + event.message)), pytest.raises(BeholderError):
        steps("https://me:word@example.org/leaves.zip?signature=abc")
    assert any("https://example.org/leaves.zip" in line for line in told)
    assert not any("word@" in line or "signature" in line for line in told)
