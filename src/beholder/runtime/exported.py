"""A bundle that runs on another runtime than torch: what was exported of it, in onnxruntime or OpenVINO."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from beholder.base.arrays import F16, F32, U8
from beholder.base.errors import BundleError
from beholder.bundle import format, ood
from beholder.bundle.config import Config, read
from beholder.bundle.recogniser import Recogniser
from beholder.runtime import exports, sessions
from beholder.runtime.sessions import Opened, Run
from beholder.tasks import check


@dataclass(eq=False, repr=False)
class Exported(Recogniser):
    """A model whose net runs elsewhere.

    config, references: as in `Recogniser`; run: the net; path: where it came from; engine: what it runs on, in words
    """

    config: Config
    run: Run = field(repr=False)
    references: F16 | None = field(default=None, repr=False)
    path: Path | None = None
    engine: str = "onnxruntime fp32"

    def outputs(self, images: U8, *, batch: int | None = None) -> tuple[F32, F32]:
        """Return logits float32 (N, W), not calibrated, and features float32 (N, F) for uint8 (N, C, height, width)."""
        batch = batch or 32
        found = [self.run(np.ascontiguousarray(images[start : start + batch])) for start in range(0, len(images), batch)]
        if not found:
            return np.zeros((0, self.width), np.float32), np.zeros((0, 0), np.float32)
        return np.concatenate([rows[0] for rows in found]), np.concatenate([rows[1] for rows in found])


def load(path: str | Path, *, name: str = exports.GRAPH, threads: int = 0, hint: str = "", trust: bool = False) -> Exported:
    """Return what runs an export: `name` in a bundle's folder `path`, or an .onnx or .xml file that Beholder wrote.

    threads: of the runtime within one batch; 0: as many as it thinks fit; hint: run a graph of a folder on OpenVINO, for
    pictures of the net's own size, computing in f32 or bf16; trust: also take a task of your own (`module:name`).
    Raises `UsageError` if there is nothing, `BundleError` for a damaged bundle, a graph that is not the one that was exported,
    or one that is not Beholder's.
    """
    path = Path(path)
    if path.is_file():
        return _of_file(path, threads, trust)
    config = format.verified(path)
    check(config.task, trust=trust)
    data = [exports.read(path, file, config) for file in exports.files(name)]
    precision = exports.precision(name)
    if hint:
        size = (config.pixels.height, config.pixels.width)
        engine, run, _ = sessions.openvino(data, hint=hint, size=size, threads=threads)
        precision = precision if hint == "f32" else hint
    else:
        engine, run, _ = opened(data, path / name, threads=threads)
    return Exported(config, run, ood.read(path, config), path, f"{engine} {precision}")


def opened(data: list[bytes], path: Path, *, threads: int = 0) -> Opened:
    """Return (runtime, run, what the graph says of itself) of the bytes of an export, as `exports.files` names them."""
    runtime = sessions.openvino if path.suffix == ".xml" else sessions.onnx
    try:
        return runtime(data, threads=threads)
    except ValueError as error:
        raise _foreign(path, str(error)) from error


def _of_file(path: Path, threads: int, trust: bool) -> Exported:
    try:
        data = [path.with_name(name).read_bytes() for name in exports.files(path.name)]
    except OSError as error:
        raise _foreign(path, f"{error.filename} cannot be read") from error
    engine, run, said = opened(data, path, threads=threads)
    try:
        config = read(json.loads(said["beholder"]), path)
        check(config.task, trust=trust)
        kept = said.get("references")
        references = None if kept is None else ood.decoded(base64.b64decode(kept, validate=True))
        return Exported(config, run, references, path, f"{engine} {said['precision']}")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise _foreign(path, "it does not say its classes and pixel policy") from error


def _foreign(path: Path, what: str) -> BundleError:
    return BundleError(
        f"{path} is not a graph of Beholder: {what}", code="not-a-graph", hint="make one with: beholder export NAME.beholder"
    )
