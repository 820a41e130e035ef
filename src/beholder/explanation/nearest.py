"""Explanation by examples: the training pictures that a net finds most like this one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from beholder.base.arrays import U8
from beholder.base.brief import shown
from beholder.base.records import Pictures
from beholder.bundle.bundle import Bundle
from beholder.bundle.neighbours import directions, neighbours
from beholder.measure.neighbours import nearest as nearest_rows


@dataclass(frozen=True, eq=False)
class Near:
    """One training picture: its key in the source, labels, cosine distance in [0, 2] and pixels uint8 (C, H, W)."""

    key: str
    labels: tuple[str, ...]
    distance: float
    image: U8 = field(repr=False)

    __repr__ = shown

    def json(self) -> dict[str, Any]:
        """Return {"path", "labels", "distance"}."""
        return {"path": self.key, "labels": list(self.labels), "distance": round(self.distance, 4)}


def nearest(
    bundle: Bundle, image: U8, source: str | Path | Pictures, *, count: int = 5, allow_download: bool = False
) -> tuple[Near, ...]:
    """Return the `count` training pictures nearest to `image`, uint8 (C, H, W), the nearest first.

    source: what the bundle was trained on; those of its pictures count that were in the training part, by their digests.
    allow_download: as of `scan`
    Distance is 1 - cosine between what the last layer is given, or between logits where the net has no features.
    Raises `DataError` (not-trained-on) where none of them was.
    """
    trained = {digest for digest, part in dict(bundle.splits).items() if part == "train"}
    pictures, pixels, known = neighbours(bundle, source, trained, name="this bundle", allow_download=allow_download)
    (cosines,), (rows,) = nearest_rows(directions(bundle, image[None]), known, count)
    return tuple(
        Near(str(pictures.keys[at]), pictures.labels(at), max(0.0, float(1 - cosine)), picture)
        for at, cosine, picture in zip(rows.tolist(), cosines, pixels.take(rows), strict=True)
    )
