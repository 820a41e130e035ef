"""A trained model on any runtime: pixels in, predictions out. Nothing here needs torch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import IO, Any, Protocol, overload

import numpy as np
from PIL.Image import Image

from beholder.base import events
from beholder.base.arrays import F16, F32, U8, Bools, Floating
from beholder.base.brief import cut, listed, within
from beholder.base.display import KEPT, Given, html
from beholder.base.errors import BundleError
from beholder.base.records import PixelPolicy, Prediction
from beholder.base.renamed import current
from beholder.bundle import ood
from beholder.bundle.config import Config
from beholder.bundle.given import naming, one, several
from beholder.image import load as load_picture
from beholder.measure.families import Answers
from beholder.measure.selective import Operating
from beholder.tasks import named
from beholder.tasks.task import Task

NOT_FINITE = "the net answers no numbers, but NaN or infinity"
NOT_FINITE_HINT = (
    "its weights are damaged, or numbers overflow: try --engine 'torch fp32', or train again at a lower learning rate"
)


class Array(Protocol):
    """What NumPy can make an array of: its own, tensors of torch and of others."""

    def __array__(self, *args: Any, **options: Any) -> Any:
        """Return it as an array of NumPy."""


Picture = str | os.PathLike[str] | bytes | Image | IO[bytes] | Array
"""What stands for one picture."""

Several = list[Any] | tuple[Any, ...] | Iterator[Any]
"""What stands for pictures in their order."""

_CHUNK = 64


class Recogniser:
    """What a bundle and its exports have in common.

    config: what config.json holds (docs/BUNDLE.md)
    references: float16 (M, F), features of validation pictures, for OOD detection; None where there are none
    """

    config: Config
    references: F16 | None
    _said: frozenset[str] = frozenset()
    engine: str = ""
    """What the net runs on, and in which precision, in words."""

    def __repr__(self) -> str:
        config, path = self.config, getattr(self, "path", None)
        size = f"{config.pixels.width}×{config.pixels.height}×{config.pixels.channels}"
        kind = f"{len(config.classes):,} {'labels' if self.task.several else 'classes'}: {listed(config.classes)}"
        facts = [cut(config.net.name), kind, f"{size} pixels", self.engine, cut(str(path)) if path else ""]
        return within(type(self).__name__, facts)

    _repr_html_ = html

    def ready(self) -> Recogniser:
        """Return the same model where it runs: one whose net torch runs, on the GPU where there is one."""
        return self

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the class names in the order of the probabilities."""
        return self.config.classes

    @property
    def task(self) -> Task:
        """Return what was learnt: how logits become answers, and how they are scored."""
        return named(self.config.task)

    @property
    def multi(self) -> bool:
        """Return `task.several`, under its old name."""
        current("attribute", "multi")
        return self.task.several

    @property
    def policy(self) -> PixelPolicy:
        """Return how pictures become tensors for this net."""
        return self.config.pixels

    @overload
    def __call__(self, pictures: Picture, *, allow_download: bool = False) -> Prediction: ...
    @overload
    def __call__(
        self, pictures: list[Any] | tuple[Any, ...] | Iterator[Any], *, allow_download: bool = False
    ) -> list[Prediction]: ...
    def __call__(self, pictures: Picture | Several, *, allow_download: bool = False) -> Prediction | list[Prediction]:
        """Recognise one picture, or a list of them: then the answer is a list in their order.

        One picture is a path, encoded bytes, an open file, a picture of Pillow, an array or tensor (H, W), (H, W, C) or
        (C, H, W) of uint8, uint16 or floats in 0..1, or https://…, s3://… and gs://… where `allow_download`. Several are
        a list or another iterable of these, a folder, an array (N, H, W, C) or a tensor (N, C, H, W).
        Raises `UsageError` for what is no picture, and `PictureError`, which names the picture, for one that cannot be read;
        `beholder.predict` goes on past bad ones instead.
        """
        each = several(pictures)
        if each is None:
            name = str(pictures) if isinstance(pictures, (str, os.PathLike)) else ""
            return self._guesses([(name, pictures)], allow_download)[0]
        chunks = enumerate(_chunks(each))
        return [guess for k, some in chunks for guess in self._guesses(some, allow_download, keep=KEPT if k == 0 else 0)]

    def _guesses(self, named: Iterable[tuple[str, object]], allow_download: bool, *, keep: int = KEPT) -> list[Prediction]:
        images, given = [], list[Given]()
        for name, picture in named:
            with naming(name):
                images.append(self.pixels(picture, allow_download=allow_download))
            given.append(Given(picture, keep=len(given) < keep))
        told = self.predictions(*self.outputs(np.stack(images)))
        return [replace(each, given=one) for each, one in zip(told, given, strict=True)]

    def pixels(self, picture: object, *, allow_download: bool = False) -> U8:
        """Return the uint8 tensor (C, height, width) that the net is given for one picture, in any form that a call takes."""
        policy = self.policy
        return load_picture(one(picture, bits=policy.bits, say=self._say, allow_download=allow_download), policy)

    def _say(self, words: str) -> None:
        """Say how values are read, once."""
        if words not in self._said:
            self._said = self._said | {words}
            events.note(words)

    def probabilities(self, images: U8, *, batch: int | None = None) -> F32:
        """Return float32 (N, K) for `images` uint8 (N, C, height, width), calibrated where a calibration is kept.

        batch: pictures at once; None: as many as suit the machine.
        """
        return self.activated(self.outputs(images, batch=batch)[0])

    def outputs(self, images: U8, *, batch: int | None = None) -> tuple[F32, F32]:
        """Return logits float32 (N, W), not calibrated, and features float32 (N, F) for uint8 (N, C, height, width).

        batch: pictures at once; None: as many as suit the machine.
        """
        raise NotImplementedError

    def activated(self, logits: F32) -> F32:
        """Return probabilities float32 (N, K) of logits that `outputs` gave: calibrated, where a calibration is kept.

        Raises `BundleError`: not-finite where the net answers NaN or infinity, inconsistent where it knows other classes.
        """
        if logits.shape[1] != self.width:
            text = f"the net gives {logits.shape[1]} values a picture, where {len(self.classes)} classes take {self.width}"
            hint = "the weights are not of this bundle: train it again"
            raise BundleError(text, code="inconsistent", hint=hint)
        _check(int((~np.isfinite(logits)).any(axis=1).sum()), len(logits))
        calibrated = logits if self.config.calibration is None else self.config.calibration(logits)
        return self.task.family.probabilities(calibrated).astype(np.float32)

    @property
    def width(self) -> int:
        """Return how many logits the net gives for a picture."""
        return self.task.width(len(self.classes))

    def answers(self, probabilities: Floating) -> Answers:
        """Return the answers for probabilities (N, K): class indices int64 (N,), or bool (N, K) where there may be several."""
        return self.task.family.answers(probabilities, self.config.thresholds)

    def unfit(self, logits: F32, features: F32) -> Bools:
        """Return for which pictures the net answers no numbers (NaN or infinity): bool (N,), of what `outputs` gave."""
        fit = np.isfinite(logits).all(axis=1)
        return np.asarray(~fit if self.references is None else ~(fit & np.isfinite(features).all(axis=1)), np.bool_)

    def operating(self, kind: str) -> Operating | None:
        """Return the operating point of a kind, risk or sensitivity; None where none was asked for."""
        return next((point for point in self.config.operating_points if point.kind == kind), None)

    def predictions(self, logits: F32, features: F32) -> list[Prediction]:
        """Return a prediction for each picture, of what `outputs` gave. Raises as `activated` does."""
        _check(int(self.unfit(logits, features).sum()), len(logits))
        told = [self.guess(row) for row in self.activated(logits)]
        strange = ood.judged(self, logits, features)
        if strange is None:
            return told
        shares = strange[1].round(4).tolist()
        return [
            replace(one, ood=is_ood, ood_score=share)
            for one, is_ood, share in zip(told, strange[0].tolist(), shares, strict=True)
        ]

    def guess(self, row: F32) -> Prediction:
        """Return the prediction for one row of probabilities, float32 (K,): all but `ood`, which takes features."""
        by_name = {name: float(p) for name, p in zip(self.classes, row, strict=True)}
        answer = self.answers(row[None])[0]
        said = np.flatnonzero(answer) if self.task.several else np.array([answer])
        p = float(row[said].min() if len(said) else 1 - row.max())
        label = ";".join(self.classes[k] for k in said) or None
        return Prediction(label=label, p=p, probabilities=by_name, **self._beyond(row))

    def _beyond(self, row: F32) -> dict[str, Any]:
        """Return what a prediction says beyond its label: abstain, positive, set."""
        found: dict[str, Any] = {}
        risk, sensitivity, sets = self.operating("risk"), self.operating("sensitivity"), self.config.prediction_sets
        if risk is not None and risk.threshold is not None:
            found["abstain"] = bool(self.task.family.certainty(row[None])[0] < risk.threshold)
        if sensitivity is not None and sensitivity.threshold is not None:
            found["positive"] = bool(row[self.classes.index(sensitivity.label)] >= sensitivity.threshold)
        if sets is not None:
            found["set"] = tuple(name for name, inside in zip(self.classes, sets(row[None])[0], strict=True) if inside)
        return found


def _check(unfit: int, n: int) -> None:
    """Raise `BundleError` (not-finite) where the net answers no numbers to some of n pictures."""
    if unfit:
        raise BundleError(f"{NOT_FINITE} ({unfit} of {n} pictures)", code="not-finite", hint=NOT_FINITE_HINT)


def _chunks(each: Iterator[tuple[str, object]]) -> Iterator[list[tuple[str, object]]]:
    while some := list(islice(each, _CHUNK)):
        yield some
