"""What kinds of device there are: one table, to which a plug-in can add. Only here are `torch.cuda` and `torch.mps` asked.

A kind that is no row of its own (`kind` of an unknown type) is treated as one that the host has to wait for.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from beholder.base.registry import Registry
from beholder.machine import cpu

DEVICES = Registry("device", {name: f"beholder.machine.devices:{name.upper()}" for name in ("cuda", "mps", "cpu")})
"""Values of `Device`. The first that is there is used, those of plug-ins before the built-in ones."""


def autocast(on: torch.device, dtype: torch.dtype) -> AbstractContextManager[Any]:
    """Return the context in which products run in `dtype` on a device; in float32 it changes nothing."""
    return torch.autocast(on.type, dtype=dtype, enabled=dtype is not torch.float32)


@dataclass(frozen=True, kw_only=True)
class Device:
    """One row of `DEVICES`: what differs from one kind of device to the next.

    type:     as `torch.device.type` says it
    find:     () → the device of this process; None where there is none of the kind
    name:     device → what its maker calls it
    units:    device → the lowest precision (fp32 | bf16 | fp16) that it has matrix units for, and which these are
    free:     device → bytes of memory that are free
    settle:   device → None, once it has done what it was given
    seed:     (device, number) → None; seeds the generator that dropout draws from
    autocast: (device, dtype) → the context in which products run in `dtype`
    count:    () → how many of them this process sees, where processes that train together need one each. None: they share
    memory:   device → bytes in use, after which the peak begins anew; peak: device → the most bytes in use since. None: it does
              not count them
    steady:   () → the context for many steps of one shape, in which it may look for the quickest kernels
    apart:    it works while the host goes on: to look at a value is to wait for it
    pinned:   copies from page-locked memory of the host run while it works
    compiles: torch.compile is tried where the recipe leaves it open
    fused:    PyTorch's optimisers have one kernel for a step
    repeats:  equal seeds give equal bits
    doubles:  it has float64
    """

    type: str
    find: Callable[[], torch.device | None]
    name: Callable[[torch.device], str]
    units: Callable[[torch.device], tuple[str, str]]
    free: Callable[[torch.device], int]
    settle: Callable[[torch.device], None]
    seed: Callable[[torch.device, int], None]
    autocast: Callable[[torch.device, torch.dtype], AbstractContextManager[Any]] = autocast
    count: Callable[[], int] | None = None
    memory: Callable[[torch.device], int] | None = None
    peak: Callable[[torch.device], int] | None = None
    steady: Callable[[], AbstractContextManager[Any]] = nullcontext
    apart: bool = True
    pinned: bool = False
    compiles: bool = False
    fused: bool = False
    repeats: bool = False
    doubles: bool = True


def kinds() -> Mapping[str, Device]:
    """Return name → kind, in the order in which they are looked for: plug-ins first, for who adds one means to use it."""
    return _kinds(tuple(sys.path))


@lru_cache(maxsize=2)
def _kinds(_path: tuple[str, ...]) -> Mapping[str, Device]:
    """Return the table as plug-ins on the path of imports make it: to look for them takes milliseconds."""
    found = DEVICES.sound(of=Device)
    return {name: found[name] for name in sorted(found, key=lambda name: name in DEVICES.builtin)}


def first() -> torch.device:
    """Return the first device that is there."""
    return next(on for each in kinds().values() if (on := each.find()) is not None)


def kind(on: torch.device) -> Device:
    """Return the kind of a device: that of the first row of its type; of none, one that is known to do nothing well."""
    return next((each for each in kinds().values() if each.type == on.type), _unknown(on.type))


def sent(values: Tensor, on: torch.device) -> Tensor:
    """Return values of the host on a device, without waiting for what that has yet to do.

    A copy that blocks makes the host wait for every kernel before it, so that the next ones start late.
    """
    if values.device == on or not kind(on).pinned:
        return values.to(on)
    return values.pin_memory().to(on, non_blocking=True)


def pinned(values: Tensor, on: torch.device) -> Tensor:
    """Return values of the host in memory from which a copy to the device runs beside its work, where it can."""
    return values.pin_memory() if kind(on).pinned else values


@contextmanager
def ieee() -> Iterator[None]:
    """Compute float32 products in float32 for the block: CUDA by itself rounds factors of convolutions to 10 bits (TF32)."""
    with _set(torch.backends.cudnn, "allow_tf32", False), _set(torch.backends.cuda.matmul, "allow_tf32", False):
        yield


@contextmanager
def _set(owner: Any, name: str, value: bool) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _cuda() -> torch.device | None:
    """Return the CUDA device of this process: of several ranks on one machine each has its own."""
    if not torch.cuda.is_available():
        return None
    rank = os.environ.get("LOCAL_RANK", "")
    if rank.isdecimal():
        torch.cuda.set_device(int(rank) % torch.cuda.device_count())
    return torch.device("cuda", torch.cuda.current_device())


def _cuda_units(on: torch.device) -> tuple[str, str]:
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return "bf16", "this GPU has bf16 matrix units"
    if torch.cuda.get_device_capability(on) >= (7, 0):
        return "fp16", "this GPU has fp16 matrix units and none for bf16"
    return "fp32", "this GPU has no matrix units for bf16 or fp16"


def _cuda_seed(on: torch.device, value: int) -> None:
    torch.cuda.default_generators[on.index or 0].manual_seed(value)  # torch.cuda.manual_seed does it when CUDA is next used


def _cuda_used(on: torch.device) -> int:
    torch.cuda.synchronize(on)
    torch.cuda.reset_peak_memory_stats(on)
    return torch.cuda.memory_allocated(on)


def _cuda_most(on: torch.device) -> int:
    torch.cuda.synchronize(on)
    return torch.cuda.max_memory_allocated(on)


def _cpu() -> torch.device:
    cpu.keep_freed()
    return torch.device("cpu")


def _cpu_units(_on: torch.device) -> tuple[str, str]:
    for flag, words in (("amx_bf16", "AMX"), ("avx512_bf16", "AVX512-BF16")):
        if flag in cpu.flags():
            return "bf16", f"this CPU has {words}"
    return "fp32", "this CPU has neither AMX nor AVX512-BF16"


def _free(_on: torch.device) -> int:
    """Return bytes of the host's memory that are free; 1 GiB where the system does not tell."""
    try:
        text = Path("/proc/meminfo").read_text("utf-8")
        line = next(line for line in text.splitlines() if line.startswith("MemAvailable"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration, ValueError):
        return 2**30


def _safe(on: torch.device) -> tuple[str, str]:
    return "fp32", f"the safe choice on {on.type}"


CUDA = Device(
    type="cuda",
    find=_cuda,
    name=lambda on: torch.cuda.get_device_name(on),
    units=_cuda_units,
    free=lambda on: int(torch.cuda.mem_get_info(on)[0]),
    settle=lambda on: torch.cuda.synchronize(on),
    seed=_cuda_seed,
    count=lambda: torch.cuda.device_count(),  # NCCL refuses two processes on one
    memory=_cuda_used,
    peak=_cuda_most,
    steady=lambda: _set(torch.backends.cudnn, "benchmark", True),
    pinned=True,
    compiles=True,
    fused=True,
)

MPS = Device(
    type="mps",
    find=lambda: torch.device("mps") if torch.backends.mps.is_available() else None,
    name=lambda _on: cpu.name(),
    units=_safe,
    free=_free,
    settle=lambda _on: torch.mps.synchronize(),
    seed=lambda _on, value: torch.mps.manual_seed(value),
    doubles=False,
)

CPU = Device(
    type="cpu",
    find=_cpu,
    name=lambda _on: cpu.name(),
    units=_cpu_units,
    free=_free,
    settle=lambda _on: None,
    seed=lambda _on, _value: None,  # its generator is seeded in any case
    apart=False,
    fused=True,
    repeats=True,
)


def _unknown(name: str) -> Device:
    """Return what is assumed of a type that no row has."""
    return Device(
        type=name,
        find=lambda: None,
        name=lambda _on: name,
        units=_safe,
        free=_free,
        settle=lambda _on: None,
        seed=lambda _on, _value: None,
    )
