"""What the run of a detector is: what its folder keeps beside checkpoints, and a step to try threads with."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch

from beholder.base.files import sha256
from beholder.learn.checkpoint import RunFolder
from beholder.learn.loop import Run
from beholder.learn.resumed import comparable
from beholder.machine.info import machine
from beholder.tasks.detect import turns


def step_of(run: Run, autocast: Callable[[], AbstractContextManager[Any]]) -> Callable[[], None]:
    """Return a step on two pictures without the optimiser, of a copy of the net. It changes no weight."""
    net = copy.deepcopy(run.net).train()
    batch = next(iter(run.batches.epoch(0)))
    images = batch.images[:2].contiguous(memory_format=torch.channels_last)

    def step() -> None:
        with autocast():
            (turn,) = turns(net, images, batch.targets[:2])
        turn.loss.backward()  # type: ignore[no-untyped-call]
        net.zero_grad(set_to_none=True)

    return step


def identity_of(made: Any) -> dict[str, Any]:
    """Return what must not have changed where a run is resumed."""
    both = {"train": made.train, "valid": made.valid}
    digests = {name: part.material.pictures.digests for name, part in both.items()}
    each = ("corners", "classes", "crowd", "starts")
    labels = b"".join(getattr(part.boxes, name).tobytes() for part in both.values() for name in each)
    return {
        "recipe": comparable(made.recipe).toml(),
        "net": dataclasses.asdict(made.config.net),
        "pixels": made.config.pixels.json(),
        "classes": list(made.config.classes),
        **{name: sha256(b"" if rows is None else rows.tobytes()) for name, rows in digests.items()},
        "labels": sha256(labels),
    }


def machine_of(made: Any) -> dict[str, str]:
    """Return what may have changed where a run is resumed."""
    facts = machine()
    return {
        **{name: facts[name] for name in ("device_name", "torch")},
        "threads": str(torch.get_num_threads()),
        "precision": made.precision.name,
    }


def keep_sample(made: Any, folder: RunFolder, *, budget: bool) -> None:
    """Keep which pictures a run with a budget takes."""
    digests = {name: part.material.pictures.digests for name, part in (("train", made.train), ("valid", made.valid))}
    if budget:
        folder.keep("sample", {name: rows for name, rows in digests.items() if rows is not None})
