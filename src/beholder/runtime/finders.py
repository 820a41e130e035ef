"""Engines that run a detector: torch and, once exported, onnxruntime, in each precision. Nothing here needs torch but torch.

They are compared with the graph in float32 and timed by `picker.py`, as those of a bundle of labels are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from beholder.base import events
from beholder.base.arrays import F32, I64, U8
from beholder.base.errors import BundleError, UsageError, did_you_mean
from beholder.base.records import Detections
from beholder.bundle import format
from beholder.bundle.finder import Config, Finder, Looked, read
from beholder.machine import cpu
from beholder.measure.detection_overlap import overlaps
from beholder.measure.detections import Detected
from beholder.runtime import exports
from beholder.runtime.picker import Trial, pick
from beholder.runtime.sessions import session_of

IMAGES, SIZES, MOST = "images", "sizes", "most"
"""What the graph of a detector takes. The last two may be left out.

images: uint8 (N, C, h, w), upright; resized by the graph where that is not the net's size
sizes:  int64 (N, 2), width and height of the pictures in whose pixels boxes are wanted; (1, 2) of zeros: those of `images`
most:   int64 (1,), boxes of a picture
"""

OUTPUTS = ("boxes", "scores", "probabilities", "classes", "counts")
"""What it gives, of each picture as many rows as there may be boxes, the surest first and zero beyond `counts`.

boxes:         float32 (N, M, 4), left, top, right, bottom
scores:        float32 (N, M), as the net has them; probabilities: float32 (N, M), calibrated
classes:       int64 (N, M); counts: int64 (N,)
"""

BATCH = 8
"""Pictures at once."""

LEAST = 0.995
"""The least share of boxes that an export in float32 has to find as the net does."""

LOSS = 0.02
"""The average precision that an export in a lower precision may lose."""

SAME, CLOSE = 0.99, 1e-3
"""Two boxes of a class are the same where they overlap by so much, and their scores differ by no more than that."""

TORCH, ONNX = "torch fp32", "onnxruntime fp32"

Runs = Callable[[Mapping[str, Any]], list[Any]]
Way = Callable[[], Finder]


@dataclass(eq=False, repr=False)
class ExportedFinder(Finder):
    """A detector whose net runs elsewhere. run: inputs by name → `OUTPUTS`; path: where it came from; engine: in words."""

    config: Config
    run: Runs = field(repr=False)
    path: Path | None = None
    engine: str = ONNX

    def found(self, images: U8, *, most: int | None = None) -> list[Detected]:
        """Return what is found, as `Finder.found` says; what is beyond the edges is cut off."""
        size = (self.policy.width, self.policy.height)
        return self._run(images, np.tile(np.array(size, np.int64), (len(images), 1)), most)

    def detections(self, looked: list[Looked], *, threshold: float | None = None, most: int | None = None) -> list[Detections]:
        """Return what is told of pictures that `looked` read; the graph itself moves boxes to their own pixels."""
        sizes = np.array([each.size for each in looked], np.int64).reshape(-1, 2)
        found = self._run(np.stack([each.pixels for each in looked]), sizes, most)
        return [self.answered(row, each.size, threshold=threshold) for row, each in zip(found, looked, strict=True)]

    def _run(self, images: U8, sizes: I64, most: int | None) -> list[Detected]:
        rows: list[Detected] = []
        asked = np.array([most or self.config.most], np.int64)
        for start in range(0, len(images), BATCH):
            part = slice(start, start + BATCH)
            given = {IMAGES: np.ascontiguousarray(images[part]), SIZES: sizes[part], MOST: asked}
            rows += _rows(*self.run(given))
        return rows


def _rows(boxes: F32, scores: F32, _probabilities: F32, classes: I64, counts: I64) -> list[Detected]:
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        raise BundleError("the net answers no numbers, but NaN or infinity", code="not-finite", hint="train it again")
    each = zip(boxes, classes, scores, counts.tolist(), strict=True)
    return [Detected(box[:n].astype(float), kind[:n], score[:n].astype(float)) for box, kind, score, n in each]


def load(path: str | Path, *, name: str = exports.GRAPH, threads: int = 0) -> ExportedFinder:
    """Return what runs an export of a detector: `name` in a bundle's folder `path`, or an .onnx file that Beholder wrote.

    threads: of the runtime within one batch; 0: as many as it thinks fit.
    Raises `UsageError` if there is nothing, `BundleError` for a damaged bundle, a graph that is not the one that was exported,
    or one that is not Beholder's.
    """
    path = Path(path)
    if path.is_file():
        return _of_file(path, threads)
    config = verified(path)
    run, _ = opened(exports.read(path, name, config), path / name, threads=threads)
    return ExportedFinder(config, run, path, f"onnxruntime {exports.precision(name)}")


def verified(path: Path) -> Config:
    """Return the config of the detector in the folder `path`, its files checked. Raises `UsageError`, `BundleError`."""
    values = format.unsealed(path)
    if values.get("kind") != format.DETECTOR:
        raise UsageError(f"{path} finds no boxes", code="no-detector", hint="beholder train on a source with boxes makes one")
    config = read(values, path)
    format.check_files(path, config.files)
    return config


def opened(data: bytes, path: Path, *, threads: int = 0) -> tuple[Runs, Mapping[str, str]]:
    """Return (run, what the graph says of itself) of a detector's graph. Raises `BundleError` (not-a-graph)."""
    try:
        session = session_of(data, threads=threads)
    except ValueError as error:
        raise _foreign(path, str(error)) from error
    names = [value.name for value in session.get_inputs()]
    if names[:1] != [IMAGES] or not set(OUTPUTS) <= {value.name for value in session.get_outputs()}:
        raise _foreign(path, "it has other inputs and outputs")
    return lambda given: list(session.run(list(OUTPUTS), dict(given))), session.get_modelmeta().custom_metadata_map


def finds_boxes(path: str | Path) -> bool:
    """Return whether a detector lies at `path`: a bundle, or the graph of one."""
    path = Path(path)
    if not path.is_file():
        return format.finds_boxes(path)
    if path.suffix != ".onnx":
        return False
    try:
        return opened(path.read_bytes(), path)[1].get("kind") == format.DETECTOR
    except (OSError, BundleError, UsageError):
        return False


def _of_file(path: Path, threads: int) -> ExportedFinder:
    try:
        run, said = opened(path.read_bytes(), path, threads=threads)
        values = {name: value for name, value in json.loads(said["beholder"]).items() if name != "schema"}
        return ExportedFinder(read(values, path), run, path, f"onnxruntime {said['precision']}")
    except OSError as error:
        raise _foreign(path, "it cannot be read") from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _foreign(path, "it does not say its classes and pixel policy") from error


def _foreign(path: Path, what: str) -> BundleError:
    hint = "make one with: beholder export NAME.beholder"
    return BundleError(f"{path} is not a detector's graph of Beholder: {what}", code="not-a-graph", hint=hint)


def sound(facts: Mapping[str, Any], config: Config) -> bool:
    """Return whether an export is of the weights that a bundle has, and was found near enough to it."""
    try:
        wrong = fault(facts["parity"], facts["precision"])
    except (KeyError, TypeError, ValueError):
        return False
    return not wrong and facts.get("of") == exports.weights(config)


def fault(parity: Mapping[str, Any], precision: str) -> str:
    """Return why an export that was compared so (as in exports.json) is not near enough to its detector, "" where it is.

    In float32 nearly all boxes have to be the same. Of lower precisions it is the average precision that counts, where true
    boxes are known; else the boxes that are told have to be told by both, as often as labels have to agree (`exports.LEAST`).
    """
    same, told = float(parity["same"]["value"]), float(parity["told"]["value"])
    if precision == "fp32":
        return "" if same >= LEAST else f"it finds {same:.2%} of the boxes as the bundle does, less than {LEAST:.1%}"
    if "ap" in parity:
        lost = float(parity["ap"]["loss"])
        return "" if lost <= LOSS else f"it loses {lost:.3f} of average precision, more than {LOSS:g}"
    least = exports.LEAST[precision]
    return "" if told >= least else f"it tells {told:.1%} of the boxes that the bundle tells, less than {least:.1%}"


def fastest_finder(
    path: str | Path, *, engine: str = "exact", trust: bool = False, probe: bool = True, threads: int = 0
) -> Finder:
    """Return what finds boxes fastest of the detector in the folder `path`, or of a single exported file, which has one way.

    engine: exact (float32 only), fast (any precision that was measured when it was exported), or the name of one such as
    "onnxruntime int8"; trust: as `engines.fastest` has it; a detector has no code of its own
    probe: try the ways where nothing is remembered, which takes some seconds; without it, onnxruntime where there is a graph
    threads: of the runtime within one batch; 0: as many as it thinks fit
    Raises `UsageError` for a name that is not among the ways, and what `load` raises.
    """
    path = Path(path)
    if path.is_file():
        found = _of_file(path, threads)
        if engine not in ("exact", "fast", found.engine):
            raise _unknown(path, engine, [found.engine])
        return found
    config = verified(path)
    ways = _ways(path, config, threads)
    if engine not in ("exact", "fast"):
        if engine not in ways:
            raise _unknown(path, engine, list(ways))
        return ways[engine]()
    chosen = {name: way for name, way in ways.items() if engine == "fast" or name.endswith("fp32")}
    if len(chosen) == 1:
        return chosen[TORCH]()
    reference = cache(chosen.pop(ONNX))
    best = pick({ONNX: reference, **chosen}, _trial(path, config, reference), tried=probe)
    if best.rates:
        events.note("engines", engine=best.name, rates=dict(sorted(best.rates.items(), key=lambda item: -item[1])))
    return best.engine


def names(path: str | Path) -> list[str]:
    """Return the engines that `fastest_finder` can take for the detector in the folder `path` here."""
    return list(_ways(Path(path), verified(Path(path)), 0))


def _unknown(path: Path, engine: str, ways: list[str]) -> UsageError:
    hint = did_you_mean(engine, ["exact", "fast", *ways])
    return UsageError(f"{path} has no engine '{engine}'", code="unknown-engine", hint=hint)


def _ways(path: Path, config: Config, threads: int) -> dict[str, Way]:
    """Return name → what makes a detector, for every way that there is here."""
    ways: dict[str, Way] = {TORCH: lambda: _torch(path, threads)}
    kept = exports.listed(path)
    graphs = [name for name in kept if name.endswith(".onnx") and sound(kept[name], config)]
    if exports.GRAPH in graphs:
        ways |= {f"onnxruntime {exports.precision(name)}": partial(load, path, name=name, threads=threads) for name in graphs}
    return ways


def _torch(path: Path, threads: int) -> Finder:
    import torch

    from beholder.bundle.detector import Detector

    if threads:
        torch.set_num_threads(threads)
    return Detector.load(path).ready()


def _trial(path: Path, config: Config, reference: Way) -> Trial[Finder]:
    """Return how engines are compared with the graph in float32."""
    images, size = _images(config), (config.pixels.width, config.pixels.height)
    wanted = cache(lambda: reference().found(images))

    def fault(name: str, engine: Finder) -> str:
        if not name.endswith("fp32"):
            return ""  # what lower precisions lose was measured when they were exported
        share = same(wanted(), [engine.own(row, size) for row in engine.found(images)])  # cut off, as the graph does
        return "" if share[0] >= LEAST * share[1] else f"{share[1] - share[0]} of {share[1]} boxes differ"

    graphs = {name: facts.get("sha256") for name, facts in exports.listed(path).items()}
    key = ["boxes", exports.weights(config), graphs, cpu.name(), cpu.threads()]
    return Trial(lambda engine: engine.found(images), fault, key, len(images), rounds=3)


def same(wanted: list[Detected], found: list[Detected], *, overlap: float = SAME, close: float = CLOSE) -> tuple[int, int]:
    """Return (how many boxes of `wanted` are in `found` too; of how many, those of the longer list of each picture).

    Two boxes of a class are the same where they overlap by `overlap`, and their scores differ by no more than `close`.
    """
    right = most = 0
    for one, other in zip(wanted, found, strict=True):
        alike = overlaps(one.corners, other.corners) >= overlap
        alike &= one.classes[:, None] == other.classes
        alike &= np.abs(one.scores[:, None] - other.scores) <= close
        right += int(alike.any(axis=1).sum())
        most += max(alike.shape)
    return right, most


def _images(config: Config) -> U8:
    """Return uint8 (BATCH, C, height, width): smooth noise, whose values the nets know from pictures."""
    channels, height, width = config.pixels.channels, config.pixels.height, config.pixels.width
    coarse = np.random.default_rng(0).integers(0, 256, (BATCH, channels, -(-height // 8), -(-width // 8)), dtype=np.uint8)
    return np.ascontiguousarray(coarse.repeat(8, 2).repeat(8, 3)[:, :, :height, :width])
