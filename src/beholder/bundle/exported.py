"""A bundle that runs on another runtime than torch: what was exported of it, in onnxruntime or OpenVINO."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base.errors import BundleError
from beholder.bundle import exports, format, runtimes, stranger
from beholder.bundle.recogniser import Recogniser

Floats = npt.NDArray[np.float32]
Run = Callable[[npt.NDArray[np.uint8]], tuple[Floats, Floats]]
"""Maps uint8 (N, C, height, width) to logits float32 (N, K), not calibrated, and features float32 (N, F)."""


@dataclass(eq=False)
class Exported(Recogniser):
    """A recogniser whose net runs elsewhere.

    config, references: as in `Recogniser`; run: the net; path: where it came from; engine: what it runs on, in words
    """

    config: dict[str, Any]
    run: Run = field(repr=False)
    references: npt.NDArray[np.float16] | None = field(default=None, repr=False)
    path: Path | None = None
    engine: str = "onnxruntime fp32"

    def outputs(self, images: npt.NDArray[np.uint8], *, batch: int | None = None) -> tuple[Floats, Floats]:
        """Return logits float32 (N, K), not calibrated, and features float32 (N, F) for uint8 (N, C, height, width)."""
        batch = batch or 32
        found = [self.run(np.ascontiguousarray(images[start : start + batch])) for start in range(0, len(images), batch)]
        if not found:
            return np.zeros((0, len(self.classes)), np.float32), np.zeros((0, 0), np.float32)
        return np.concatenate([rows[0] for rows in found]), np.concatenate([rows[1] for rows in found])


def load(path: str | Path, *, name: str = exports.GRAPH, threads: int = 0) -> Exported:
    """Return what runs an export: `name` in a bundle's folder `path`, or an .onnx or .xml file that Beholder wrote.

    threads: of the runtime within one batch; 0: as many as it thinks fit.
    Raises `UsageError` if there is nothing, `BundleError` for a damaged bundle, a graph that is not the one that was exported,
    or one that is not Beholder's.
    """
    path = Path(path)
    if path.is_file():
        return _of_file(path, threads)
    config = format.verified(path)
    data = [exports.read(path, file, config) for file in exports.files(name)]
    engine, run, _ = opened(data, path / name, threads=threads)
    return Exported(config, run, stranger.read(path, config), path, f"{engine} {exports.precision(name)}")


def opened(data: list[bytes], path: Path, *, threads: int = 0) -> tuple[str, Run, Mapping[str, str]]:
    """Return (runtime, run, what the graph says of itself) of the bytes of an export, as `exports.files` names them."""
    runtime = runtimes.openvino if path.suffix == ".xml" else runtimes.onnx
    try:
        return runtime(data, threads=threads)
    except ValueError as error:
        raise _foreign(path, str(error)) from error


def _of_file(path: Path, threads: int) -> Exported:
    try:
        data = [path.with_name(name).read_bytes() for name in exports.files(path.name)]
    except OSError as error:
        raise _foreign(path, f"{error.filename} cannot be read") from error
    engine, run, said = opened(data, path, threads=threads)
    try:
        config = json.loads(said["beholder"])
        kept = said.get("references")
        references = None if kept is None else stranger.decoded(base64.b64decode(kept, validate=True))
        found = Exported(config, run, references, path, f"{engine} {said['precision']}")
        _ = found.classes, found.policy, found.multi
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise _foreign(path, "it does not say its classes and pixel policy") from error
    return found


def _foreign(path: Path, what: str) -> BundleError:
    return BundleError(
        f"{path} is not a graph of Beholder: {what}", code="not-a-graph", hint="make one with: beholder export NAME.beholder"
    )
