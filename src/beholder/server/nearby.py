"""Nearest training pictures of a new one: an index built once, when the server starts."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

from beholder.base.arrays import F32
from beholder.base.errors import DataError, PictureError, UsageError
from beholder.base.limits import Limits
from beholder.base.records import Pictures
from beholder.bundle.finder import Finder
from beholder.bundle.neighbours import directions, neighbours
from beholder.bundle.recogniser import Recogniser
from beholder.image import load
from beholder.image.encode import thumbnail
from beholder.measure.neighbours import nearest

SIDE = 160
"""Pixels of the longer side of a training picture that is shown."""

COUNT = 5


class Nearby:
    """Training pictures by what the net says of them. len(): how many."""

    def __init__(self, recogniser: Recogniser, pictures: Pictures, known: F32) -> None:
        """pictures: those of the index, with digests; known: their directions, float32 (N, F)."""
        self._recogniser = recogniser
        self._pictures = pictures
        self._directions = known

    def __len__(self) -> int:
        return len(self._directions)

    def like(self, data: bytes, *, limits: Limits, count: int = COUNT) -> list[dict[str, Any]]:
        """Return {"digest", "labels", "similarity", "image"} of the training pictures most like `data`, an encoded picture.

        The most like first. similarity: cosine between features, in [-1, 1]; image: a data URI of at most `SIDE` pixels a side,
        left out where the file is gone. Raises `PictureError`.
        """
        image = load(data, self._recogniser.policy, limits=limits)
        (cosines,), (rows,) = nearest(directions(self._recogniser, image[None]), self._directions, count)
        return [self._one(row, cosine) for row, cosine in zip(rows.tolist(), cosines.tolist(), strict=True)]

    def _one(self, row: int, similarity: float) -> dict[str, Any]:
        assert self._pictures.digests is not None
        found = {
            "digest": self._pictures.digests[row].tobytes().hex(),
            "labels": list(self._pictures.labels(row)),
            "similarity": round(similarity, 4),
        }
        try:
            made, kind = thumbnail(
                self._pictures.store.read(self._pictures.keys[row]), side=SIDE, bits=self._pictures.bits or 0
            )
        except PictureError:
            return found
        return {**found, "image": f"data:image/{kind};base64,{base64.b64encode(made).decode()}"}


def indexed(recogniser: Recogniser, bundle: Path, source: str | Path, *, allow_download: bool = False) -> Nearby:
    """Return the index of the pictures of `source` that `bundle`, a folder, was trained on; allow_download: as of `scan`.

    Raises `DataError` (not-trained-on) where none of them was, and what `scan` raises.
    """
    pictures, _, found = neighbours(recogniser, source, _trained_on(bundle), name=bundle.name, allow_download=allow_download)
    return Nearby(recogniser, pictures, found)


def indexes(
    recognisers: Mapping[str, Recogniser | Finder],
    paths: Mapping[str, Path],
    source: str | None,
    *,
    allow_download: bool = False,
) -> dict[str, Nearby]:
    """Return the index of `source` for each bundle of labels that was trained on it, by name; allow_download: as of `scan`.

    Raises `DataError` where none was, `UsageError` (no-labels) where none tells labels.
    """
    found: dict[str, Nearby] = {}
    refused: DataError | None = None
    labelling = {name: each for name, each in recognisers.items() if not isinstance(each, Finder)}
    if source is not None and not labelling:
        hint = "leave --like away"
        raise UsageError("nearest pictures are shown of labels, and these models find boxes", code="no-labels", hint=hint)
    for name, recogniser in labelling.items() if source is not None else ():
        try:
            found[name] = indexed(recogniser, paths[name], str(source), allow_download=allow_download)
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
    parts = dict(row for row in csv.reader(io.StringIO(path.read_text("utf-8"))) if len(row) == 2)
    return {digest for digest, part in parts.items() if part == "train"}
