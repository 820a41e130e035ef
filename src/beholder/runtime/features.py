"""The ways to the features of a net that is not being trained: torch as it is, with batch norms folded away, and OpenVINO."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from beholder.base.files import sha256
from beholder.machine.devices import kind
from beholder.machine.placement import evaluating
from beholder.nets.features import features, head
from beholder.nets.norms import without_norms
from beholder.runtime.picker import Picked, Trial, pick
from beholder.runtime.sessions import core

Run = Callable[[Tensor], Tensor]
"""Maps normalised images, float32 (B, C, H, W), to features, float32 (B, F)."""

CLOSE = 0.95
"""Least cosine between the features that an engine and the net in float32 give for each picture of the sample."""

EXACT = 0.9999
"""The same where what it gives is scored: what is served computes in float32 too."""

TRIED, PAYS = 8.0, 15.0
"""Seconds of work from which on it pays to try other ways, and to compile a net for another runtime, which takes seconds; on a
busy machine so many times as many as everything takes longer there."""

LONGEST = 0.3
"""Seconds that one run of the sample may take: of a net or on a machine that is slower, fewer pictures are run, 4 at least."""


def fastest(
    net: nn.Module,
    sample: Tensor,
    *,
    dtype: torch.dtype,
    machine: str,
    pictures: int,
    close: float = CLOSE,
    seconds: float = math.inf,
    slow: float = 1.0,
) -> Picked[Run]:
    """Return the fastest verified engine for the features of `net` in evaluation mode.

    sample: normalised images, float32 (B, C, H, W), on the device of the net: what is verified and timed, in batches of B
    dtype: in which the net may compute; machine: names the chip, under which the choice is remembered; pictures: how many
    are to come; close: least cosine between what an engine gives and what the net does; seconds: that there are for them;
    slow: how many times as long as on an idle machine everything takes. The ways: the net as it is; with its batch norms folded
    into the convolutions; the same on OpenVINO, where that is installed. They are tried where the work is long enough to pay
    for the trial.
    """
    exact = _torch(net, torch.float32)
    exact(sample[:1])
    began = time.perf_counter()
    exact(sample[:2])
    each = (time.perf_counter() - began) / min(2, len(sample))
    if min(each * pictures, seconds) < TRIED * slow:
        return Picked("torch", _torch(net, dtype))
    sample = sample[: max(4, 2 ** int(math.log2(max(1.0, LONGEST / max(1e-6, each)))))]
    on_cpu = sample.device.type == "cpu"
    trial = _trial(net, sample, exact(sample), [machine, *_facts(net, sample, dtype)], close)
    ways: dict[str, Callable[[], Run]] = {"torch": lambda: _torch(net, dtype)}
    if on_cpu:
        ways["torch, norms folded"] = lambda: _torch(without_norms(net, sample[:1]), dtype)
    best = pick(ways, trial)
    began = time.perf_counter()
    best.engine(sample)
    work = min(pictures * (time.perf_counter() - began) / len(sample), seconds)
    if not on_cpu or work < PAYS * slow or not importlib.util.find_spec("openvino"):
        return best
    found = pick({best.name: lambda: best.engine, "openvino": lambda: _openvino(net, sample, dtype)}, trial)
    return replace(found, rates={**best.rates, **found.rates})


def _trial(net: nn.Module, sample: Tensor, wanted: Tensor, key: list[object], close: float) -> Trial[Run]:
    """Return how ways are compared with the features that are wanted of a sample."""

    def fault(_name: str, run: Run) -> str:
        found = run(sample)
        if found.shape != wanted.shape:
            return f"it gives {found.shape[1:].numel()} features, not {wanted.shape[1:].numel()}"
        near = float(torch.cosine_similarity(found, wanted).min())
        return "" if near >= close else f"its features have a cosine of {near:.4f} with those of the net"

    return Trial(lambda run: run(sample), fault, [*key, close], len(sample), again=True)


def _torch(net: nn.Module, dtype: torch.dtype) -> Run:
    def run(images: Tensor) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        mixed = kind(images.device).autocast(images.device, dtype)
        with evaluating(net) if net.training else nullcontext(), torch.inference_mode(), mixed:
            return features(net, images)

    return run


class _Body(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        return features(self.net, images)


def _openvino(net: nn.Module, sample: Tensor, dtype: torch.dtype) -> Run:
    import openvino

    name = sha256(json.dumps([_weights(net), len(sample), *_facts(net, sample, dtype)]).encode())
    if name in _COMPILED:
        return _COMPILED[name]
    hints = {
        "INFERENCE_PRECISION_HINT": "bf16" if dtype is torch.bfloat16 else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    with warnings.catch_warnings(), evaluating(net):  # it traces with torch.jit, of which torch says that it is old
        warnings.simplefilter("ignore")
        graph = openvino.convert_model(_Body(net).eval(), example_input=sample[:1], input=list(sample.shape))
    compiled = cast(Any, core().compile_model(graph, "CPU", hints))
    size = len(sample)

    def run(images: Tensor) -> Tensor:
        rows = []
        for part in torch.split(images, size):
            whole = part if len(part) == size else torch.cat([part, part.new_zeros(size - len(part), *part.shape[1:])])
            rows.append(torch.from_numpy(compiled({0: whole.contiguous().numpy()})[0].copy())[: len(part)])
        return torch.cat(rows)

    while len(_COMPILED) >= KEPT:
        _COMPILED.pop(next(iter(_COMPILED)))
    _COMPILED[name] = run
    return run


KEPT = 2
"""Compiled nets that a process keeps: one for features and one for what is scored."""

_COMPILED: dict[str, Run] = {}


def _weights(net: nn.Module) -> str:
    """Return a hash of what the features of a net depend on."""
    own = head(net)
    heads = {id(value) for value in own.state_dict(keep_vars=True).values()} if own is not None else set()
    code = hashlib.sha256()
    for name, value in net.state_dict(keep_vars=True).items():
        if id(value) not in heads:
            code.update(name.encode())
            code.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return code.hexdigest()


def _facts(net: nn.Module, sample: Tensor, dtype: torch.dtype) -> list[object]:
    """Return what the speed of a net depends on, but for the chip."""
    return [str(net), list(sample.shape[1:]), str(dtype), torch.get_num_threads()]
