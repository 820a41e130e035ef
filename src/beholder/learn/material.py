"""The parts of a run as it learns from them: decoded, as many pictures as there is time for, with their targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from beholder.base import events
from beholder.base.brief import shown
from beholder.base.deadline import Deadline
from beholder.base.order import stratified
from beholder.base.recipe import Recipe
from beholder.base.records import Parts, Pictures, PixelPolicy
from beholder.bundle.bundle import Bundle
from beholder.data.cache import Pixels, cached, missing
from beholder.sources.digest import digested

Bytes = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]


@dataclass
class Said:
    """Decisions and findings, said aloud as they are made and kept for the bundle."""

    notes: list[str] = field(default_factory=list)

    def __call__(self, note: str) -> None:
        """Say and keep one note."""
        events.note(note)
        self.notes.append(note)


@dataclass(frozen=True, eq=False)
class Taught:
    """What a teacher says of M training pictures.

    logits: float32 (M, V), calibrated where the teacher is, rows of NaN where it was not asked; digest: of its weights
    labels: float32 (M, K), the targets, and of pictures that have none of their own the teacher's probabilities
    plain, soft: float32 (M, K), its probabilities, as they are and at the temperature of the recipe
    """

    logits: F32
    digest: str
    labels: Tensor
    plain: Tensor
    soft: Tensor


@dataclass(frozen=True, eq=False)
class Beside:
    """What a run learns from beside the labels of its training part.

    teacher: whose probabilities are learnt, too
    own: how many pictures of the training part, its first, have labels of their own; None: all
    logits: what the teacher says of the others, float32 (N - own, V), where that is known
    allow_download: whether pictures that are to join may be fetched
    """

    teacher: Bundle | None = None
    own: int | None = None
    logits: F32 | None = None
    allow_download: bool = False


@dataclass(frozen=True, eq=False)
class Material:
    """One part, decoded: the pictures that could be read, their pixels, and targets float32 (M, K).

    taught: what a teacher says of them, where there is one
    """

    pictures: Pictures
    pixels: Pixels
    targets: Tensor
    taught: Taught | None = None

    __repr__ = shown


READING = 0.15
"""Share of the time left in which training and validation pictures are decoded: of a set that takes longer, a sample is."""


def both_decoded(
    parts: Parts, policy: PixelPolicy, recipe: Recipe, said: Said, *, until: Deadline, only: Mapping[str, Bytes] | None
) -> tuple[Material, Material]:
    """Return the training and the validation part, decoded: as many pictures of each class as there is time for."""
    time_for = Deadline() if until.none or only is not None else until.within(READING * until.left)
    found = []
    whole = len(parts.train) + len(parts.valid)
    for name, pictures in (("valid", parts.valid), ("train", parts.train)):
        share = time_for if name == "train" or time_for.none else time_for.within(time_for.left * len(pictures) / whole)
        rows = None if only is None else _rows_of(digested(pictures), only[name])
        found.append(_decoded(digested(pictures), policy, recipe, said, name=name, until=share, only=rows))
    return found[1], found[0]


def _rows_of(pictures: Pictures, digests: Bytes) -> npt.NDArray[np.int64]:
    known = {row.tobytes() for row in digests}
    assert pictures.digests is not None
    return np.array([row for row, own in enumerate(pictures.digests) if own.tobytes() in known], np.int64)


LEAST = 20
"""Pictures that are decoded whatever it takes, and two of each class."""


def _decoded(
    pictures: Pictures,
    policy: PixelPolicy,
    recipe: Recipe,
    said: Said,
    *,
    name: str,
    until: Deadline,
    only: npt.NDArray[np.int64] | None,
) -> Material:
    """Return a part, decoded: all of it, or what there is time for, or the pictures at `only`, int64 (M,)."""
    how: dict[str, Any] = {"on_bad": recipe.data.on_bad, "workers": recipe.data.workers}
    had = 0
    least = max(LEAST, 2 * len(pictures.classes)) if only is None else missing(pictures.take(only), policy)

    def enough() -> bool:
        nonlocal had
        had += 1
        return had >= least and (only is not None or until.passed)

    if only is not None:
        first = np.concatenate([only, np.setdiff1d(np.arange(len(pictures)), only)])
        pixels = cached(pictures, policy, **how, enough=enough, order=first)
        pixels = pixels.subset(np.flatnonzero(np.isin(pixels.rows, only)))
    elif until.none:
        pixels = cached(pictures, policy, **how)
    else:
        pixels = cached(pictures, policy, **how, enough=enough, order=stratified(pictures.targets))
    left = len(pictures) - len(pixels) - len(pixels.bad)
    if left:
        said(f"there is time for {len(pixels):,} of the {len(pictures):,} pictures of the part {name}: a stratified sample")
    if pixels.bad:
        said.notes.append(
            f"{len(pixels.bad)} pictures could not be read and were left out: {', '.join(bad.key for bad in pixels.bad[:5])}"
        )
    read = pixels.of(pictures)
    return Material(read, pixels, targets_of(read))


def targets_of(pictures: Pictures) -> Tensor:
    """Return float32 (N, K): one-hot rows, or multi-hot ones."""
    targets = torch.from_numpy(pictures.targets)
    return targets.float() if pictures.multi else F.one_hot(targets.long(), len(pictures.classes)).float()
