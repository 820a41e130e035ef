"""Records passed between packages: pictures, parts, pixel policy, scores, predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from beholder.base.arrays import I8, I64, U8, Integer
from beholder.base.boxes import Boxes
from beholder.base.brief import cut, listed, short, shown, within
from beholder.base.display import Given, html
from beholder.base.errors import DataError
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
        """Return a cheap identity that changes when the bytes do; "" if there is none.

        Of a file it is `base.files.identity`: size and mtime alone let another file take its place unseen.
        """


@dataclass(frozen=True, eq=False)
class Pictures:
    """A table of pictures, with labels or without; no pixels are held.

    keys:    N names of pictures inside the store, such as "rust/a.jpg"
    targets: int64 (N,) class indices, or uint8 (N, K) multi-hot for a multi-label source; of pictures without labels K is 0
    classes: K class names in the order of the targets
    parts:   int8 (N,) index into `PARTS`, -1 where not given
    groups:  int64 (N,) pictures of one person, patient or plate share a number; -1 = none
    digests: uint8 (N, 32) SHA-256 of each file's bytes, or None before it was computed
    notes:   what scanning left out or found odd, in sentences
    bits:    how many the whole numbers of deep pictures use in this set (`PixelPolicy.bits`), or None before it was measured
    boxes:   where what the labels name is in each picture, where the source says it; None: it does not
    """

    store: Store
    keys: Sequence[str]
    targets: I64 | U8
    classes: tuple[str, ...]
    parts: I8
    groups: I64
    digests: U8 | None = None
    notes: tuple[str, ...] = ()
    bits: int | None = None
    boxes: Boxes | None = None

    def __repr__(self) -> str:
        if not self.labelled:
            return within("Pictures", [f"{len(self):,} without labels", cut(self.store.name)])
        return within(
            "Pictures", [f"{len(self):,} of {len(self.classes):,} classes: {listed(self.classes)}", cut(self.store.name)]
        )

    _repr_html_ = html

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def labelled(self) -> bool:
        """Return False for a source without labels: `predict`, `explain` and `audit` take it, training and scores do not."""
        return bool(self.classes)

    def with_labels(self) -> Pictures:
        """Return these pictures. Raises `DataError` (no-labels) where they have none."""
        if not self.labelled:
            text = f"the {len(self):,} pictures of {self.store.name} have no labels"
            hint = "put the pictures of each class into a folder named after it, or add a CSV with path,label"
            raise DataError(text, code="no-labels", hint=hint)
        return self

    @property
    def multi(self) -> bool:
        """Return True where a picture may carry several labels."""
        return self.targets.ndim == 2

    @property
    def hexdigests(self) -> list[str]:
        """Return the digests as 64 hexadecimal digits each; none where there are none."""
        return [] if self.digests is None else [row.tobytes().hex() for row in self.digests]

    def take(self, indices: Integer) -> Pictures:
        """Return the rows at `indices` (int (M,)), in that order."""
        return replace(
            self,
            keys=self.keys.take(indices) if isinstance(self.keys, Names) else [self.keys[i] for i in indices.tolist()],
            targets=self.targets[indices],
            parts=self.parts[indices],
            groups=self.groups[indices],
            digests=None if self.digests is None else self.digests[indices],
            boxes=None if self.boxes is None else self.boxes.take(indices),
        )

    def labels(self, index: int) -> tuple[str, ...]:
        """Return the class names of one picture; exactly one unless `multi`."""
        row = self.targets[index]
        return tuple(self.classes[int(k)] for k in np.flatnonzero(row)) if self.multi else (self.classes[int(row)],)

    def counts(self) -> I64:
        """Return how many pictures carry each class: int64 (K,)."""
        if self.multi:
            summed: I64 = self.targets.sum(axis=0, dtype=np.int64)
            return summed
        counted: I64 = np.bincount(self.targets, minlength=len(self.classes)).astype(np.int64)
        return counted


@dataclass(frozen=True)
class Parts:
    """The three parts of a split; every picture is in exactly one."""

    train: Pictures
    valid: Pictures
    test: Pictures

    def __repr__(self) -> str:
        sizes = [f"{name}={len(part):,}" for name, part in self.items()]
        return within("Parts", [*sizes, f"{len(self.train.classes):,} classes: {listed(self.train.classes)}"])

    _repr_html_ = html

    @property
    def val(self) -> Pictures:
        """Return the validation part, by its other name."""
        return self.valid

    def items(self) -> tuple[tuple[str, Pictures], ...]:
        """Return (name, pictures) of the three parts in the order of `PARTS`."""
        return (("train", self.train), ("valid", self.valid), ("test", self.test))


@dataclass(frozen=True)
class PixelPolicy:
    """How any picture becomes the uint8 tensor (channels, height, width) that a net is given.

    fit:        squash (both sides scaled), pad (letter-box on `background`), crop (short side scaled, centre kept)
    background: RGB in 0..255 under transparent pixels and beside letter-boxed ones
    bits:       of whole numbers wider than a byte that do not say their range: 0..2ⁿ − 1 becomes 0..255; 0: by each picture
    """

    height: int
    width: int
    channels: int = 3
    fit: str = "squash"
    background: tuple[int, int, int] = (255, 255, 255)
    bits: int = 0

    def json(self) -> dict[str, object]:
        """Return the policy as plain JSON values."""
        return {**asdict(self), "background": list(self.background)}


@dataclass(frozen=True)
class Bad:
    """One picture that could not be used: its key, a reason code and a sentence."""

    key: str
    code: str
    message: str

    __repr__ = shown


@dataclass(frozen=True)
class Finding:
    """What one check of the audit found at one picture, or at the whole set.

    picture:    its key; "" where the finding is about a class or the set
    check:      the name of the check, such as "dark"
    score:      in [0, 1], 1 = surely at fault; at or above the check's limit, or it would be no finding
    verdict:    a sentence for a person
    suggestion: keep | drop | relabel:CLASS | review
    other:      the key of the picture that it is a duplicate of, or ""
    decided:    what a person decided about the picture, or the box: keep | drop | relabel:CLASS; "" = nothing yet
    box:        which of its boxes it is about, as `beholder.quality.named` names it; "" = the picture as a whole
    """

    picture: str
    check: str
    score: float
    verdict: str
    suggestion: str = "keep"
    other: str = ""
    decided: str = ""
    box: str = ""

    __repr__ = shown


@dataclass(frozen=True)
class Score:
    """A measured value with its 95 % interval [low, high] and the number of pictures behind it.

    Where too few groups of pictures are behind it for an interval, low and high are NaN.
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.short()} (n={self.n})"

    _repr_html_ = html

    def short(self, *, digits: int = 3) -> str:
        """Return value and interval as text, without the number of pictures."""
        if self.value != self.value:
            return "-"
        if self.low != self.low:
            return f"{self.value:.{digits}f} [interval not estimable]"
        return f"{self.value:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"

    def json(self) -> dict[str, float | int | None]:
        """Return {"value", "low", "high", "n"}; a value that is undefined (NaN) is None."""
        return {k: (None if v != v else v) for k, v in asdict(self).items()}


@dataclass(frozen=True, repr=False)
class Prediction:
    """What a model says of one picture.

    label:         the most probable class; of ordered classes the median one; for multi-label those above their threshold,
                   joined with ";", or None where there is none
    p:             its probability in [0, 1]; for multi-label the smallest of theirs, or, where no class is named,
                   1 less the largest
    probabilities: class name → probability
    abstain:       whether the model is less sure than its operating point asks for; None where it has none
    positive:      whether the class of the operating point reaches its threshold; None where there is none
    set:           the classes that hold the right one as often as was promised; None where nothing was
    ood:           whether the picture is out of distribution, unlike those of training; None where the model cannot tell
    ood_score:     the share of validation pictures that were less unusual, in [0, 1]; None where the model cannot tell
    given:         what `picture` returns
    """

    label: str | None
    p: float
    probabilities: dict[str, float]
    abstain: bool | None = None
    positive: bool | None = None
    set: tuple[str, ...] | None = None
    ood: bool | None = None
    ood_score: float | None = None
    given: Given | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        said = [f"{name}={short(value)}" for name, value in self.beyond().items()]
        return within("Prediction", [f"label={short(self.label)}", f"p={self.p}", *said])

    _repr_html_ = html

    @property
    def picture(self) -> object:
        """Return the picture, as it was given; None where it is not there any more."""
        return self.given and self.given()

    def beyond(self) -> dict[str, Any]:
        """Return what is said beyond label, p and probabilities, by name: what is not None."""
        told = {name: getattr(self, name) for name in ("abstain", "positive", "set", "ood", "ood_score")}
        return {name: value for name, value in told.items() if value is not None}


@dataclass(frozen=True, repr=False)
class Detection:
    """One thing that a detector found in a picture.

    label, p: its class, and the calibrated probability that it is right
    box: left, top, right, bottom in pixels of the upright picture
    """

    label: str
    p: float
    box: tuple[float, float, float, float]

    def __repr__(self) -> str:
        return within("Detection", [f"{self.label} {self.p:.3f}", "box=(" + ", ".join(f"{v:.0f}" for v in self.box) + ")"])

    def json(self) -> dict[str, object]:
        """Return {"label", "p", "box"}, the box in hundredths of a pixel."""
        return {"label": self.label, "p": round(self.p, 6), "box": [round(v, 2) for v in self.box]}


@dataclass(frozen=True, repr=False)
class Detections:
    """What a detector found in a picture of width × height pixels, upright: the surest first."""

    width: int
    height: int
    boxes: tuple[Detection, ...]
    given: Given | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        return within("Detections", [f"{len(self.boxes):,} in {self.width} × {self.height}", *map(repr, self.boxes[:3])])

    _repr_html_ = html

    @property
    def picture(self) -> object:
        """Return the picture, as it was given; None where it is not there any more."""
        return self.given and self.given()

    def __len__(self) -> int:
        return len(self.boxes)

    def json(self) -> dict[str, object]:
        """Return {"width", "height", "boxes"}."""
        return {"width": self.width, "height": self.height, "boxes": [box.json() for box in self.boxes]}
