"""Which precision trains faster here: a sub-second trial of one small real training step, remembered per machine."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.base import memo
from beholder.base.files import sha256
from beholder.machine.chip import chip, settled
from beholder.machine.devices import kind
from beholder.machine.folders import cache_folder
from beholder.machine.pace import slowness
from beholder.machine.turns import least_seconds

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

VERSION = 2
"""Counts the versions of the trial step: raise it when its figures can no longer be compared with the earlier ones."""

LONGEST = 0.4
"""Seconds after which no further round is begun; the first steps, in which kernels are chosen, come on top."""

HOPELESS = 2.5
"""How many times as long as on an idle machine work may take at most for a trial to mean anything."""

ROUNDS = 3
"""The fewest rounds, however long they take. A machine that manages no more is at other work: its figures mean nothing."""


def trial(on: torch.device, names: Sequence[str]) -> dict[str, float] | None:
    """Return the shortest seconds of one training step (forward, backward) in each precision of `names`.

    The precisions take turns, so that other work on the machine meets all of them. What was measured is kept in the cache
    folder under the chip, the threads and the version of torch; a precision that cannot train here is not in the result.
    None where the machine is busy: it is asked again the next time.
    """
    path = cache_folder() / "machine" / f"{sha256(json.dumps([VERSION, chip(on), sorted(names)]).encode())[:16]}.json"
    if "seconds" in (known := memo.record(path)):
        return {name: float(seconds) for name, seconds in known["seconds"].items() if name in names}
    if min(slowness(), slowness()) >= HOPELESS:
        return None
    found, rounds = _measured(on, names)
    if rounds <= ROUNDS:
        return None
    memo.keep_record(path, {"chip": chip(on), "seconds": found}, what="the seconds of a trial step")
    return found


def trains(on: torch.device, name: str) -> bool:
    """Return whether torch can take a training step in this precision on this device at all."""
    try:
        _step(on, name, small=True)()
    except RuntimeError:
        return False
    return True


def _measured(on: torch.device, names: Sequence[str]) -> tuple[dict[str, float], int]:
    """Return the shortest seconds of a step by precision, and of how many rounds."""
    steps = {name: _step(on, name, small=False) for name in names if trains(on, name)}
    found = dict.fromkeys(steps, float("inf"))
    for step in steps.values():
        step()
    began = time.perf_counter()
    for rounds in itertools.count(1):
        least = least_seconds(steps, rounds=1, now=time.perf_counter)
        found = {name: min(found[name], least[name]) for name in steps}
        if rounds >= ROUNDS and time.perf_counter() - began > LONGEST:
            break
    return found, rounds


def _step(on: torch.device, name: str, *, small: bool) -> Callable[[], None]:
    """Return a function that takes one step: two convolutions and two matrix products under autocast."""
    width, batch, side = (16, 2, 8) if small else (64, 32, 16) if on.type == "cpu" else (256, 256, 32)
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(width, 2 * width, 3, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.GELU(),
            nn.MaxPool2d(2),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(2 * width * (side // 2) ** 2, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, 10),
        )
    net.to(on, memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(batch, width, side, side, generator=generator).to(on).contiguous(memory_format=torch.channels_last)
    targets = torch.arange(batch, device=on) % 10

    def step() -> None:
        with kind(on).autocast(on, DTYPES[name]):
            logits: Tensor = net(images)
        net.zero_grad(set_to_none=True)
        F.cross_entropy(logits.float(), targets).backward()  # type: ignore[no-untyped-call]
        settled(on)

    return step
