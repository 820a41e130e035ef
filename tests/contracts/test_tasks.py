"""One contract suite over every task in the table, and over one of a user's own module."""

from __future__ import annotations

import io
import json
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from PIL import Image
from tests.server.fakes import served
from torch import Tensor
from torch.nn import functional as F

import beholder
from beholder.base import events
from beholder.base.errors import BundleError, UsageError
from beholder.base.files import file_sha256
from beholder.bundle.bundle import Bundle, load
from beholder.evaluation.predict import predict
from beholder.evaluation.sections import SECTIONS, examined
from beholder.learn.checkpoint import Due
from beholder.reporting import report
from beholder.runtime import exported
from beholder.runtime.engines import fastest
from beholder.runtime.export import export
from beholder.server.client import Client
from beholder.tasks import TASKS, named
from beholder.tasks.single import SINGLE, right
from beholder.tasks.task import alone

OWN = "beholder_contract_task:FOCAL"
FIELDS: dict[str, Any] = {"net": "cnn", "width": 0.5, "batch": 16, "precision": "fp32", "class_weights": "balanced"}
K = 4


def focal(logits: Tensor, targets: Tensor, *, smoothing: float = 0.0, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy that counts pictures the less the surer they are right (T.-Y. Lin et al., 2017)."""
    each = F.cross_entropy(logits, targets, weight=weights, label_smoothing=smoothing, reduction="none")
    return ((1 - (-each.detach()).exp()) ** 2 * each).mean() + 0.1 * each.mean()


@pytest.fixture(scope="module", autouse=True)
def users_module() -> Iterator[None]:
    module = types.ModuleType("beholder_contract_task")
    module.FOCAL = replace(SINGLE, name="focal", loss=focal, turns=alone(focal, right))  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "beholder_contract_task", module)
        yield


def source(name: str, n: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Pictures with labels as the task takes them: classes and grades are brightness, labels are bright quarters."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % K
    x = np.full((n, 16, 16, 3), 60.0)
    if named(name).several:
        y = (rng.random((n, K)) < 0.4).astype(np.uint8)
        for k in range(K):
            x[:, 8 * (k // 2) : 8 * (k // 2) + 8, 8 * (k % 2) : 8 * (k % 2) + 8] += 120 * y[:, k, None, None, None]
    else:
        x += 45.0 * y[:, None, None, None]
    return np.clip(x + rng.normal(size=x.shape) * 12, 0, 255).astype(np.uint8), y


@dataclass
class Made:
    """A task, what it was trained on, and the bundle of it, with pictures as files."""

    task: str
    parts: beholder.Parts
    path: Path
    pictures: list[Path]

    @property
    def bundle(self) -> Bundle:
        return load(self.path, trust=True)


@pytest.fixture(scope="module", params=[*TASKS.names(), OWN])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, each_device: torch.device) -> Made:
    folder, name = tmp_path_factory.mktemp("task"), request.param
    x, y = source(name)
    parts = beholder.split(beholder.scan((x, y)), seed=0, near=False)
    positive = {"sensitivity": 0.6, "positive": "1", "accept_risk": 0.4, "confidence": 0.6, "coverage": 0.8}
    with events.only("warn"):
        beholder.train(parts, task=name, out=folder / "t.beholder", epochs=8, averaging=0.8, flip="none", **positive, **FIELDS)
    pictures = []
    for number in range(12):
        pictures.append(folder / f"{number}.png")
        Image.fromarray(x[number]).save(pictures[-1])
    return Made(name, parts, folder / "t.beholder", pictures)


def rows(guesses: Any) -> np.ndarray:
    return np.array([list(guess.probabilities.values()) for guess in guesses])


def test_a_tiny_set_is_learnt(made: Made) -> None:
    bundle = made.bundle
    assert bundle.config.task == made.task
    losses = [row["loss"] for row in bundle.history]
    assert losses[-1] < losses[0]
    assert bundle.config.valid_score is not None
    assert bundle.config.valid_score > 0.7
    assert bundle.config.net.classes == bundle.task.width(K)


def test_labels_scores_and_operating_points_follow_from_the_probabilities(made: Made) -> None:
    bundle = made.bundle
    for guess in bundle([*made.pictures]):
        p = np.array(list(guess.probabilities.values()))
        answer = bundle.answers(p[None])[0]
        said = np.flatnonzero(answer) if bundle.task.several else [answer]
        assert (guess.label or "") == ";".join(bundle.classes[k] for k in said)
        assert guess.p == pytest.approx(p[said].min() if len(said) else 1 - p.max())
        assert {guess.abstain, guess.positive} <= {True, False}
        assert guess.set is not None


def test_the_bundle_of_a_task_of_yours_asks_for_trust(made: Made) -> None:
    if ":" not in made.task:
        assert load(made.path).task is named(made.task)
        return
    for opened in (load, exported.load, fastest):
        with pytest.raises((BundleError, UsageError), match="not part of Beholder"):
            opened(made.path)


def test_evaluating_again_gives_the_same_in_the_form_of_the_schema(made: Made) -> None:
    test, found = made.parts.test, []
    for _ in range(2):
        evaluation = beholder.evaluate(made.bundle, test)
        found.append(json.loads(json.dumps(evaluation.json())))
    first, again = ({k: v for k, v in one.items() if k not in ("seconds", "remarks")} for one in found)
    assert first == again
    schema = json.loads(files("beholder.evaluation").joinpath("scores.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(found[0])
    main = next(iter(found[0]["scores"].values()))
    assert main["value"] > 0.6
    assert main["low"] <= main["value"] <= main["high"]
    assert found[0]["summary"]["findings"]


def test_the_report_and_the_card_are_whole(made: Made, tmp_path: Path) -> None:
    bundle = made.bundle
    names = [name for name in SECTIONS if name not in ("cost", "shortcuts")]
    heard: list[events.Event] = []
    with events.listen(heard.append, alone=True):
        evaluation = examined(bundle, beholder.evaluate(bundle, made.parts.test), names)
        path = report(bundle, evaluation, tmp_path / "report.html")
    assert not [event.message for event in heard if event.kind == "warn" and "out" in event.message]
    assert set(names) <= {*evaluation.sections, "slices"}
    html = (path or tmp_path / "report.html").read_text("utf-8")
    assert html.count("<section") > 5
    main = next(iter(evaluation.scores.headline))
    assert {"quadratic_kappa": "kappa", "map": "average precision", "accuracy": "Accuracy"}[main] in html
    bundle.scores = evaluation.json()
    bundle.save(tmp_path / "again.beholder")
    assert f"| {main} |" in (tmp_path / "again.beholder" / "README.md").read_text("utf-8")


def test_exports_and_the_server_answer_as_the_bundle_does(made: Made) -> None:
    bundle = made.bundle
    wanted = [*predict(bundle, made.pictures)]
    assert np.array([list(line["probabilities"].values()) for line in wanted]).std(axis=0).max() > 0.05
    export(bundle)
    graph = exported.load(made.path, trust=True)
    images = np.stack([bundle.pixels(picture) for picture in made.pictures])
    assert graph.outputs(images)[0].shape == (12, bundle.width)
    assert np.abs(rows(graph([*made.pictures])) - rows(bundle([*made.pictures]))).max() < 1e-4
    with served(graph) as at, Client(f"http://127.0.0.1:{at.port}") as client:
        for found, line in zip(client.predict(made.pictures), wanted, strict=True):
            assert found["label"] == line["label"]
            fitted = (
                np.abs(1 - np.array([*line["probabilities"].values()]) - bundle.config.prediction_sets.thresholds).min() < 1e-3
            )
            assert fitted or list(found["set"]) == list(line["set"]), "but of a picture that the sets were fitted on"
            assert list(found["probabilities"].values()) == pytest.approx([*line["probabilities"].values()], abs=1e-4)
        about = client.models()[0]
    assert (about["task"], about["several"]) == (made.task, bundle.task.several)


def test_what_speaks_for_an_answer_is_shown(made: Made) -> None:
    explanation = beholder.explain(made.bundle, made.pictures[1])
    guess = made.bundle(made.pictures[1])
    assert explanation.label in (guess.label or explanation.label).split(";")
    assert np.isfinite(explanation.heat).all()
    buffer = io.BytesIO()
    Image.fromarray((255 * np.clip(explanation.heat, 0, 1)).astype(np.uint8)).save(buffer, "PNG")


def test_two_bundles_are_compared_by_what_counts(made: Made) -> None:
    found = beholder.compare([made.bundle, made.bundle], made.parts.test, part="all")
    (pair,) = found.pairs
    assert pair.found.difference.value == 0
    assert all(score.value == 0 for score in pair.others.values())
    assert set(pair.others) <= {*beholder.evaluate(made.bundle, made.parts.test).scores.headline}


class Killed(BaseException):
    """Stands for the end of the process: nothing of Beholder catches it."""


@pytest.mark.usefixtures("one_thread")
def test_a_run_that_was_killed_ends_in_the_same_bits(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Due, "__bool__", lambda self: True)
    whole, cut = tmp_path / "whole.beholder", tmp_path / "cut.beholder"
    fields = {**FIELDS, "epochs": 2, "mixup": 0.3, "flip": "none", "averaging": 0.9}

    def kill(event: events.Event) -> None:
        if event.message == "training" and event.fields["done"] == 8:
            raise Killed

    with events.only("warn"):
        beholder.train(made.parts, task=made.task, out=whole, **fields)
    with events.listen(kill, alone=True), pytest.raises(Killed):
        beholder.train(made.parts, task=made.task, out=cut, **fields)
    with events.only("warn"):
        beholder.train(made.parts, task=made.task, out=cut, resume=True, **fields)
    assert file_sha256(cut / "model.safetensors") == file_sha256(whole / "model.safetensors")


def test_the_old_name_of_several_labels_is_read_with_a_warning(made: Made) -> None:
    heard: list[events.Event] = []
    with events.listen(heard.append, alone=True):
        assert made.bundle.multi == made.bundle.task.several
    assert "task.several" in heard[-1].message
