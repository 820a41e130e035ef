"""How fast a run trained, beside what the machine can do: pictures a second, FLOP/s, and their share of the peak."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from beholder.base import events
from beholder.base.spans import Ledger

STEPPING = ("augment", "forward", "backward", "optimiser", "stall")
"""The spans that are the training itself."""


def step_flop(net: nn.Module, shape: tuple[int, int, int]) -> int | None:
    """Return the FLOP of one picture's forward and backward pass, 2 per multiply–add of convolutions and matrix products.

    They are counted on a copy without memory; None for a net that needs values to run. Layers that stay as they are have no
    backward pass.
    """
    from torch.utils.flop_counter import FlopCounterMode  # 0.1 s, which a run spends after its last step

    backward = {torch.ops.aten.convolution_backward: _convolution_backward}
    hollow = copy.deepcopy(net).to("meta").train()
    images = torch.empty(2, *shape, device="meta")
    try:
        with torch.enable_grad(), FlopCounterMode(display=False, custom_mapping=backward) as counter:
            hollow(images).sum().backward()
    except (RuntimeError, NotImplementedError):
        return None
    return int(counter.get_total_flops()) // 2


def _convolution_backward(grad: Sequence[int], x: Sequence[int], weight: Sequence[int], *more: Any, out_shape: Any) -> int:
    """Return the FLOP of a convolution's backward pass; torch's own count leaves its groups out (2.15)."""
    transposed, wanted = more[4], more[7]
    return int(2 * math.prod(x if transposed else grad) * math.prod(weight[1:]) * sum(wanted[:2]))


def tell_stall(stall: float, spent: float) -> None:
    """Say how long a run whose pixels were streamed waited for them: `stall` of `spent` seconds."""
    if spent > 0:
        events.note("stall", stall=stall, share=stall / spent)


def summary(ledger: Ledger, *, pictures: int, flop: int, peak: float, precision: str) -> dict[str, Any]:
    """Return where the wall time went so far, and how fast training was, as plain JSON values.

    pictures: how many were trained on; flop: of one of them, on average, 0: not known; peak: FLOP/s of matrix products
    in that precision here
    """
    found = renewed({}, ledger)
    seconds = sum(found["seconds"].get(name, 0.0) for name in STEPPING)
    if not pictures or seconds <= 0:
        return found
    rate = pictures / seconds
    found |= {"pictures": pictures, "pictures_per_second": rate, "precision": precision}
    if flop and peak:
        found |= {"tflops": flop * rate / 1e12, "peak_tflops": peak / 1e12, "share_of_peak": flop * rate / peak}
    return found


def renewed(found: Mapping[str, Any], ledger: Ledger) -> dict[str, Any]:
    """Return a summary with the wall time and its spans as they are now."""
    spans = ledger.table()
    return {**found, "wall": sum(spans.values()), "seconds": spans}


def text(found: Mapping[str, Any]) -> str:
    """Return the lines that a person reads."""
    wall = found["wall"]
    lines = [f"where the {wall:.1f} s went:"]
    lines += [f"  {name:<10} {value:8.2f} s {value / wall:6.1%}" for name, value in found["seconds"].items()]
    if "pictures_per_second" in found:
        lines.append(f"training: {found['pictures']:,} pictures at {found['pictures_per_second']:,.0f} a second")
    if "tflops" in found:
        lines.append(
            f"  {found['tflops']:.3f} TFLOP/s: {found['share_of_peak']:.2f} of the {found['peak_tflops']:.3f} "
            f"that matrix products in {found['precision']} reach here"
        )
    return "\n".join(lines)
