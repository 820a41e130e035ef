"""Which device and which precision, each decided together with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch

from beholder.base.errors import MachineError, UsageError
from beholder.machine import devices
from beholder.machine.trial import DTYPES, trains, trial


@dataclass(frozen=True)
class Precision:
    """The dtype that matrix products run in; weights, optimiser state and losses stay float32 (autocast).

    seconds: of one step of the trial that decided, by the name of the precision; empty where there was none
    """

    name: str
    dtype: torch.dtype
    reason: str
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def mixed(self) -> bool:
        """Return True where products run in fewer bits than the weights are kept in."""
        return self.dtype is not torch.float32


MASTER = "weights, optimiser state and losses stay fp32"
"""The rule of mixed precision (Micikevicius et al. 2018, "Mixed precision training", section 3.1)."""


def device() -> torch.device:
    """Return the first device that is there, by `devices.DEVICES`: one of a plug-in, else CUDA, else Apple's, else the CPU."""
    return devices.first()


def check_enough(processes: int, *, asked: str, fewer: Callable[[int], str]) -> None:
    """Raise `UsageError` (too-few-devices) where processes of this machine that train together would not have a device each.

    asked: how so many were asked for; fewer: number of devices → how as many processes are
    """
    on = device()
    count = devices.kind(on).count
    if count is None or (found := count()) >= processes:
        return
    there = f"is one {on.type} device" if found == 1 else f"are {found} {on.type} devices"
    text = f"{asked} takes a device for each process, and there {there}"
    raise UsageError(text, code="too-few-devices", hint=fewer(found))


def apart(processes: int) -> int:
    """Return how many of so many processes of this machine can train each on its own: all on the CPU, else one a device."""
    on = device()
    count = devices.kind(on).count
    return processes if on.type == "cpu" else min(processes, count() if count else 1)


def autocast(on: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """Return the context in which matrix products run in a precision; in fp32 it changes nothing."""
    return devices.kind(on).autocast(on, precision.dtype)


def steady(on: torch.device, *, one_shape: bool) -> AbstractContextManager[Any]:
    """Return the context for the steps of a run: where all are of one shape, the device may look for its quickest kernels."""
    return devices.kind(on).steady() if one_shape else nullcontext()


def precision(on: torch.device, asked: str = "auto") -> Precision:
    """Return the precision to train in: `asked` (fp32 | bf16 | fp16), or for "auto" the one that the chip trains faster in.

    A lower precision is tried only where the chip has units for it, and taken only where a trial step is faster; on a machine
    too busy for a trial the units decide, so that equal runs get the same precision.
    Raises `UsageError` for one that torch cannot train in on this device.
    """
    if asked != "auto":
        return _asked(on, asked)
    name, units = devices.kind(on).units(on)
    if name == "fp32":
        return Precision(name, DTYPES[name], units)
    seconds = trial(on, ("fp32", name))
    if seconds is None:
        return Precision(name, DTYPES[name], f"{units}; the machine is too busy to try how much faster it is; {MASTER}")
    ratio = seconds["fp32"] / seconds.get(name, float("inf"))
    found = ", ".join(f"{1000 * value:.1f} ms in {key}" for key, value in seconds.items())
    words = f"{units}; a trial step took {found}"
    if ratio > 1.05:
        return Precision(name, DTYPES[name], f"{words}: {ratio:.1f} times as fast; {MASTER}", seconds)
    return Precision("fp32", torch.float32, f"{words}: {name} gains nothing here", seconds)


def _asked(on: torch.device, name: str) -> Precision:
    if name != "fp32" and not trains(on, name):
        hint = "leave it to --set train.precision=auto, or take fp32"
        raise UsageError(f"train.precision={name} is not possible on this {on.type}", code="no-such-precision", hint=hint)
    return Precision(name, DTYPES[name], "asked for" + (f"; {MASTER}" if name != "fp32" else ""))


def scaler(on: torch.device, precision: Precision) -> torch.amp.GradScaler:
    """Return the loss scaler of a run: for fp16 it keeps small gradients from vanishing, else it does nothing.

    Source: Micikevicius et al. 2018, "Mixed precision training", section 3.2.
    """
    return torch.amp.GradScaler(on.type, enabled=precision.dtype is torch.float16)


def seed(on: torch.device, value: int) -> None:
    """Seed the generator that dropout draws from on `on`. `torch.manual_seed` does it for every device, in 0.7 ms a call."""
    upper = value >> 32  # which the generator of the CPU, a Mersenne twister, does not look at
    torch.default_generator.manual_seed((value ^ (upper * 0x9E3779B1)) & 0xFFFFFFFF)
    devices.kind(on).seed(on, value)


@contextmanager
def telling_memory(batch: int) -> Iterator[None]:
    """Turn a device's "out of memory" into a `MachineError` that says what to do."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        text = f"the device has too little memory for batches of {batch} pictures"
        hint = f"give --set train.micro={max(2, batch // 2)} (the same batch, in pieces), a smaller data.size or net.width"
        raise MachineError(text, code="out-of-memory", hint=hint) from error


def repeats(on: torch.device) -> str:
    """Return, in words, what the same seed gives twice on a device."""
    if devices.kind(on).repeats:
        return "the same seed gives the same weights, bit for bit, with the same number of threads"
    return "the same seed gives nearly the same weights: some kernels of this device add in no fixed order"


def free_memory(on: torch.device) -> int:
    """Return bytes that are free on the device; 1 GiB where the system does not tell."""
    return devices.kind(on).free(on)
