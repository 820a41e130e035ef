"""A bundle that runs without torch: its ONNX graph in onnxruntime."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base.errors import BundleError, UsageError
from beholder.bundle import exports, format, stranger
from beholder.bundle.recogniser import Recogniser

Floats = npt.NDArray[np.float32]


@dataclass(eq=False)
class Exported(Recogniser):
    """A recogniser whose net is an ONNX graph.

    config, references: as in `Recogniser`; session: an onnxruntime `InferenceSession`; path: where the graph came from
    """

    config: dict[str, Any]
    session: Any = field(repr=False)
    references: npt.NDArray[np.float16] | None = field(default=None, repr=False)
    path: Path | None = None

    def outputs(self, images: npt.NDArray[np.uint8], *, batch: int = 32) -> tuple[Floats, Floats]:
        """Return logits float32 (N, K), not calibrated, and features float32 (N, F) for uint8 (N, C, height, width)."""
        parts = [images[start : start + batch] for start in range(0, len(images), batch)]
        found = [self.session.run(["logits", "features"], {"images": np.ascontiguousarray(part)}) for part in parts]
        if not found:
            return np.zeros((0, len(self.classes)), np.float32), np.zeros((0, 0), np.float32)
        return np.concatenate([rows[0] for rows in found]), np.concatenate([rows[1] for rows in found])


def load(path: str | Path, *, threads: int = 0) -> Exported:
    """Return what runs the graph at `path`: a bundle's folder that has a `model.onnx`, or an .onnx file that Beholder wrote.

    threads: of onnxruntime within one picture; 0: as many as it thinks fit.
    Raises `UsageError` if there is nothing, `BundleError` for a damaged bundle, a graph that is not the one that was exported,
    or one that is not Beholder's.
    """
    path = Path(path)
    if path.is_file():
        return _of_file(path, threads)
    config = format.verified(path)
    session = _session(exports.read(path, exports.GRAPH, config), path / exports.GRAPH, threads)
    return Exported(config, session, stranger.read(path, config), path)


def _of_file(path: Path, threads: int) -> Exported:
    session = _session(path.read_bytes(), path, threads)
    said = session.get_modelmeta().custom_metadata_map
    try:
        config = json.loads(said["beholder"])
        kept = said.get("references")
        references = None if kept is None else stranger.decoded(base64.b64decode(kept, validate=True))
        found = Exported(config, session, references, path)
        _ = found.classes, found.policy, found.multi
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise _foreign(path, "it does not say its classes and pixel policy") from error
    return found


def _session(data: bytes, path: Path, threads: int) -> Any:
    """Return an onnxruntime session for a graph; raise `BundleError` where it cannot be run."""
    try:
        import onnxruntime
    except ImportError as error:
        hint = "pip install onnxruntime"
        raise UsageError("onnxruntime is not installed", code="needs-extra", hint=hint) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise _foreign(path, f"onnxruntime refuses it ({type(error).__name__})") from error
    names = {value.name for value in session.get_outputs()}
    if [value.name for value in session.get_inputs()] != ["images"] or not {"logits", "features"} <= names:
        raise _foreign(path, "it has other inputs and outputs")
    return session


def _foreign(path: Path, what: str) -> BundleError:
    return BundleError(
        f"{path} is not a graph of Beholder: {what}", code="not-a-graph", hint="make one with: beholder export NAME.beholder"
    )
