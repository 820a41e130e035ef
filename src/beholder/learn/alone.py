"""The loop by itself: any `nn.Module`, any `Batches`, any task; nothing is chosen, calibrated or saved."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from beholder.base.choices import SCHEDULES
from beholder.data.loader import Batches
from beholder.learn.checkpoint import Saves
from beholder.learn.clock import Clock
from beholder.learn.loop import Run, Settings
from beholder.learn.monitors import Average, Player
from beholder.learn.optim import optimiser as made
from beholder.machine.device import precision as exact
from beholder.machine.device import scaler
from beholder.machine.stop import stopping
from beholder.tasks import named
from beholder.tasks.task import Task


def fit(
    net: nn.Module,
    batches: Batches,
    *,
    epochs: int,
    optimiser: str | torch.optim.Optimizer = "adamw",
    lr: float = 0.001,
    weight_decay: float = 0.02,
    schedule: str = "cosine",
    task: Task | str = "single",
    averaging: float = 0.0,
    precision: str = "fp32",
    clip: float = 0.0,
    seed: int = 0,
) -> Run:
    """Train `net`, on the device of the batches, in place; return the run. Raises `NotFiniteError`, `Interrupted`.

    optimiser: a name in `OPTIMISERS`, for which `lr` and `weight_decay` are, or one of torch; task: a name or a `Task`;
    averaging: decay of a moving average of the weights, `run.lead.scored`. The rest as in the recipe.
    """
    kind = exact(batches.device, precision)
    net.to(batches.device)
    how: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay, "batch": batches.batch, "momentum": 0.9}
    steps = made(net, optimiser, **how) if isinstance(optimiser, str) else [optimiser]
    with stopping() as stop:
        run = Run(
            net=net,
            model=net,
            scaler=scaler(batches.device, kind),
            turns=(named(task) if isinstance(task, str) else task).turns,
            players={"net": Player(net, steps, Average(net, averaging) if averaging else None)},
            batches=batches,
            validation=None,
            clock=Clock(steps_per_epoch=len(batches), epochs=epochs, seconds=0.0),
            settings=Settings(SCHEDULES.load(schedule), kind, smoothing=0.0, weights=None, clip=clip, seed=seed),
            saves=Saves(None),
            stop=stop,
        )
        run.go()
    net.eval()
    return run
