"""Engines that can run a bundle: torch and, once exported, onnxruntime and OpenVINO, in each precision.

They are compared with the graph in float32 and timed by `picker.py`, which remembers the fastest by bundle and machine. The
command `export` tries those in float32 at its end, so that what uses the bundle later need not.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np

from beholder.base import events
from beholder.base.arrays import U8
from beholder.base.errors import UsageError, did_you_mean
from beholder.base.records import PixelPolicy
from beholder.bundle import format
from beholder.bundle.config import Config
from beholder.bundle.recogniser import Recogniser
from beholder.machine import cpu
from beholder.runtime import exported, exports
from beholder.runtime.picker import Trial, pick

Way = Callable[[], Recogniser]

CLOSE = 1e-4
"""By so much the probabilities of an exact engine may differ from those of the graph in onnxruntime, at most."""

FAST = 0.1
"""By so much those of an engine in a lower precision may on average: enough to see that it is broken here. How good it is on
pictures was measured when it was exported, and stands in exports.json."""

BATCH = 16
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
        found = exported.load(path, threads=threads, trust=trust)
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
    reference = cache(chosen.pop(ONNX))
    best = pick({ONNX: reference, **chosen}, _trial(path, config, reference), tried=probe)
    if best.rates:
        ordered = sorted(best.rates.items(), key=lambda item: -item[1])
        events.note("engines", engine=best.name, rates=dict(ordered))
    return best.engine


def names(path: str | Path) -> list[str]:
    """Return the engines that `fastest` can take for the bundle in the folder `path` here."""
    return list(_ways(Path(path), format.verified(Path(path)), trust=False))


def _unknown(path: Path, engine: str, ways: list[str]) -> UsageError:
    hint = did_you_mean(engine, ["exact", "fast", *ways])
    if path.is_dir() and engine.startswith(("onnxruntime", "OpenVINO")) and exports.GRAPH not in exports.listed(path):
        hint = f"an export is used beside {exports.GRAPH}, which it is compared with: beholder export {path}"
    return UsageError(f"{path} has no engine '{engine}'", code="unknown-engine", hint=hint)


def _ways(path: Path, config: Config, trust: bool, threads: int = 0) -> dict[str, Way]:
    """Return name → what makes a model, for every way that there is here."""
    ways: dict[str, Way] = {TORCH: lambda: _torch(path, trust, threads)}
    kept = exports.listed(path)
    graphs = [name for name in kept if name.endswith(".onnx") and exports.sound(kept[name], config)]
    if exports.GRAPH not in graphs:
        return ways
    ov = importlib.util.find_spec("openvino") is not None
    load = partial(exported.load, path, threads=threads, trust=trust)
    for name in graphs:
        precision = exports.precision(name)
        ways[f"onnxruntime {precision}"] = lambda name=name: load(name=name)  # type: ignore[misc]
        if ov and precision != "fp16":
            ways[f"OpenVINO {precision}"] = lambda name=name: exported.load(
                path, name=name, threads=threads, hint="f32", trust=trust
            )  # type: ignore[misc]
    if ov and cpu.flags() & {"avx512_bf16", "amx_bf16"}:
        ways[BF16] = lambda: load(hint="bf16")
    return ways


def _torch(path: Path, trust: bool, threads: int) -> Recogniser:
    import torch

    from beholder.bundle.bundle import load

    if threads:
        torch.set_num_threads(threads)
    return load(path, trust=trust).ready()


def _trial(path: Path, config: Config, reference: Way) -> Trial[Recogniser]:
    """Return how engines are compared with the graph in float32."""
    images = _images(config.pixels)
    wanted = cache(lambda: reference().probabilities(images))

    def fault(name: str, engine: Recogniser) -> str:
        differences = np.abs(engine.probabilities(images) - wanted())
        exact = name.endswith("fp32")
        apart = float(differences.max() if exact else differences.mean())
        return "" if apart <= (CLOSE if exact else FAST) else f"its probabilities differ by {apart:.2g}"

    graphs = {name: facts.get("sha256") for name, facts in exports.listed(path).items()}
    key = [exports.weights(config), graphs, cpu.name(), cpu.threads()]
    return Trial(lambda engine: engine.outputs(images), fault, key, len(images), rounds=3)


def _images(pixels: PixelPolicy) -> U8:
    """Return uint8 (BATCH, C, height, width): smooth noise, whose values the nets know from pictures."""
    channels, height, width = pixels.channels, pixels.height, pixels.width
    coarse = np.random.default_rng(0).integers(0, 256, (BATCH, channels, -(-height // 8), -(-width // 8)), dtype=np.uint8)
    large = coarse.repeat(8, axis=2).repeat(8, axis=3)
    return np.ascontiguousarray(large[:, :, :height, :width])
