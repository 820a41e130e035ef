"""Training of detectors: first the head on cached maps of a frozen backbone, then all of the net, in the one loop."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from beholder.base import events
from beholder.base.deadline import Deadline
from beholder.base.errors import DataError
from beholder.base.limits import allow_as
from beholder.base.locks import alone
from beholder.base.recipe import Recipe
from beholder.base.records import Parts
from beholder.base.used import changed
from beholder.bundle.detector import Detector
from beholder.bundle.finder import Config
from beholder.data.augment import Augment
from beholder.learn.checkpoint import RunFolder, placed
from beholder.learn.located import UNKNOWN
from beholder.learn.material import Said
from beholder.learn.phases import Phases
from beholder.learn.sighted import Sighted, backbone_of, normal_of, plan_of, policy_of, sighted
from beholder.machine.device import Precision, autocast, device, precision
from beholder.machine.pace import calm, restored
from beholder.machine.stop import stopping
from beholder.nets.detector import Detector as Net
from beholder.nets.detector import begun

BATCH = 8
"""Pictures in a step where the recipe says nothing."""


@dataclass(frozen=True, eq=False)
class Made:
    """What is learnt from, and the net before its first step. config: what the bundle will say, as far as it is known."""

    recipe: Recipe
    config: Config
    train: Sighted
    valid: Sighted
    net: Net
    plan: Augment
    precision: Precision
    on: torch.device
    said: Said

    @property
    def batch(self) -> int:
        """Return the pictures of a step."""
        return self.recipe.train.batch or BATCH

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which the net computes."""
        return autocast(self.on, self.precision)


def train(
    parts: Parts,
    *,
    recipe: Recipe | str = "quick",
    out: str | Path | None = None,
    resume: bool = False,
    began: float | None = None,
    after: float = 0.0,
    **fields: Any,
) -> Detector:
    """Train a detector on the boxes of `parts.train`, choose its weights on `parts.valid`; `parts.test` is not read.

    recipe, fields, out, resume, began, after: as of `learn.train.train`; the fields of the section `detect`, too
    Raises `UsageError` for a field that is wrong or not used here, `DataError` for pictures that cannot be learnt from,
    `Interrupted` after Ctrl-C, when the best so far has been saved to `out`.
    """
    began = time.monotonic() if began is None else began
    asked = changed(recipe, fields, verb="detect")
    path = placed(out)
    folders = None if path is None else Folders.beside(path)
    until = Deadline.of(began, asked.train.minutes)
    with stopping() as stop, alone(path), calm(), restored():
        only = folders.kept() if folders is not None and resume else None
        made = _made(parts, asked, until, only=only)
        events.figures("recipe", values=made.recipe.flat())
        phases = Phases(made, parts, folders, stop, resume, until, after, path)
        found = phases.go()
        with stop.held():
            if path is not None and folders is not None:
                found.save(path)
                folders.discard()
    return found


@dataclass(frozen=True)
class Folders:
    """The run folders of the two phases of a run: the head's, and that of the whole net, which `--resume` looks for first."""

    head: RunFolder
    whole: RunFolder

    @staticmethod
    def beside(path: Path) -> Folders:
        """Return those of a bundle's path."""
        whole = RunFolder.beside(path)
        return Folders(RunFolder(whole.path.with_suffix(".head.run")), whole)

    def kept(self) -> Mapping[str, Any] | None:
        """Return part → digests of the pictures that the run had taken; None where there is no run to go on with."""
        found = self.whole.kept("sample")
        return self.head.kept("sample") if found is None else found

    def discard(self) -> None:
        """Delete both, once the bundle is whole."""
        self.head.discard()
        self.whole.discard()


def _made(parts: Parts, recipe: Recipe, until: Deadline, *, only: Mapping[str, Any] | None) -> Made:
    if parts.train.boxes is None:
        raise DataError("the pictures have no boxes", code="no-boxes", hint="see docs/DETECTION.md for the forms of boxes")
    said, on = Said(), device()
    allow_as(recipe.data)
    recipe, why = backbone_of(recipe, on)
    said(f"net {recipe.net.name}: {why}")
    policy = policy_of(parts, recipe, said)
    plan = plan_of(recipe, policy)
    train, valid = sighted(parts, policy, recipe, said, until=until, only=only)
    classes = train.material.pictures.classes
    torch.manual_seed(recipe.seed)
    net, spec, initial = begun(recipe, channels=policy.channels, classes=len(classes))
    mean, std = normal_of(recipe, policy.channels)
    config = Config(
        classes=classes,
        pixels=policy,
        mean=mean,
        std=std,
        net=spec,
        overlap=recipe.detect.overlap,
        most=recipe.detect.most,
        thresholds=(UNKNOWN,) * len(classes),
        initial_weights=initial,
    )
    net = net.to(on).to(memory_format=torch.channels_last)
    learnt = f"{len(train.boxes.classes):,} boxes to learn from"
    said(f"a detector of {sum(p.numel() for p in net.parameters()):,} parameters, {learnt}")
    return Made(recipe, config, train, valid, net, plan, precision(on, recipe.train.precision), on, said)
