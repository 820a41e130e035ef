"""Faithfulness of a heat map: the answer with the warm places removed, and with nothing else left.

Source: Petsiuk et al., "RISE: randomized input sampling for explanation of black-box models", 2018, section 4.3.
"""

from __future__ import annotations

import numpy as np

from beholder.base.arrays import F32, U8, Integer
from beholder.bundle.bundle import Bundle

SHARE = 0.1
"""How much of a picture `covered` covers."""

ELSEWHERE = 16
"""At how many other places the same shape is put, to compare."""


def areas(bundle: Bundle, images: U8, heat: F32, classes: Integer, *, steps: int = 16) -> tuple[F32, F32]:
    """Return the areas under the deletion and the insertion curve, float32 (N,) each, in [0, 1].

    images: uint8 (N, C, H, W); heat: (N, H, W), what is judged; classes: int (N,), whose probability is followed.
    Deletion covers the warmest pixels first, with the picture's mean colour: a small area is good. Insertion uncovers them
    first: a large one is. Among pixels of equal heat the order is that of reading.
    """
    plain = np.broadcast_to(images.mean(axis=(2, 3), keepdims=True).round().astype(np.uint8), images.shape)
    order = np.argsort(np.argsort(-heat.reshape(len(heat), -1), axis=1, kind="stable"), axis=1).reshape(heat.shape)
    gone, shown = [], []
    for step in range(steps + 1):
        warm = (order < round(order[0].size * step / steps))[:, None]
        gone.append(_named(bundle, np.where(warm, plain, images), classes))
        shown.append(_named(bundle, np.where(warm, images, plain), classes))
    return _area(np.array(gone)), _area(np.array(shown))


def covered(bundle: Bundle, image: U8, heat: F32, k: int) -> dict[str, float]:
    """Return {"share", "p", "elsewhere"}: the probability of class `k` with the warmest tenth of one picture covered.

    image: uint8 (C, H, W); heat: (H, W). "elsewhere": the mean when the same shape covers other places, cyclically shifted;
    a map that found what matters has a "p" well below it.
    """
    n = round(heat.size * SHARE)
    warm = np.zeros(heat.size, bool)
    warm[np.argsort(-heat.ravel(), kind="stable")[:n]] = True
    masks = [warm.reshape(heat.shape)]
    for down, right in np.random.default_rng(0).integers(0, heat.shape, (ELSEWHERE, 2)):
        masks.append(np.roll(masks[0], (int(down), int(right)), (0, 1)))
    plain = image.mean(axis=(1, 2), keepdims=True).round().astype(np.uint8)
    p = bundle.probabilities(np.where(np.stack(masks)[:, None], plain, image), batch=8)[:, k]
    return {"share": SHARE, "p": float(p[0]), "elsewhere": float(p[1:].mean())}


def _named(bundle: Bundle, images: U8, classes: Integer) -> F32:
    own: F32 = bundle.probabilities(images)[np.arange(len(images)), classes]
    return own


def _area(curve: F32) -> F32:
    return np.asarray((curve[1:] + curve[:-1]).mean(axis=0) / 2, np.float32)
