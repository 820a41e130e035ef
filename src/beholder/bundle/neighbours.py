"""Nearest training pictures of a bundle, by the features of its net."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

import numpy as np

from beholder.base import events
from beholder.base.arrays import F32, U8
from beholder.base.errors import DataError
from beholder.base.records import Pictures
from beholder.bundle.recogniser import Recogniser
from beholder.data.cache import Pixels, cached
from beholder.measure.neighbours import unit
from beholder.sources import scan
from beholder.sources.digest import digested

MOST = 5000
"""Training pictures that are compared, at most: a random sample of a larger set, of which a note says so."""

CHUNK = 512
"""Pictures whose pixels are read at once."""


def neighbours(
    recogniser: Recogniser,
    source: str | Path | Pictures,
    trained: Set[str],
    *,
    name: str,
    allow_download: bool = False,
) -> tuple[Pictures, Pixels, F32]:
    """Return the pictures of `source` that were trained on and can be read, their pixels, and their directions (N, F).

    trained: SHA-256 of the files of the training part, as hexadecimal digits; name: what an error calls the bundle
    allow_download: as of `scan`
    Raises `DataError` (not-trained-on) where none of them was, and what `scan` raises.
    """
    pictures = digested(source if isinstance(source, Pictures) else scan(source, labels=None, allow_download=allow_download))
    rows = np.flatnonzero(np.array([row in trained for row in pictures.hexdigests], bool))
    if not len(rows):
        text = f"no picture of {pictures.store.name} was in the training part of {name}"
        hint = "--like takes the source that the bundle was trained on"
        raise DataError(text, code="not-trained-on", hint=hint)
    if len(rows) > MOST:
        events.note(f"of {len(rows)} training pictures a random {MOST} are compared")
        rows = np.sort(np.random.default_rng(0).permutation(rows)[:MOST])
    pixels = cached(pictures.take(rows), recogniser.policy, on_bad="skip")
    chunks = [np.arange(at, min(at + CHUNK, len(pixels))) for at in range(0, len(pixels), CHUNK)]
    found = np.concatenate([directions(recogniser, pixels.take(chunk)) for chunk in chunks])
    return pictures.take(rows[pixels.rows]), pixels, found


def directions(recogniser: Recogniser, images: U8) -> F32:
    """Return the features of images uint8 (N, C, H, W) as rows of length 1, float32 (N, F)."""
    return unit(recogniser.outputs(images)[1])
