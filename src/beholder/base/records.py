"""Records that rooms hand to each other: pictures, parts, pixel policy, scores, guesses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from beholder.base.names import Names

PARTS = ("train", "valid", "test")
"""Names of the parts; `Pictures.parts` holds their indices, -1 where the source gives none."""


class Store(Protocol):
    """Where a source keeps its pictures. Safe to read from several threads at once."""

    @property
    def name(self) -> str:
        """Return what to call the source in messages: its path, or "arrays"."""

    def read(self, key: str) -> bytes | npt.NDArray[np.generic]:
        """Return the encoded file, or an array (H, W) or (H, W, C); raise `PictureError` if it cannot be had."""

    def stamp(self, key: str) -> str:
        """Return a cheap identity that changes when the bytes do (size and mtime, CRC); "" if there is none."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """A table of labelled pictures; no pixels are held.

    keys:    N names of pictures inside the store, such as "rust/a.jpg"
    targets: int64 (N,) class indices, or uint8 (N, K) multi-hot for a multi-label source
    classes: K class names in the order of the targets
    parts:   int8 (N,) index into `PARTS`, -1 where not given
    groups:  int64 (N,) pictures of one person, patient or plate share a number; -1 = none
    digests: uint8 (N, 32) SHA-256 of each file's bytes, or None before it was computed
    notes:   what scanning left out or found odd, in sentences
    """

    store: Store
    keys: Sequence[str]
    targets: npt.NDArray[np.int64] | npt.NDArray[np.uint8]
    classes: tuple[str, ...]
    parts: npt.NDArray[np.int8]
    groups: npt.NDArray[np.int64]
    digests: npt.NDArray[np.uint8] | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def multi(self) -> bool:
        """Return True where a picture may carry several labels."""
        return self.targets.ndim == 2

    def take(self, indices: npt.NDArray[np.integer]) -> Pictures:
        """Return the rows at `indices` (int (M,)), in that order."""
        return replace(
            self,
            keys=self.keys.take(indices) if isinstance(self.keys, Names) else [self.keys[i] for i in indices.tolist()],
            targets=self.targets[indices],
            parts=self.parts[indices],
            groups=self.groups[indices],
            digests=None if self.digests is None else self.digests[indices],
        )

    def labels(self, index: int) -> tuple[str, ...]:
        """Return the class names of one picture; exactly one unless `multi`."""
        row = self.targets[index]
        return tuple(self.classes[int(k)] for k in np.flatnonzero(row)) if self.multi else (self.classes[int(row)],)

    def counts(self) -> npt.NDArray[np.int64]:
        """Return how many pictures carry each class: int64 (K,)."""
        if self.multi:
            summed: npt.NDArray[np.int64] = self.targets.sum(axis=0, dtype=np.int64)
            return summed
        counted: npt.NDArray[np.int64] = np.bincount(self.targets, minlength=len(self.classes)).astype(np.int64)
        return counted


@dataclass(frozen=True)
class Parts:
    """The three parts of a split; every picture is in exactly one."""

    train: Pictures
    valid: Pictures
    test: Pictures

    def items(self) -> tuple[tuple[str, Pictures], ...]:
        """Return (name, pictures) of the three parts in the order of `PARTS`."""
        return (("train", self.train), ("valid", self.valid), ("test", self.test))


@dataclass(frozen=True)
class PixelPolicy:
    """How any picture becomes the uint8 tensor (channels, height, width) that a net is given.

    fit:        squash (both sides scaled), pad (letter-box on `background`), crop (short side scaled, centre kept)
    background: RGB in 0..255 under transparent pixels and beside letter-boxed ones
    """

    height: int
    width: int
    channels: int = 3
    fit: str = "squash"
    background: tuple[int, int, int] = (255, 255, 255)

    def json(self) -> dict[str, object]:
        """Return the policy as plain JSON values."""
        return {**asdict(self), "background": list(self.background)}


@dataclass(frozen=True)
class Bad:
    """One picture that could not be used: its key, a reason code and a sentence."""

    key: str
    code: str
    message: str


@dataclass(frozen=True)
class Finding:
    """What one check of the audit found at one picture, or at the whole set.

    picture:    its key; "" where the finding is about a class or the set
    check:      the name of the check, such as "dark"
    score:      in [0, 1], 1 = surely at fault; at or above the check's limit, or it would be no finding
    verdict:    a sentence for a person
    suggestion: keep | drop | relabel:CLASS
    other:      the key of the picture that it is a twin of, or ""
    decided:    what a person decided about the picture, in the words of `suggestion`; "" = nothing yet
    """

    picture: str
    check: str
    score: float
    verdict: str
    suggestion: str = "keep"
    other: str = ""
    decided: str = ""


@dataclass(frozen=True)
class Score:
    """A measured value with its 95 % interval [low, high] and the number of pictures behind it."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        value = "-" if self.value != self.value else f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"
        return f"{value} (n={self.n})"

    def json(self) -> dict[str, float | int | None]:
        """Return {"value", "low", "high", "n"}; a value that is undefined (NaN) is None."""
        return {k: (None if v != v else v) for k, v in asdict(self).items()}


@dataclass(frozen=True, repr=False)
class Guess:
    """What a recogniser says of one picture.

    label:         the most probable class; for multi-label the classes above their threshold, joined with ";"
    p:             its probability in [0, 1]; for multi-label the smallest of theirs, or, where no class is named,
                   1 less the largest
    probabilities: class name → probability
    abstain:       whether the recogniser is less sure than its operating point asks for; None where it has none
    positive:      whether the class of the operating point reaches its threshold; None where there is none
    set:           the classes that hold the right one as often as was promised; None where nothing was
    """

    label: str
    p: float
    probabilities: dict[str, float]
    abstain: bool | None = None
    positive: bool | None = None
    set: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        beyond = {"abstain": self.abstain, "positive": self.positive, "set": self.set}
        said = "".join(f", {name}={value}" for name, value in beyond.items() if value is not None)
        return f"Guess(label={self.label!r}, p={self.p}{said})"
