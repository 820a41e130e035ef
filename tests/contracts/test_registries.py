"""A plug-in of every kind, installed as a distribution with entry points: what it registers is used by the public verbs."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import beholder
from beholder.base import choices, sinks
from beholder.base.errors import UsageError
from beholder.base.events import Event
from beholder.base.registry import Registry, attribute
from beholder.cli.run import run
from beholder.evaluation import sections
from beholder.explanation import METHODS
from beholder.image import corruptions
from beholder.machine import info
from beholder.machine.devices import DEVICES
from beholder.nets.build import NETS
from beholder.quality.checks import CHECKS
from beholder.runtime.exports import EXPORTS
from beholder.sources import SOURCES
from beholder.tasks import TASKS

TABLES = [
    choices.AUGMENTATIONS,
    choices.OPTIMISERS,
    choices.SCHEDULES,
    sinks.SINKS,
    sections.SECTIONS,
    METHODS,
    corruptions.CORRUPTIONS,
    NETS,
    CHECKS,
    EXPORTS,
    SOURCES,
    TASKS,
    DEVICES,
]

CODE = '''
import dataclasses

import numpy as np
import torch
from torch import nn

import beholder
from beholder.data.augment import Augment
from beholder.learn.optim import Optimiser
from beholder.machine.devices import CPU
from beholder.quality.checks import Check, Marks
from beholder.runtime.exports import Form
from beholder.tasks.single import SINGLE

HEARD = []


def augmentation(*, strength, size):
    return Augment(brightness=0.25 * strength)


def schedule(done):
    return 0.5


OPTIMISER = Optimiser(lambda w: [torch.optim.RMSprop(w.groups(), lr=w.lr)], rate=0.002, decay=0.01, schedule="constant")


DEVICE = dataclasses.replace(CPU, name=lambda on: "Imaginary 9000")


def sink(rest):
    return lambda event: HEARD.append((rest, event.name))


def section(bundle, evaluation):
    return {"classes": len(bundle.classes), "n": len(evaluation.targets)}


def explanation(net, images, score):
    return images.abs().sum(dim=1)


def corruption(images, severity, chance):
    return 1 - images


class Tiny(nn.Module):
    def __init__(self, features, classes):
        super().__init__()
        self.head = nn.Linear(features, classes)

    def forward(self, images):
        return self.head(images.flatten(1))


def net(*, channels, size, classes, width=1.0, dropout=0.0):
    """Return one layer. It is all there is."""
    return Tiny(channels * size[0] * size[1], classes)


CHECK = Check(lambda e: Marks(np.ones(len(e.pictures))), 0.5, "it is a picture", "look elsewhere", "files", "review")


def running(data):
    weights = np.frombuffer(data[0], np.float32).reshape(3, 3)
    return lambda images: (images.mean(axis=(2, 3)) @ weights, images.mean(axis=(2, 3)))


EXPORT = Form(lambda bundle, precision, training: [np.eye(3, dtype=np.float32).tobytes()], running, ".mine")


TASK = dataclasses.replace(SINGLE, name="mine")


def source(name, *, limits, allow_download):
    return beholder.scan(name, limits=limits)
'''

BROKEN = "raise RuntimeError('this module cannot be imported')\n"

MINE = {
    "augmentation": "augmentation",
    "optimiser": "OPTIMISER",
    "schedule": "schedule",
    "sink": "sink",
    "section": "section",
    "explanation": "explanation",
    "corruption": "corruption",
    "net": "net",
    "check": "CHECK",
    "export": "EXPORT",
    "source": "source",
    "task": "TASK",
    "device": "DEVICE",
}


def install(folder: Path, name: str, code: str, names: dict[str, str], *, entry: str) -> None:
    """Write a module and the metadata of its distribution: what pip would leave in site-packages."""
    (folder / f"{name}.py").write_text(code, "utf-8")
    about = folder / f"{name}-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n", "utf-8")
    points = "".join(f"[beholder.{kind}s]\n{entry} = {name}:{what}\n" for kind, what in names.items())
    (about / "entry_points.txt").write_text(points, "utf-8")


@pytest.fixture(scope="module")
def plugged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A module that registers `mine` in every table, and one that registers `broken` and cannot be imported."""
    folder = tmp_path_factory.mktemp("site")
    install(folder, "beholder_fake", CODE, MINE, entry="mine")
    install(folder, "beholder_broken", BROKEN, dict.fromkeys(MINE, "anything"), entry="broken")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        importlib.invalidate_caches()
        yield attribute("beholder_fake:HEARD")
        sys.modules.pop("beholder_fake", None)


@pytest.fixture(scope="module")
def leaves(tmp_path_factory: pytest.TempPathFactory, draw) -> Path:
    return draw(tmp_path_factory.mktemp("plugged") / "leaves")


@pytest.fixture(scope="module")
def trained(plugged: Any, leaves: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle trained, tested and reported on the command line, with whatever is `mine`."""
    out = tmp_path_factory.mktemp("trained") / "m.beholder"
    mine = ("data.augment", "train.optimiser", "train.schedule")
    fields = [part for name in mine for part in ("--set", f"{name}=mine")]
    options = ["--net", "mine", "--epochs", "2", "--log", "mine:there", "--out", str(out)]
    assert run(["train", f"mine:{leaves}", *options, *fields]) == 0
    return out


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.kind)
def test_built_ins_and_plug_ins_enter_by_one_door(table: Registry, plugged: Any) -> None:
    assert table.names()[: len(table.builtin)] == list(table.builtin)
    assert {"mine", "broken"} <= set(table.names())
    assert MINE.keys() == {each.kind for each in TABLES}
    for name in table.builtin:
        assert table.load(name) is not None
    with pytest.raises(
        UsageError, match=f"the {table.kind} 'broken' of beholder_broken 1.2 failed.*cannot be imported"
    ) as caught:
        table.load("broken")
    assert caught.value.code == "plug-in-failed"
    with pytest.raises(UsageError) as unknown:
        table.load("nowhere")
    assert unknown.value.code == f"unknown-{table.kind}"


def test_six_lines_say_how_each_is_added(root: Path) -> None:
    text = (root / "CONTRIBUTING.md").read_text("utf-8")
    for table in TABLES:
        assert f"`beholder.{table.kind}s`" in text, table.kind


def test_a_run_uses_what_plug_ins_register(trained: Path, plugged: Any) -> None:
    bundle = beholder.load(trained)
    assert bundle.recipe.data.augment == bundle.recipe.train.optimiser == bundle.recipe.train.schedule == "mine"
    assert bundle.recipe.net.name == "mine"
    assert type(bundle.net).__name__ == "Tiny"
    assert bundle.history[-1]["lr"] == pytest.approx(0.001), "half of the optimiser's own rate"
    assert {("there", "epoch"), ("there", "training"), ("there", "scores")} <= set(plugged)


def test_sections_and_checks_stand_in_scores_and_report(trained: Path, plugged: Any) -> None:
    scores = json.loads((trained / "scores.json").read_bytes())
    assert scores["sections"]["mine"]["classes"] == 3
    assert "broken" not in scores["sections"]
    report = (trained / "report.html").read_text("utf-8")
    assert "mine" in report
    audit = (trained / "audit.csv").read_text("utf-8")
    assert audit.count(",mine,") >= 30
    assert "it is a picture" in audit


def test_the_other_verbs_use_them_too(trained: Path, leaves: Path, plugged: Any) -> None:
    picture = next(leaves.rglob("*.png"))
    found = beholder.explain(trained, picture, method="mine")
    assert found.method == "mine"
    assert found.heat.max() == pytest.approx(1, abs=0.01)
    dark = corruptions.corrupt(attribute("torch:zeros")(1, 3, 4, 4), "mine", 1, [0])
    assert dark.min() == 1
    pictures = beholder.scan(f"mine:{leaves}")
    assert len(pictures) == 36
    assert set(beholder.audit(pictures, checks=["mine"]).summary()[0].values()) >= {"mine", 36}
    assert run(["export", str(trained), "--to", "mine", "--force"]) == 0
    assert np.frombuffer((trained / "mine.mine").read_bytes(), np.float32).tolist() == np.eye(3).ravel().tolist()
    with beholder.listen("mine:python"):
        beholder.evaluate(trained, leaves)
    assert ("python", "scores") in plugged


def test_what_is_broken_is_a_warning_with_its_name(trained: Path, leaves: Path, plugged: Any) -> None:
    heard: list[Event] = []
    with beholder.listen(heard.append, alone=True):
        findings = beholder.audit(leaves, minutes=0.01)
        evaluation = beholder.evaluate(trained, leaves)
        evaluation = sections.examined(beholder.load(trained), evaluation, ["mine", "broken", "reuse"])
    warned = [event.message for event in heard if event.kind == "warn" and "'broken'" in event.message]
    assert any("the check 'broken' of beholder_broken 1.2 failed" in message for message in warned)
    assert any("the section 'broken'" in message for message in warned)
    assert {"mine", "dark"} <= {row["check"] for row in findings.summary()}
    assert {"mine", "reuse"} <= set(evaluation.sections)


@pytest.mark.parametrize("name", ["data.augment", "train.optimiser", "train.schedule", "net.name", "task"])
def test_what_is_broken_and_asked_for_is_one_clear_error(
    name: str, plugged: Any, leaves: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", str(leaves), "--epochs", "1", "--out", str(tmp_path / "m.beholder"), "--set", f"{name}=broken"]) == 2
    said = capsys.readouterr().err
    assert "'broken' of beholder_broken 1.2 failed" in said
    assert "Traceback" not in said


def test_a_device_of_a_plug_in_is_found_before_the_built_in_ones(trained: Path, plugged: Any) -> None:
    assert info.machine()["device_name"] == "Imaginary 9000"
    assert beholder.load(trained).config.machine["device_name"] == "Imaginary 9000"


def test_a_task_is_learnt_by_its_name(plugged: Any, leaves: Path) -> None:
    bundle = beholder.train(beholder.split(beholder.scan(leaves)), net="logistic", epochs=1, task="mine")
    assert bundle.task.name == "mine"


def test_a_bundle_loads_without_the_plug_in_that_its_recipe_names(
    plugged: Any, leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = beholder.split(beholder.scan(leaves))
    beholder.train(parts, net="logistic", epochs=1, augment="mine").save(tmp_path / "m.beholder")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda *, group: [])
    assert beholder.load(tmp_path / "m.beholder").recipe.data.augment == "mine"
    with pytest.raises(UsageError, match=r"data\.augment cannot be 'mine'"):
        beholder.Recipe().set(augment="mine")
