"""What a bundle keeps to know strangers by: features of its own pictures, a threshold, and how strange its own pictures are."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from beholder.base.errors import BundleError
from beholder.base.files import file_sha256, sha256
from beholder.measure import strangers

if TYPE_CHECKING:
    from beholder.bundle.bundle import Bundle
    from beholder.bundle.recogniser import Recogniser

FILE = "references.npy"

DEFAULT = "knn"
"""The score by which `predict` calls a picture a stranger: the best on validation pictures of TrashNet beside the
built-in strangers (docs/HONESTY.md)."""

ACCEPT = 0.95
ROWS = 2000
BYTES = 4 << 20
"""At most so many references, and so many bytes of them."""

FEWEST = 20
"""Below this many validation pictures a threshold for one in twenty means nothing."""

LEVELS = 101

Floats = npt.NDArray[np.float32]


def keep(bundle: Bundle, logits: Floats, features: Floats, *, seed: int = 0) -> None:
    """Fit on validation pictures what tells strangers, into `bundle.config["strangers"]` and `bundle.references`.

    logits: float32 (N, K), not calibrated; features: float32 (N, F). At most `ROWS` rows and `BYTES` bytes of the features are
    kept, as float16. Every picture is scored without itself among the references. With fewer than `FEWEST` nothing is kept.
    """
    bundle.config.pop("strangers", None)
    bundle.references = None
    if len(logits) < FEWEST or not np.isfinite(features).all() or not np.isfinite(logits).all():
        return
    order = np.random.default_rng(seed).permutation(len(features))
    order = order[: max(1, min(ROWS, BYTES // (2 * features.shape[1])))]
    references = (features[order] / _lengths(features[order])).astype(np.float16)
    found = {
        "energy": strangers.energy(logits, multi=bundle.multi),
        "softmax": strangers.softmax(logits, multi=bundle.multi),
        "knn": strangers.knn(features, references),
    }
    found["knn"][order] = strangers.knn(references, references, itself=True)
    levels = np.linspace(0, 1, LEVELS)
    bundle.references = references
    bundle.config["strangers"] = {
        "score": DEFAULT,
        "accept": ACCEPT,
        "n": len(logits),
        "references": {"rows": len(references), "sha256": sha256(encoded(references))},
        "thresholds": {name: strangers.threshold(scores, accept=ACCEPT) for name, scores in found.items()},
        "levels": np.quantile(found[DEFAULT], levels).tolist(),
    }


def scores(bundle: Recogniser, logits: Floats, features: Floats) -> dict[str, npt.NDArray[np.float64]]:
    """Return score → float64 (N,), the larger the stranger; `knn` only where the bundle has references."""
    found = {
        "energy": strangers.energy(logits, multi=bundle.multi),
        "softmax": strangers.softmax(logits, multi=bundle.multi),
    }
    return found if bundle.references is None else {**found, "knn": strangers.knn(features, bundle.references)}


def judged(
    bundle: Recogniser, logits: Floats, features: Floats
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]] | None:
    """Return whether each picture is a stranger, bool (N,), and how strange, float64 (N,) in 0..1; None where not fitted.

    How strange: the share of validation pictures that are less strange, so a stranger has more than `accept`.
    """
    kept = bundle.config.get("strangers")
    if kept is None or bundle.references is None:
        return None
    found = scores(bundle, logits, features)[kept["score"]]
    levels = np.asarray(kept["levels"])
    strange = found > kept["thresholds"][kept["score"]]
    share = np.searchsorted(levels, found, side="left") / len(levels)
    return strange, np.where(strange, np.maximum(share, kept["accept"]), np.minimum(share, kept["accept"]))


def read(path: Path, config: Mapping[str, Any]) -> npt.NDArray[np.float16] | None:
    """Return the references of the bundle in the folder `path`; None where its config names none.

    Raises `BundleError` if the file is not the one that the config names.
    """
    if "strangers" not in config:
        return None
    file = path / FILE
    if not file.is_file() or file_sha256(file) != config["strangers"]["references"]["sha256"]:
        hint = "copy it again from where it was made, or train again"
        raise BundleError(f"{path} is damaged: {FILE} is missing or was changed", code="damaged", hint=hint)
    return decoded(file.read_bytes())


def encoded(references: npt.NDArray[np.float16]) -> bytes:
    """Return the references as the bytes of an .npy file."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, references, allow_pickle=False)
    return buffer.getvalue()


def decoded(data: bytes) -> npt.NDArray[np.float16]:
    """Return references from the bytes of an .npy file; raise `ValueError` for anything but a float16 table."""
    table = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    if table.dtype != np.float16 or table.ndim != 2:
        raise ValueError(f"{FILE} holds {table.dtype} of {table.ndim} dimensions")
    found: npt.NDArray[np.float16] = table
    return found


def _lengths(rows: Floats) -> Floats:
    return np.asarray(np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)
