"""A trained detector on any runtime: pixels in, boxes out. Nothing here needs torch."""

from __future__ import annotations

import json
import numbers
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from beholder import image
from beholder.base import events
from beholder.base.arrays import U8
from beholder.base.brief import cut, listed, within
from beholder.base.display import KEPT, Given, html
from beholder.base.errors import BundleError, UsageError
from beholder.base.records import Detection, Detections, PixelPolicy
from beholder.bundle import format
from beholder.bundle.config import SCHEMA, File, Tried
from beholder.bundle.given import naming, one, several
from beholder.image.fit import placed
from beholder.measure.detections import Detected
from beholder.nets.spec import DetectorSpec, Initial

MOST = 2000
"""Boxes of a picture that can be asked for."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """The fields of config.json of a detector; `kind` is "detector".

    overlap: of two boxes of one class that overlap by more, the surer stays; most: boxes of a picture
    thresholds: K calibrated scores, from which on a box of each class is told
    calibration: two rows of knots, scores as the net gives them and the shares of such boxes that were right; (): none
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}

    kind: str = format.DETECTOR
    classes: tuple[str, ...]
    pixels: PixelPolicy
    mean: tuple[float, ...]
    std: tuple[float, ...]
    net: DetectorSpec
    overlap: float = 0.6
    most: int = 100
    thresholds: tuple[float, ...]
    calibration: tuple[tuple[float, ...], ...] = ()
    initial_weights: Initial | None = None
    plan: Mapping[str, Any] = field(default_factory=dict)
    precision: str = ""
    parameters: int = 0
    seconds: float = 0.0
    machine: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, int] = field(default_factory=dict)
    valid_score: float | None = None
    tried: tuple[Tried, ...] = ()
    clock: str = ""
    minutes_needed: float = 0.0
    notes: tuple[str, ...] = ()
    interrupted: bool = False
    files: Mapping[str, File] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        found: dict[str, Any] = json.loads(json.dumps({"schema": SCHEMA, **asdict(self)}))
        return found


@cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Config)


def read(values: Mapping[str, Any], path: Path) -> Config:
    """Return the typed config of a detector. Raises `BundleError` (inconsistent) where its values do not fit together."""
    from pydantic import ValidationError

    try:
        plain = {name: value for name, value in values.items() if name != "schema"}
        found: Config = _adapter().validate_json(json.dumps(plain), strict=True)
    except ValidationError as error:
        raise unfit(path, "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])) from error
    pixels, knots = found.pixels, found.calibration
    fits = {
        "classes: none, or two of one name": 0 < len(set(found.classes)) == len(found.classes),
        "net: not for these classes and channels": found.net.classes == len(found.classes)
        and found.net.channels == pixels.channels == len(found.mean) == len(found.std),
        f"pixels: {pixels.width} × {pixels.height}": 32 <= min(pixels.height, pixels.width) <= max(pixels.height, pixels.width)
        and max(pixels.height, pixels.width) <= 4096,
        "thresholds: not one for each class": len(found.thresholds) == len(found.classes),
        "calibration: no rising knots": not knots
        or (len(knots) == 2 and len(knots[0]) == len(knots[1]) > 1 and list(knots[0]) == sorted(knots[0])),
        f"most: {found.most}": 1 <= found.most <= MOST,
    }
    if wrong := [what for what, right in fits.items() if not right]:
        raise unfit(path, "; ".join(wrong))
    return found


def unfit(path: Path, what: str) -> BundleError:
    """Return the error for a detector whose parts do not fit together."""
    text = f"{path} cannot be used: its parts do not fit together: {what}"
    return BundleError(text, code="inconsistent", hint="update Beholder, or train it again")


@dataclass(frozen=True, eq=False)
class Looked:
    """One picture as the net is given it, uint8 (C, H, W), and its own (width, height), upright."""

    pixels: U8
    size: tuple[int, int]


class Finder:
    """What a detector and its exports have in common."""

    config: Config
    engine: str = ""
    """What the net runs on, and in which precision, in words."""
    _said: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        config, path = self.config, getattr(self, "path", None)
        size = f"{config.pixels.width}×{config.pixels.height}×{config.pixels.channels} pixels"
        kinds = f"boxes of {len(config.classes):,} classes: {listed(config.classes)}"
        return within(type(self).__name__, [cut(config.net.backbone), kinds, size, self.engine, cut(str(path)) if path else ""])

    _repr_html_ = html

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the class names."""
        return self.config.classes

    @property
    def policy(self) -> PixelPolicy:
        """Return how pictures become tensors for this net."""
        return self.config.pixels

    def ready(self) -> Finder:
        """Return the same detector where it runs best."""
        return self

    def found(self, images: U8, *, most: int | None = None) -> list[Detected]:
        """Return what is found in uint8 (N, C, height, width): boxes in pixels of the net, with the net's own scores.

        most: boxes of a picture; None: as the bundle has it
        """
        raise NotImplementedError

    def looked(self, picture: object, *, allow_download: bool = False) -> Looked:
        """Return one picture, in any form that a call takes, as the net is given it. Raises `PictureError`, `UsageError`."""
        data = one(picture, bits=self.policy.bits, say=self._say, allow_download=allow_download)
        head = image.header(data)
        return Looked(image.load(data, self.policy), (head.width, head.height))

    def __call__(
        self, pictures: object, *, threshold: float | None = None, most: int | None = None, allow_download: bool = False
    ) -> Any:
        """Return the `Detections` of one picture, or a list of them for a list, a folder or a batch, in their order.

        pictures: as a bundle of labels takes them; threshold: least calibrated score of a box, 0 to 1; None: that of its class
        most: boxes of a picture, up to 2,000. Raises `PictureError` for what cannot be read, `UsageError` for what is none.
        """
        check_asked(threshold, most)
        each = several(pictures)
        if each is None:
            name = str(pictures) if isinstance(pictures, (str, os.PathLike)) else ""
            return self._told([(name, pictures)], threshold, most, allow_download)[0]
        asked, chunks = (threshold, most, allow_download), enumerate(_chunks(each))
        return [told for k, some in chunks for told in self._told(some, *asked, keep=KEPT if k == 0 else 0)]

    def _told(
        self,
        named: Iterable[tuple[str, object]],
        threshold: float | None,
        most: int | None,
        download: bool,
        *,
        keep: int = KEPT,
    ) -> list[Detections]:
        looked, given = [], list[Given]()
        for name, picture in named:
            with naming(name):
                looked.append(self.looked(picture, allow_download=download))
            given.append(Given(picture, keep=len(given) < keep))
        found = self.detections(looked, threshold=threshold, most=most)
        return [replace(each, given=one) for each, one in zip(found, given, strict=True)]

    def detections(self, looked: list[Looked], *, threshold: float | None = None, most: int | None = None) -> list[Detections]:
        """Return what is told of pictures that `looked` read: calibrated scores, thresholds, and boxes in their own pixels."""
        found = self.found(np.stack([each.pixels for each in looked]), most=most)
        return [self.told(row, each.size, threshold=threshold) for row, each in zip(found, looked, strict=True)]

    def told(self, row: Detected, size: tuple[int, int], *, threshold: float | None = None) -> Detections:
        """Return one picture's `Detections` of what `found` gave for it. size: (width, height) of the picture, upright."""
        return self.answered(self.own(row, size), size, threshold=threshold)

    def answered(self, own: Detected, size: tuple[int, int], *, threshold: float | None = None) -> Detections:
        """Return one picture's `Detections` of boxes in its own pixels, with the net's own scores, as `told` does."""
        scores = self.calibrated(own.scores)
        least = np.asarray(self.config.thresholds)[own.classes] if threshold is None else threshold
        keep = np.flatnonzero(scores >= least)
        boxes = [
            Detection(self.classes[int(own.classes[k])], float(scores[k]), tuple(map(float, own.corners[k])))  # type: ignore[arg-type]
            for k in keep[np.argsort(-scores[keep], kind="stable")].tolist()
        ]
        return Detections(size[0], size[1], tuple(boxes))

    def own(self, row: Detected, size: tuple[int, int]) -> Detected:
        """Return boxes in pixels of the net as boxes in pixels of a picture of `size` (width, height), cut off at its edges."""
        top, left, tall, wide = placed(size[1], size[0], self.policy)
        scale = np.array([wide / size[0], tall / size[1]])
        corners = (row.corners - np.tile([left, top], 2)) / np.tile(scale, 2)
        return row._replace(corners=np.clip(corners, 0, np.tile(np.array(size, float), 2)))

    def calibrated(self, scores: Any) -> Any:
        """Return scores float64 (n,) as shares that are right, by the knots of the calibration."""
        knots = self.config.calibration
        return np.interp(scores, knots[0], knots[1]) if knots else scores

    def _say(self, words: str) -> None:
        """Say how values are read, once."""
        if words not in self._said:
            self._said = self._said | {words}
            events.note(words)


def check_asked(threshold: float | None, most: int | None) -> None:
    """Raise `UsageError` (bad-value) for a threshold that is no share, and for more boxes than are kept of a picture."""
    if threshold is not None and not isinstance(threshold, numbers.Real):
        hint = "it is a number between 0 and 1"
        raise UsageError(f"a threshold is not given as {type(threshold).__name__}", code="bad-value", hint=hint)
    if most is not None and (isinstance(most, bool) or not isinstance(most, numbers.Integral)):
        raise UsageError(f"a number of boxes is not given as {most!r}", code="bad-value", hint="it is a whole number")
    if threshold is not None and not 0 <= threshold <= 1:
        raise UsageError(f"a threshold of {threshold:g} is no share", code="bad-value", hint="it lies between 0 and 1")
    if most is not None and not 1 <= most <= MOST:
        raise UsageError(f"{most} boxes of a picture cannot be asked for", code="bad-value", hint=f"ask for 1 to {MOST:,}")


def _chunks(each: Iterator[tuple[str, object]]) -> Iterator[list[tuple[str, object]]]:
    while some := list(islice(each, 16)):
        yield some
