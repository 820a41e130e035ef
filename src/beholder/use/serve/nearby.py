"""The training pictures that a net finds most like a new one: an index made once, when the server starts."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base import events
from beholder.base.errors import DataError, PictureError
from beholder.base.records import Pictures
from beholder.bundle.recogniser import Recogniser
from beholder.data.cache import cached
from beholder.data.digest import digested
from beholder.data.encode import thumbnail
from beholder.data.image import load
from beholder.data.limits import Limits
from beholder.data.sources import scan

MOST = 5000
"""Training pictures in an index, at most: a random sample of a larger set, of which a note says so."""

SIDE = 160
"""Pixels of the longer side of a training picture that is shown."""

COUNT = 5
_CHUNK = 256

Floats = npt.NDArray[np.float32]


class Nearby:
    """Training pictures by what the net says of them. len(): how many."""

    def __init__(self, recogniser: Recogniser, pictures: Pictures, directions: Floats) -> None:
        """pictures: those of the index, with digests; directions: float32 (N, F), rows of length 1."""
        self._recogniser = recogniser
        self._pictures = pictures
        self._directions = directions

    def __len__(self) -> int:
        return len(self._directions)

    def like(self, data: bytes, *, limits: Limits, count: int = COUNT) -> list[dict[str, Any]]:
        """Return {"digest", "labels", "similarity", "image"} of the training pictures most like `data`, an encoded picture.

        The most like first. similarity: cosine between features, in [-1, 1]; image: a data URI of at most `SIDE` pixels a side,
        left out where the file is gone. Raises `PictureError`.
        """
        image = load(data, self._recogniser.policy, limits=limits)
        own = _directions(self._recogniser.outputs(image[None])[1])
        similar = self._directions @ own[0]
        return [self._one(row, float(similar[row])) for row in np.argsort(-similar, kind="stable")[:count].tolist()]

    def _one(self, row: int, similarity: float) -> dict[str, Any]:
        assert self._pictures.digests is not None
        found = {
            "digest": self._pictures.digests[row].tobytes().hex(),
            "labels": list(self._pictures.labels(row)),
            "similarity": round(similarity, 4),
        }
        try:
            made, kind = thumbnail(self._pictures.store.read(self._pictures.keys[row]), side=SIDE)
        except PictureError:
            return found
        return {**found, "image": f"data:image/{kind};base64,{base64.b64encode(made).decode()}"}


def indexed(recogniser: Recogniser, bundle: Path, source: str | Path) -> Nearby:
    """Return the index of the pictures of `source` that `bundle`, a folder, was trained on.

    Raises `DataError` (not-trained-on) where none of them was, and what `scan` raises.
    """
    pictures = digested(scan(source))
    known = _trained_on(bundle)
    digests = pictures.digests if pictures.digests is not None else np.zeros((0, 32), np.uint8)
    rows = np.flatnonzero(np.array([row.tobytes().hex() in known for row in digests], bool))
    if not len(rows):
        raise DataError(
            f"no picture of {pictures.store.name} was in the training part of {bundle.name}",
            code="not-trained-on",
            hint="--like takes the source that the bundle was trained on",
        )
    if len(rows) > MOST:
        events.note(f"of {len(rows)} training pictures a random {MOST} are compared")
        rows = np.sort(np.random.default_rng(0).permutation(rows)[:MOST])
    pixels = cached(pictures.take(rows), recogniser.policy, on_bad="skip")
    chunks = [np.arange(at, min(at + _CHUNK, len(pixels))) for at in range(0, len(pixels), _CHUNK)]
    found = [_directions(recogniser.outputs(pixels.take(chunk))[1]) for chunk in chunks]
    return Nearby(recogniser, pictures.take(rows[pixels.rows]), np.concatenate(found))


def indexes(recognisers: Mapping[str, Recogniser], paths: Mapping[str, Path], source: str | None) -> dict[str, Nearby]:
    """Return the index of `source` for each bundle that was trained on it, by name. Raises `DataError` where none was."""
    found: dict[str, Nearby] = {}
    refused: DataError | None = None
    for name, recogniser in recognisers.items() if source is not None else ():
        try:
            found[name] = indexed(recogniser, paths[name], str(source))
        except DataError as error:
            if error.code != "not-trained-on":
                raise
            refused = error
    if refused is not None and not found:
        raise refused
    return found


def _trained_on(bundle: Path) -> Set[str]:
    """Return the digests of the training part, as hexadecimal digits; none where the bundle does not say."""
    path = bundle / "splits.csv"
    if not path.is_file():
        return frozenset()
    return {row[0] for row in csv.reader(io.StringIO(path.read_text("utf-8"))) if row[1:] == ["train"]}


def _directions(features: Floats) -> Floats:
    """Return rows of length 1, (N, F)."""
    return np.asarray(features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12), np.float32)
