"""Which device and which precision, each decided together with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from beholder.base.errors import MachineError


@dataclass(frozen=True)
class Precision:
    """The dtype that matrix products run in; weights, optimiser state and losses stay float32 (autocast)."""

    name: str
    dtype: torch.dtype
    reason: str

    @property
    def mixed(self) -> bool:
        """Return True where products run in fewer bits than the weights are kept in."""
        return self.dtype is not torch.float32


_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def device() -> torch.device:
    """Return the first CUDA device, else Apple's, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def precision(on: torch.device, asked: str = "auto") -> Precision:
    """Return the precision to train in: `asked` (fp32 | bf16), or for "auto" what the chip has units for.

    fp16 is not among them: its gradients underflow without a loss scaler, which the loop does not have.
    """
    if asked != "auto":
        return Precision(asked, _DTYPES[asked], "asked for")
    if on.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision("bf16", torch.bfloat16, "this GPU has bf16 matrix units")
        return Precision("fp32", torch.float32, "this GPU has no bf16 matrix units")
    if on.type == "cpu":
        flags = _cpu_flags()
        for flag, words in (("amx_bf16", "AMX"), ("avx512_bf16", "AVX512-BF16")):
            if flag in flags:
                return Precision("bf16", torch.bfloat16, f"this CPU has {words}")
        return Precision("fp32", torch.float32, "this CPU has neither AMX nor AVX512-BF16")
    return Precision("fp32", torch.float32, f"the safe choice on {on.type}")


def _cpu_flags() -> frozenset[str]:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return frozenset()
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return frozenset(line.partition(":")[2].split())


def scaler(on: torch.device, precision: Precision) -> torch.amp.GradScaler:
    """Return the loss scaler of a run: for fp16 it keeps small gradients from vanishing, else it does nothing.

    Source: Micikevicius et al. 2018, "Mixed precision training", section 3.2.
    """
    return torch.amp.GradScaler(on.type, enabled=precision.dtype is torch.float16)


def seed(on: torch.device, value: int) -> None:
    """Seed the generator that dropout draws from on `on`. `torch.manual_seed` does it for every device, in 0.7 ms a call."""
    torch.default_generator.manual_seed(value)
    if on.type == "cuda":
        torch.cuda.default_generators[on.index or 0].manual_seed(value)


@contextmanager
def telling_memory(batch: int) -> Iterator[None]:
    """Turn a device's "out of memory" into a `MachineError` that says what to do."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise MachineError(
            f"the device has too little memory for batches of {batch} pictures",
            code="out-of-memory",
            hint=f"give --set train.batch={max(1, batch // 2)}, a smaller data.size or a smaller net.width",
        ) from error


def free_memory(on: torch.device) -> int:
    """Return bytes that are free on the device; 1 GiB where the system does not tell."""
    if on.type == "cuda":
        return int(torch.cuda.mem_get_info(on)[0])
    try:
        text = Path("/proc/meminfo").read_text("utf-8")
        line = next(line for line in text.splitlines() if line.startswith("MemAvailable"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration, ValueError):
        return 2**30
