"""A step makes the host wait for nothing: on a device that works apart, here torch's "meta", which has no values to look at.

To look at a value of a meta tensor, or to copy it to the host, raises; copies to it that block are counted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from beholder.base.choices import AUGMENTATIONS, OPTIMISERS
from beholder.data.augment import Augment, preset
from beholder.data.loader import Batches
from beholder.learn.checkpoint import Due, Saves
from beholder.learn.clock import Clock
from beholder.learn.loop import Run, Settings
from beholder.learn.monitors import Average, Guard, Player
from beholder.learn.optim import constant, optimiser
from beholder.machine import devices
from beholder.machine.device import Precision
from beholder.machine.stop import Stop
from beholder.nets.build import build
from beholder.nets.features import head
from beholder.nets.spec import NetSpec
from beholder.tasks import named

META = torch.device("meta")
FP32 = Precision("fp32", torch.float32, "")
KIND = devices.Device(
    type="meta",
    find=lambda: META,
    name=lambda on: "a device without values",
    units=lambda on: ("fp32", "none"),
    free=lambda on: 2**30,
    settle=lambda on: None,
    seed=lambda on, value: None,
    autocast=lambda on, dtype: nullcontext(),
    pinned=True,
)


def tensors(args: Any) -> Iterator[torch.Tensor]:
    for each in args:
        if isinstance(each, torch.Tensor):
            yield each
        elif isinstance(each, (tuple, list)):
            yield from tensors(each)


class Copies(TorchDispatchMode):
    """Keeps what is copied to the meta device, and whether the host waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[tuple[int, ...], bool]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = function.overloadpacket.__name__
        made = function(*args, **kwargs)
        if name == "index":  # CUDA copies places that lie on the host, and waits for it
            self.found += [((), True) for each in tensors(args) if each.device.type == "cpu" and made.device == META]
        if name == "_to_copy":
            self._seen(args[0], made, bool(kwargs.get("non_blocking")))
        elif name == "copy_":
            self._seen(args[1], args[0], bool(args[2]) if len(args) > 2 else False)
        return made

    def _seen(self, source: torch.Tensor, goal: torch.Tensor, apart: bool) -> None:
        if source.device != goal.device:
            self.found.append((tuple(source.shape), not apart))

    @property
    def blocking(self) -> list[tuple[int, ...]]:
        return [shape for shape, waits in self.found if waits]


@dataclasses.dataclass
class Memory:
    """Pictures in memory, as `Batches` reads them."""

    shape: tuple[int, int, int] = (3, 32, 32)

    def __len__(self) -> int:
        return 32

    def take(self, positions: Any) -> Any:
        return np.zeros((len(positions), *self.shape), np.uint8)


@pytest.fixture(autouse=True)
def copies(monkeypatch: pytest.MonkeyPatch) -> Iterator[Copies]:
    monkeypatch.setattr(devices, "_kinds", lambda path: {"meta": KIND, "cpu": devices.CPU})
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda values: values)
    with Copies() as seen:
        yield seen


def batches(plan: Augment, *, resident: bool = True) -> Batches:
    how: dict[str, Any] = {"batch": 8, "seed": 0, "device": META, "mean": (0.5,) * 3, "std": (0.5,) * 3}
    return Batches(Memory(), torch.zeros(32, 5), plan=plan, memory=resident << 30, **how)


def run(name: str = "fastnet", *, rule: str = "adamw", clip: float = 0.0, averaging: float = 0.9) -> Run:
    built = build(NetSpec(name, 3, 32, 32, 5, width=0.25 if ":" not in name else 1.0)).to(META)
    made = optimiser(built, rule, lr=0.01, momentum=0.9, weight_decay=0.01, head=head(built), batch=8)
    parts = batches(preset("light", size=32))
    run = Run(
        net=built,
        model=built,
        scaler=torch.amp.GradScaler("cpu", enabled=False),
        turns=named("single").turns,
        players={"net": Player(built, made, Average(built, averaging))},
        batches=parts,
        validation=None,
        clock=Clock(steps_per_epoch=len(parts), epochs=1000, seconds=0),
        settings=Settings(constant, FP32, smoothing=0.1, weights=None, clip=clip, seed=0),
        saves=Saves(None, remembered=Due(1e9)),
        stop=Stop(),
        guard=Guard(eager=False),
    )
    run.meter.looked = 1e18  # it looks twice a second, and that is to wait
    return run


def epoch(run: Run) -> None:
    rates = {id(o): [group["lr"] for group in o.param_groups] for o in run.players["net"].optimisers}
    run._epoch(rates)


def test_what_is_looked_at_is_noticed(copies: Copies) -> None:
    with pytest.raises((RuntimeError, NotImplementedError)):
        float(torch.zeros(3, device=META).sum())
    with pytest.raises((RuntimeError, NotImplementedError)):
        torch.zeros(3, device=META).cpu()
    torch.zeros(3).to(META)
    torch.zeros(4).to(META, non_blocking=True)
    torch.zeros(5, device=META).copy_(torch.zeros(5))
    assert copies.blocking == [(3,), (5,)]
    copies.found.clear()
    torch.zeros(3, device=META)[torch.tensor([1])]
    assert len(copies.blocking) == 1


@pytest.mark.parametrize("resident", [True, False], ids=["resident", "streamed"])
@pytest.mark.parametrize("name", AUGMENTATIONS.names())
def test_a_batch_waits_for_nothing(name: str, resident: bool, copies: Copies) -> None:
    plan = dataclasses.replace(preset(name, size=32, flip="both"), mixup=0.2, cutmix=1.0)
    made = batches(plan, resident=resident)
    copies.found.clear()
    found = list(made.epoch(0))
    assert [batch.images.shape for batch in found] == [(8, 3, 32, 32)] * 4
    assert {batch.images.device.type for batch in found} == {"meta"}
    assert copies.found, "the positions of a batch come from the host"
    assert not copies.blocking


@pytest.mark.parametrize("name", ["fastnet", "resnet", "timm:test_resnet", "timm:test_vit"])
def test_a_step_waits_for_nothing(name: str, copies: Copies) -> None:
    made = run(name)
    copies.found.clear()
    epoch(made)
    assert made.clock.step == 4
    assert not copies.blocking


@pytest.mark.parametrize("rule", OPTIMISERS.names())
def test_no_optimiser_makes_the_host_wait(rule: str, copies: Copies) -> None:
    made = run(rule=rule, clip=1.0)
    copies.found.clear()
    epoch(made)
    assert not copies.blocking


def test_a_loop_that_looks_each_step_is_found_out() -> None:
    made = run()
    made.guard = Guard(eager=True)
    with pytest.raises((RuntimeError, NotImplementedError)):
        epoch(made)


def test_the_net_stays_where_it_was_put() -> None:
    made = run()
    epoch(made)
    assert all(value.device == META for value in (*made.net.parameters(), *made.net.buffers()))
    assert isinstance(made.net, nn.Module)


def test_a_copy_that_blocks_is_found_out(copies: Copies, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beholder.machine.draws.sent", lambda values, on: values.to(on))
    made = batches(preset("light", size=32))
    copies.found.clear()
    list(made.epoch(0))
    assert copies.blocking == [(8,)] * 16, "four streams of draws a batch"
