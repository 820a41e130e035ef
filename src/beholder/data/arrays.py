"""A source as plain arrays, for your own training code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from beholder import image
from beholder.base import events
from beholder.base.arrays import U8, Values
from beholder.base.errors import PictureError
from beholder.base.fields import DataRecipe
from beholder.base.records import PARTS, Pictures, PixelPolicy
from beholder.data.split import split
from beholder.data.survey import choose_policy, survey
from beholder.image.sandbox import decoders
from beholder.sources import scan

Set = tuple[U8, Values]

_CHUNK = 256


def arrays(
    source: str | Path | tuple[Any, Any], *, size: int = 0, seed: int = 0, allow_download: bool = False
) -> tuple[Set, Set]:
    """Return ((x_train, y_train), (x_test, y_test)), decoded.

    x: uint8 (N, H, W) where the pictures are grey, else (N, H, W, 3); y: int64 (N,), or uint8 (N, K) for a multi-label source
    size: pixels of both sides; 0: chosen from the pictures. The source's own test part is used if it has one (train is then all
    the rest), else 15 % of each class. Pictures that cannot be read are left out with a warning.
    allow_download: fetch a source that is not on this machine

    >>> ((x_train, y_train), (x_test, y_test)) = arrays("fashion-mnist.zip")  # doctest: +SKIP
    """
    pictures = scan(source, allow_download=allow_download)
    policy, reason = choose_policy(survey(pictures, seed=seed), DataRecipe(size=size))
    events.note(reason)
    held = pictures.parts == PARTS.index("test")
    if held.any() and not held.all():
        train, test = pictures.take(np.flatnonzero(~held)), pictures.take(np.flatnonzero(held))
    else:
        parts = split(pictures, seed=seed, val=0.0, test=0.15)
        train, test = parts.train, parts.test
    return _decoded(train, policy, "train"), _decoded(test, policy, "test")


def _decoded(pictures: Pictures, policy: PixelPolicy, part: str) -> Set:
    x = np.empty((len(pictures), policy.height, policy.width, policy.channels), np.uint8)
    bad: list[int] = []

    def fill(start: int) -> None:
        for i in range(start, min(start + _CHUNK, len(pictures))):
            try:
                x[i] = image.load(pictures.store.read(pictures.keys[i]), policy).transpose(1, 2, 0)
            except PictureError:
                bad.append(i)

    with decoders() as (pool, _):
        for done, _ in enumerate(pool.map(fill, range(0, len(pictures), _CHUNK)), start=1):
            events.progress(f"decoding {part}", min(done * _CHUNK, len(pictures)), len(pictures))
    y: Values = pictures.targets
    if bad:
        names = ", ".join(pictures.keys[i] for i in sorted(bad)[:3])
        events.warn(f"{len(bad):,} pictures of {part} cannot be read and were left out: {names}", code="unreadable")
        x, y = np.delete(x, bad, axis=0), np.delete(y, bad, axis=0)
    return (x[..., 0] if policy.channels == 1 else x), y
