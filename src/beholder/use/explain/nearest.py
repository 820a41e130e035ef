"""Explanation by examples: the training pictures that a net finds most like this one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base import events
from beholder.base.errors import DataError
from beholder.base.records import Pictures
from beholder.bundle.bundle import Bundle
from beholder.data.cache import cached
from beholder.data.digest import digested
from beholder.data.sources import scan

MOST = 5000
"""Training pictures that are compared, at most: a random sample of a larger set, of which a note says so."""

_CHUNK = 512


@dataclass(frozen=True, eq=False)
class Near:
    """One training picture: its key in the source, labels, cosine distance in [0, 2] and pixels uint8 (C, H, W)."""

    key: str
    labels: tuple[str, ...]
    distance: float
    image: npt.NDArray[np.uint8] = field(repr=False)

    def json(self) -> dict[str, Any]:
        """Return {"path", "labels", "distance"}."""
        return {"path": self.key, "labels": list(self.labels), "distance": round(self.distance, 4)}


def nearest(bundle: Bundle, image: npt.NDArray[np.uint8], source: str | Path | Pictures, *, count: int = 5) -> tuple[Near, ...]:
    """Return the `count` training pictures nearest to `image`, uint8 (C, H, W), the nearest first.

    source: what the bundle was trained on; those of its pictures count that were in the training part, by their digests.
    Distance is 1 - cosine between what the last layer is given, or between logits where the net has no features.
    Raises `DataError` (not-trained-on) where none of them was.
    """
    pictures = digested(source if isinstance(source, Pictures) else scan(source))
    parts = bundle.part_of([row.tobytes().hex() for row in pictures.digests]) if pictures.digests is not None else []
    rows = np.flatnonzero(np.array([part == "train" for part in parts], bool))
    if not len(rows):
        raise DataError(
            f"no picture of {pictures.store.name} was in the training part of this bundle",
            code="not-trained-on",
            hint="--like takes the source that the bundle was trained on",
        )
    if len(rows) > MOST:
        events.note(f"of {len(rows)} training pictures a random {MOST} are compared")
        rows = np.sort(np.random.default_rng(0).permutation(rows)[:MOST])
    pictures = pictures.take(rows)
    pixels = cached(pictures, bundle.policy, on_bad="skip")
    own = _directions(bundle.outputs(image[None])[1])
    chunks = [np.arange(at, min(at + _CHUNK, len(pixels))) for at in range(0, len(pixels), _CHUNK)]
    distance = np.concatenate([1 - (_directions(bundle.outputs(pixels.take(rows))[1]) @ own.T)[:, 0] for rows in chunks])
    first = np.argsort(distance, kind="stable")[:count]
    shown = pixels.take(first)
    kept = pixels.rows[first].tolist()
    return tuple(
        Near(str(pictures.keys[row]), pictures.labels(row), max(0.0, float(distance[at])), picture)
        for row, at, picture in zip(kept, first.tolist(), shown, strict=True)
    )


def _directions(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return rows of length 1, (N, F)."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(length, 1e-12), np.float32)
