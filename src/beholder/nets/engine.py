"""The fastest way on this machine to run a net that is not being trained. Each way is verified against the net itself."""

from __future__ import annotations

import importlib.util
import json
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from beholder.base import events, memo
from beholder.base.files import cache_folder, sha256
from beholder.base.openvino import core as openvino_core
from beholder.nets.features import features
from beholder.nets.norms import without_norms

Run = Callable[[Tensor], Tensor]
"""Maps normalised images, float32 (B, C, H, W), to features, float32 (B, F)."""

CLOSE = 0.95
"""Least cosine between the features that an engine and the net in float32 give for each picture of the sample."""

MANY = 1000
"""From so many pictures on it pays to compile a net for another runtime, which takes some seconds."""

VERSION = 1


@dataclass(frozen=True)
class Engine:
    """How a net is run. rates: pictures/s of the ways that were tried, empty where the choice was remembered."""

    name: str
    run: Run
    rates: Mapping[str, float] = field(default_factory=dict)


def engine(net: nn.Module, sample: Tensor, *, dtype: torch.dtype, machine: str, pictures: int) -> Engine:
    """Return the fastest verified engine for the features of `net`, which is left in evaluation mode.

    sample: normalised images, float32 (B, C, H, W), on the device of the net: what is verified and timed, in batches of B
    dtype: in which the net may compute; machine: names the chip, under which the choice is remembered; pictures: how many
    are to come. The ways: the net as it is; with its batch norms folded into the convolutions; the same on OpenVINO, where
    that is installed.
    """
    net.eval()
    ways = _ways(net, sample, dtype, pictures)
    path = cache_folder() / "engine" / f"{_key(net, sample, dtype, machine, sorted(ways))}.json"
    known, wanted = memo.fastest(path), _torch(net, torch.float32)(sample)
    if known in ways and (found := _verified(ways[known], sample, wanted)) is not None:
        return Engine(known, found)
    sound = {name: run for name, way in ways.items() if (run := _verified(way, sample, wanted)) is not None}
    sound.setdefault("torch", _torch(net, dtype))
    rates = _timed(sound, sample)
    best = memo.keep_fastest(path, rates)
    return Engine(best, sound[best], rates)


def _ways(net: nn.Module, sample: Tensor, dtype: torch.dtype, pictures: int) -> dict[str, Callable[[], Run]]:
    ways: dict[str, Callable[[], Run]] = {"torch": lambda: _torch(net, dtype)}
    if sample.device.type == "cpu":
        ways["torch, norms folded"] = lambda: _torch(without_norms(net, sample[:1]), dtype)
        if pictures >= MANY and importlib.util.find_spec("openvino"):
            ways["openvino"] = lambda: _openvino(net, sample, dtype)
    return ways


def _torch(net: nn.Module, dtype: torch.dtype) -> Run:
    def run(images: Tensor) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), torch.autocast(images.device.type, dtype=dtype, enabled=dtype is not torch.float32):
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

    hints = {
        "INFERENCE_PRECISION_HINT": "bf16" if dtype is torch.bfloat16 else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    with warnings.catch_warnings():  # it traces with torch.jit, of which torch says that it is old
        warnings.simplefilter("ignore")
        graph = openvino.convert_model(_Body(net).eval(), example_input=sample[:1], input=list(sample.shape))
    compiled = cast(Any, openvino_core().compile_model(graph, "CPU", hints))
    size = len(sample)

    def run(images: Tensor) -> Tensor:
        rows = []
        for part in torch.split(images, size):
            whole = part if len(part) == size else torch.cat([part, part.new_zeros(size - len(part), *part.shape[1:])])
            rows.append(torch.from_numpy(compiled({0: whole.contiguous().numpy()})[0].copy())[: len(part)])
        return torch.cat(rows)

    return run


_FAILURES = (RuntimeError, TypeError, ValueError, AttributeError, LookupError, ImportError, NotImplementedError)


def _verified(way: Callable[[], Run], sample: Tensor, wanted: Tensor) -> Run | None:
    """Return the way, made and run once, if it gives about what is wanted; None where it does not or cannot be made."""
    try:
        run = way()
        found = run(sample)
    except _FAILURES as error:  # the net as it is remains
        events.note(f"a faster way to run the net failed: {type(error).__name__}: {str(error)[:200]}")
        return None
    near = found.shape == wanted.shape and bool((torch.cosine_similarity(found, wanted) >= CLOSE).all())
    return run if near else None


def _timed(ways: Mapping[str, Run], sample: Tensor, *, rounds: int = 2) -> dict[str, float]:
    """Return pictures/s of each way: the fastest of some rounds in which they take turns."""
    seconds = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds if len(ways) > 1 else 0):
        for name, run in ways.items():
            began = time.perf_counter()
            run(sample)
            seconds[name] = min(seconds[name], time.perf_counter() - began)
    return {name: round(len(sample) / value, 1) for name, value in seconds.items()}


def _key(net: nn.Module, sample: Tensor, dtype: torch.dtype, machine: str, ways: list[str]) -> str:
    said = [VERSION, machine, str(net), list(sample.shape), str(dtype), ways, torch.get_num_threads()]
    return sha256(json.dumps(said).encode())[:16]
