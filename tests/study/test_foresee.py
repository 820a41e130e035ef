"""A dry run says what a run would do, and leaves no trace: neither beside the source, nor at --out, nor in the cache."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import beholder
from beholder.cli.run import run
from beholder.data.survey import survey
from beholder.nets import hub
from beholder.study import costs, foresee
from beholder.study.costs import Run, looking, uncounted
from beholder.study.dryrun import FACTOR, DryRun, Step, size, told


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes, and every folder."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


@pytest.fixture
def dry(
    leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., dict[str, Any]]:
    """Run a command with --dry-run --json and return what it printed; the tree of files must be the same afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BEHOLDER_CACHE", str(tmp_path / "cache"))

    def work(verb: str, *arguments: str) -> dict[str, Any]:
        before = tree(tmp_path)
        assert run([verb, "leaves", "--dry-run", "--json", *arguments]) == 0
        assert tree(tmp_path) == before, "a dry run wrote something"
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return work


def test_train_without_a_budget(dry: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    found = dry("train", "--net", "cnn", "--epochs", "3", "--out", "m.beholder")
    assert found["dry_run"] is True
    assert found["parts"] == {"train": 26, "valid": 5, "test": 5}
    assert found["net"].startswith("cnn, ")
    assert "24 × 20" in found["pixels"] or "20" in found["pixels"]
    steps = {step["step"]: step for step in found["steps"]}
    assert list(steps) == ["scan", "audit", "decode", "train", "test", "report"]
    assert steps["train"]["what"].startswith("3 epochs")
    assert all(step["seconds"] > 0 and step["low"] < step["seconds"] < step["high"] for step in steps.values())
    assert math.isclose(found["seconds"]["value"], sum(step["seconds"] for step in steps.values()))
    assert found["seconds"]["high"] == FACTOR * found["seconds"]["value"]
    assert found["disk"]["pixels in the cache"] % 36 == 0
    assert any(path.startswith("m.beholder (") for path in found["writes"])
    assert any(str(tmp_path / "cache") in path for path in found["writes"])
    assert found["memory"] is None or 50_000_000 < found["memory"] < 50_000_000_000


def test_forty_times_the_epochs_take_forty_times_the_time(
    dry: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foresee, "seconds_each", lambda *_, **__: 0.01)
    monkeypatch.setattr(foresee, "looking", lambda *_, **__: 0.01)
    monkeypatch.setattr(foresee, "computing", lambda *_: (time.thread_time, 1.0))
    few, many = (_training(dry("train", "--net", "cnn", "--epochs", str(n))) for n in (1000, 40_000))
    assert few > 100
    assert math.isclose(many / few, 40)


def _training(found: dict[str, Any]) -> float:
    return next(step["seconds"] for step in found["steps"] if step["step"] == "train")


def test_a_budget_is_kept_and_its_rungs_are_named(dry: Callable[..., dict[str, Any]]) -> None:
    found = dry("train", "--minutes", "0.5")
    assert found["minutes"] == 0.5
    assert found["seconds"]["value"] <= found["seconds"]["high"] <= 30
    rungs = [step for step in found["steps"] if step["step"] == "candidate"]
    assert len(rungs) == 1, "small pictures are not enlarged any more"
    assert "a linear head on timm:" in rungs[0]["what"]


@pytest.mark.parametrize(
    ("each", "said"),
    [
        (4.0, ["192", "256", "320", "384"]),
        (10.0, ["192", "256", "320: left out"]),  # 28 s of the 32 that are left
        (0.01, ["192", "256"]),  # there is time for fine-tuning
    ],
)
def test_larger_pictures_are_foreseen_as_they_are_tried(
    each: float, said: list[str], leaves: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seconds(few: beholder.Pictures, _: Any, recipe: beholder.Recipe, __: Any) -> float:
        return each * len(few) / 31 * (recipe.data.size or 192) ** 2 / 192**2

    monkeypatch.setattr(foresee, "seconds_of", seconds)
    pictures, recipe = beholder.scan(leaves), beholder.Recipe().set(minutes=1.0)
    looked = replace(survey(pictures), width=512, height=384, short=384)
    steps = foresee._rungs(Run("train", recipe, None, 1.0), recipe, pictures, looked, {"train": 26, "valid": 5}, [])
    words = [step.what.partition(", ")[2] for step in steps]
    assert [f"{each.split()[0]}{': left out' if 'left out' in each else ''}" for each in words] == said


def test_time_that_the_plan_does_not_need_is_for_other_seeds(
    dry: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("seconds_each", "looking"):
        monkeypatch.setattr(foresee, name, lambda *_, **__: 1e-4)
    monkeypatch.setattr(foresee, "computing", lambda *_: (time.thread_time, 1.0))

    def trained(*more: str) -> tuple[str, float]:
        step = next(step for step in dry("train", "--net", "cnn", *more)["steps"] if step["step"] == "train")
        return step["what"], step["seconds"]

    what, seconds = trained("--minutes", "30")
    assert what.endswith("and again with another seed")
    _, once = trained("--minutes", "30", "--epochs", "450")
    assert math.isclose(seconds, 2 * once, rel_tol=0.01)
    assert "another seed" not in trained("--minutes", "30", "--epochs", "450")[0]
    assert "another seed" not in trained()[0]


@pytest.mark.parametrize(
    ("left", "heads", "fields", "said"),
    [(700.0, 2, {}, True), (500.0, 2, {}, False), (700.0, 1, {}, False), (700.0, 2, {"epochs": 9}, False)],
)
def test_dearer_candidates_are_foreseen_where_there_is_time_for_them(
    left: float, heads: int, fields: dict[str, Any], said: bool, tmp_path: Path
) -> None:
    run = Run("train", beholder.Recipe().set(minutes=20.0, **fields), tmp_path / "m.beholder", 20.0)
    steps = [Step("candidate", "a head", 9, 1.0)] * heads + [Step("candidate", "a head: left out", 9, 0.0)]
    assert ("about as good by its head" in foresee._beside(run, steps, left)) == said


def test_tune_and_its_study(dry: Callable[..., dict[str, Any]]) -> None:
    found = dry("tune", "--minutes", "1", "--net", "cnn", "--workers", "2", "--out", "t.beholder")
    assert found["verb"] == "tune"
    assert [step["step"] for step in found["steps"]].count("search") == 1
    assert any("t.tune.jsonl" in path for path in found["writes"])
    assert any("2 trials at a time" in note for note in found["notes"])


@pytest.mark.slow
def test_generate(dry: Callable[..., dict[str, Any]]) -> None:
    found = dry("generate", "--epochs", "2")
    assert found["net"].startswith("vae, ")
    assert _training(found) > 0


def test_detect(tmp_path: Path, draw: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    draw(tmp_path / "things", each=4, size=(64, 64))
    rows = [f"{path.relative_to(tmp_path / 'things')},{path.parent.name},4,4,40,40" for path in tmp_path.rglob("*.png")]
    (tmp_path / "things" / "boxes.csv").write_text("file,label,xmin,ymin,xmax,ymax\n" + "\n".join(rows))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BEHOLDER_CACHE", str(tmp_path / "cache"))
    before = tree(tmp_path)
    assert run(["train", "things/boxes.csv", "--dry-run", "--epochs", "2", "--size", "64", "--out", "d.beholder"]) == 0
    assert tree(tmp_path) == before
    said = capsys.readouterr().out
    assert said.startswith("detect things/boxes.csv: train 8, valid 2, test 2\nnet: a detector on timm:")
    assert "nothing was written; a run would write:\n  d.beholder (config.json" in said


def test_python_gives_the_same_as_a_value(leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEHOLDER_CACHE", str(tmp_path / "cache"))
    parts = beholder.split(beholder.scan(leaves), near=False)
    before = tree(tmp_path)
    found = beholder.train(parts, net="cnn", epochs=2, dry_run=True)
    whole = beholder.steps(leaves, net="cnn", epochs=2, dry_run=True)
    assert tree(tmp_path) == before
    assert isinstance(found, DryRun)
    assert isinstance(whole, DryRun)
    assert found.parts == {name: len(part) for name, part in parts.items()}
    assert found.net == whole.net
    assert found.disk == whole.disk
    assert "about" in str(found)
    assert json.loads(json.dumps(found.json()))["net"] == found.net


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that may be asked, by a person who did not say to stay offline, and must not be."""

    def asked(*_: object, **__: object) -> Path:
        raise AssertionError("a dry run asked the hub")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "fetch", asked)
    monkeypatch.setattr(hub, "reachable", asked)


@pytest.mark.parametrize("verb", [("train",), ("tune", "--minutes", "1")])
@pytest.mark.usefixtures("unreachable")
def test_weights_that_are_not_here_are_not_fetched(dry: Callable[..., dict[str, Any]], verb: tuple[str, ...]) -> None:
    found = dry(*verb, "--net", "timm:resnet10t", "--set", "data.size=64", "--log", "run.jsonl", "--log", "tensorboard:events")
    assert found["net"].endswith("parameters, pretrained")
    assert "features" in {step["step"] for step in found["steps"]}
    notes = [note for note in found["notes"] if "timm:resnet10t are not on this machine" in note]
    assert [note.rpartition("about ")[2] for note in notes] == ["20 MB"]


@pytest.mark.usefixtures("unreachable")
def test_python_fetches_no_weights_either(leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEHOLDER_CACHE", str(tmp_path / "cache"))
    parts = beholder.split(beholder.scan(leaves), near=False)
    found = beholder.train(parts, net="timm:resnet10t", size=64, dry_run=True, launch="local:3")
    assert isinstance(found, DryRun)
    said = "\n".join(found.notes)
    assert "timm:resnet10t are not on this machine" in said
    assert "these times are of one process; 3 would train" in said


def test_offline_weights_that_are_not_here_are_the_error_that_they_are_in_a_run(
    leaves: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert run(["train", str(leaves), "--net", "timm:resnet10t", "--dry-run"]) == 1
    assert "HF_HUB_OFFLINE is set" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--unlabelled", "--synthetic"])
def test_pictures_that_would_join_are_listed(
    option: str, leaves: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "g.beholder").mkdir()
    (tmp_path / "g.beholder" / "model.safetensors").write_bytes(b"weights")
    command = ["train", str(leaves), "--net", "logistic", "--dry-run", option]
    assert run([*command, str(tmp_path / "absent")]) == 2
    assert "there is no" in capsys.readouterr().err
    assert run([*command, str(tmp_path / "g.beholder")]) == 1
    assert "there are no pictures in" in capsys.readouterr().err
    assert run([*command, str(leaves)]) == 0


def test_what_the_times_leave_out_is_said() -> None:
    asked = beholder.Recipe().set(synthetic="auto", teacher="t.beholder")
    first, second = uncounted(Run("train", asked, minutes=5.0))
    assert first == (
        "not in these times, though it is within the minutes given: to make pictures, and to find out whether they help"
    )
    assert second.endswith("to ask the teacher t.beholder about the training pictures")
    assert (
        "to read the pictures without labels in more/" in uncounted(Run("train", beholder.Recipe().set(unlabelled="more/")))[0]
    )
    assert "to read the made pictures in fakes/" in uncounted(Run("train", asked.set(synthetic="fakes/")))[0]
    assert uncounted(Run("train", beholder.Recipe())) == []


def test_work_on_a_gpu_is_timed_until_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Launching takes no time, what was launched does: `settled` waits for it."""
    seconds, now = iter([9.0, 4.0, 2.0, 3.0]), [0.0]
    monkeypatch.setattr(costs, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(costs, "settled", lambda _: now.append(now.pop() + next(seconds)))
    assert looking(lambda: None, torch.device("cuda")) == 2.0, "the first wait is for what was launched before"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["train", "nowhere"], 2),
        (["train", "leaves", "--net", "nonet"], 2),
        (["train", "leaves", "--log", "nosink:here"], 2),
        (["train", "leaves", "--launch", "cluster"], 2),
        (["train", "leaves", "--set", "generate.kind=gan"], 2),
        (["tune", "leaves", "--minutes", "0"], 2),
        (["train", "two"], 1),
        (["train", "leaves", "--out", "leaves/x.beholder"], 2),
        (["train", "leaves", "--task", "detect"], 1),
    ],
)
def test_what_cannot_be_done_is_said_with_the_usual_exit_code(
    arguments: list[str], code: int, leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        (tmp_path / "two" / name).mkdir(parents=True)
        (leaves / "rust" / "00.png").rename(tmp_path / "two" / name / "0.png") if name == "a" else (
            leaves / "rust" / "01.png"
        ).rename(tmp_path / "two" / name / "0.png")
    before = tree(tmp_path)
    assert run([*arguments, "--dry-run"]) == code
    assert tree(tmp_path) == before


def test_times_and_sizes_as_people_read_them() -> None:
    assert [told(x) for x in (0.0123, 3.14, 61.6, 12345.0, math.nan)] == ["0.012", "3.1", "62", "12,345", "?"]
    assert [size(n) for n in (1, 2_500_000, 3 * 10**9)] == ["1 kB", "2 MB", "3.0 GB"]
    step = Step("train", "x", 3, 8.0)
    assert (step.low, step.high) == (8.0 / FACTOR, 8.0 * FACTOR)
    found = DryRun("train", "s", {}, "n", "p", 0.1, (step, Step("report", "y", 1, np.nan)), 0, {}, ())
    assert found.seconds == found.high == 6.0
    assert found.json()["memory"] is None
