"""Which device and which precision, each decided together with its reason."""

from __future__ import annotations

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


_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def device() -> torch.device:
    """Return the first CUDA device, else Apple's, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def precision(on: torch.device, asked: str = "auto") -> Precision:
    """Return the precision to train in: `asked` (fp32 | bf16 | fp16), or for "auto" what the chip has units for.

    Raises `MachineError` for fp16 on a CPU, whose gradients underflow without a loss scaler.
    """
    if asked == "fp16" and on.type == "cpu":
        raise MachineError("fp16 does not train on a CPU", code="no-fp16", hint="take precision=bf16, fp32 or auto")
    if asked != "auto":
        return Precision(asked, _DTYPES[asked], "asked for")
    if on.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision("bf16", torch.bfloat16, "this GPU has bf16 matrix units")
        return Precision("fp16", torch.float16, "this GPU has fp16 but no bf16 matrix units")
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
