"""Which runtime recognises fastest here: torch, onnxruntime or OpenVINO, each in the precisions that it has.

A bundle without exports runs on torch. Where it has a graph (`beholder export`), the ways to run it are made, compared with the
graph in float32, and timed in turns; the fastest is remembered in the cache folder, by bundle and machine. The command `export`
tries those in float32 at its end, so that what uses the bundle later need not.
"""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base import events, memo
from beholder.base.errors import BeholderError, UsageError, did_you_mean
from beholder.base.files import cache_folder, sha256
from beholder.bundle import exported, exports, format, stranger
from beholder.bundle.recogniser import Recogniser
from beholder.machine import cpu

Way = Callable[[], Recogniser]

CLOSE = 1e-4
"""By so much the probabilities of an exact engine may differ from those of the graph in onnxruntime, at most."""

FAST = 0.1
"""By so much those of an engine in a lower precision may on average: enough to see that it is broken here. How good it is on
pictures was measured when it was exported, and stands in exports.json."""

BATCH = 16
ROUNDS = 3
VERSION = 1
TORCH, ONNX, BF16 = "torch fp32", "onnxruntime fp32", "OpenVINO bf16"


def fastest(
    path: str | Path, *, engine: str = "exact", trust: bool = False, probe: bool = True, threads: int = 0
) -> Recogniser:
    """Return what recognises fastest of the bundle in the folder `path`, or of a single exported file, which has one way.

    engine: exact (float32 only), fast (any precision whose agreement an export has measured), or the name of one such as
    "onnxruntime int8", or "OpenVINO bf16", which nothing has measured on pictures; trust: as in `load`
    probe: try the ways where nothing is remembered, which takes some seconds; without it, onnxruntime where there is a graph
    threads: of the runtime within one batch; 0: as many as it thinks fit
    Raises `UsageError` for a name that is not among the ways, and what `load` raises.
    """
    path = Path(path)
    if path.is_file():
        found = exported.load(path, threads=threads)
        if engine not in ("exact", "fast", found.engine):
            raise _unknown(path, engine, [found.engine])
        return found
    config = format.verified(path)
    ways = _ways(path, config, trust, threads)
    if engine not in ("exact", "fast"):
        if engine not in ways:
            raise _unknown(path, engine, list(ways))
        return ways[engine]()
    chosen = {name: way for name, way in ways.items() if name != BF16 and (engine == "fast" or name.endswith("fp32"))}
    if len(chosen) == 1:
        return chosen[TORCH]()
    memory = cache_folder() / "engine" / f"{_key(path, config, sorted(chosen))}.json"
    known = memo.fastest(memory)
    if known in chosen:
        return chosen[known]()
    return _tried(chosen, config, memory) if probe else chosen[ONNX]()


def names(path: str | Path) -> list[str]:
    """Return the engines that `fastest` can take for the bundle in the folder `path` here."""
    return list(_ways(Path(path), format.verified(Path(path)), trust=False))


def _unknown(path: Path, engine: str, ways: list[str]) -> UsageError:
    hint = did_you_mean(engine, ["exact", "fast", *ways])
    return UsageError(f"{path} has no engine '{engine}'", code="unknown-engine", hint=hint)


def _ways(path: Path, config: Mapping[str, Any], trust: bool, threads: int = 0) -> dict[str, Way]:
    """Return name → what makes a recogniser, for every way that there is here."""
    ways: dict[str, Way] = {TORCH: lambda: _torch(path, trust, threads)}
    kept = exports.listed(path)
    graphs = [name for name in kept if name.endswith(".onnx") and exports.sound(kept[name], config)]
    if exports.GRAPH not in graphs:
        return ways
    ov = importlib.util.find_spec("openvino") is not None
    for name in graphs:
        precision = exports.precision(name)
        ways[f"onnxruntime {precision}"] = lambda name=name: exported.load(path, name=name, threads=threads)  # type: ignore[misc]
        if ov and precision != "fp16":
            ways[f"OpenVINO {precision}"] = lambda name=name: _openvino(path, name, "f32", threads)  # type: ignore[misc]
    if ov and cpu.flags() & {"avx512_bf16", "amx_bf16"}:
        ways[BF16] = lambda: _openvino(path, exports.GRAPH, "bf16", threads)
    return ways


def _torch(path: Path, trust: bool, threads: int) -> Recogniser:
    import torch

    from beholder.bundle.bundle import load

    if threads:
        torch.set_num_threads(threads)
    return load(path, trust=trust).ready()


def _openvino(path: Path, name: str, hint: str, threads: int) -> Recogniser:
    from beholder.bundle.runtimes import openvino

    config = format.verified(path)
    pixels = config["pixels"]
    size = (int(pixels["height"]), int(pixels["width"]))
    _, run, _ = openvino([exports.read(path, name, config)], hint=hint, size=size, threads=threads)
    precision = exports.precision(name) if hint == "f32" else hint
    return exported.Exported(config, run, stranger.read(path, config), path, f"OpenVINO {precision}")


def _tried(ways: Mapping[str, Way], config: Mapping[str, Any], memory: Path) -> Recogniser:
    """Return the fastest of the ways that give what the graph gives in float32, and remember it."""
    reference = ways[ONNX]()
    images = _images(reference)
    wanted = reference.probabilities(images)
    sound = {ONNX: reference}
    for name, way in ways.items():
        made = None if name == ONNX else _verified(name, way, images, wanted)
        if made is not None:
            sound[name] = made
    rates = _timed(sound, images)
    best = memo.keep_fastest(memory, rates)
    said = ", ".join(f"{name} {rate:.0f}" for name, rate in sorted(rates.items(), key=lambda item: -item[1]))
    events.note(f"engines, pictures/s: {said}")
    return sound[best]


def _verified(name: str, way: Way, images: npt.NDArray[np.uint8], wanted: npt.NDArray[np.float32]) -> Recogniser | None:
    """Return what a way makes if its probabilities are near those wanted; None where they are not, or it cannot be made."""
    try:
        made = way()
        differences = np.abs(made.probabilities(images) - wanted)
        apart = float(differences.max() if name.endswith("fp32") else differences.mean())
    except (BeholderError, RuntimeError, ValueError, ImportError) as error:  # the others remain
        events.note(f"{name} cannot be used: {str(error).splitlines()[0][:200] if str(error) else type(error).__name__}")
        return None
    if apart <= (CLOSE if name.endswith("fp32") else FAST):
        return made
    events.note(f"{name} is not used: its probabilities differ by {apart:.2g}")
    return None


def _images(recogniser: Recogniser) -> npt.NDArray[np.uint8]:
    """Return uint8 (BATCH, C, height, width): smooth noise, whose values the nets know from pictures."""
    policy, rng = recogniser.policy, np.random.default_rng(0)
    down, along = -(-policy.height // 8), -(-policy.width // 8)
    coarse = rng.integers(0, 256, (BATCH, policy.channels, down, along), dtype=np.uint8)
    large = coarse.repeat(8, axis=2).repeat(8, axis=3)
    return np.ascontiguousarray(large[:, :, : policy.height, : policy.width])


def _timed(ways: Mapping[str, Recogniser], images: npt.NDArray[np.uint8]) -> dict[str, float]:
    """Return pictures/s of each way: the fastest of some rounds in which they take turns."""
    seconds = dict.fromkeys(ways, float("inf"))
    for _ in range(ROUNDS):
        for name, recogniser in ways.items():
            began = time.perf_counter()
            recogniser.outputs(images)
            seconds[name] = min(seconds[name], time.perf_counter() - began)
    return {name: round(len(images) / value, 1) for name, value in seconds.items()}


def _key(path: Path, config: Mapping[str, Any], ways: list[str]) -> str:
    graphs = {name: facts.get("sha256") for name, facts in exports.listed(path).items()}
    said = [VERSION, exports.weights(config), graphs, ways, cpu.name(), cpu.threads()]
    return sha256(json.dumps(said, sort_keys=True).encode())[:16]
