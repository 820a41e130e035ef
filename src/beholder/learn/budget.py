"""The wall-clock budget: what is left for training once validation, testing, the report and saving have their share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from beholder.base import events
from beholder.base.errors import PictureError
from beholder.base.records import Pictures
from beholder.base.spans import current
from beholder.bundle.bundle import Bundle
from beholder.data.cache import missing
from beholder.data.image import load
from beholder.learn.prepare import Material, Prepared
from beholder.learn.validate import validate

CLOSING = 1.5
"""Seconds that saving twice, scores with their intervals and the report take, beside the test itself."""

SAMPLING = 0.005
"""Share of the time in which the speed of validation is measured beforehand, and again that of testing."""

PROFILING = 1.0
"""Seconds that --profile takes for the peak of matrix products."""

LARGEST = 0.2
"""Share of the time left that one validation may take; of a validation part that takes more, a sample is used."""

FEW, SHARE = 4000, 0.06
"""Validations during training use a sample of so many pictures, or of that share of the training part where that is more:
one takes about 2 % of an epoch, and tells two epochs apart to half a point. What follows training uses the whole part."""


@dataclass(frozen=True)
class Budget:
    """seconds: what the whole run may take (0: no limit), counted from `began` on the monotonic clock.

    validation: seconds of one validation; after: seconds from the end of the loop to the end of the run
    """

    seconds: float
    began: float
    validation: float = 0.0
    after: float = 0.0

    def left(self) -> float:
        """Return the seconds until everything has to be done, at least a fiftieth of all; 0 = no limit."""
        return max(0.02 * self.seconds, self.seconds - (time.monotonic() - self.began))

    def training(self) -> float:
        """Return the seconds of `left` that training may take, its validations included, in the same way."""
        return max(0.02 * self.seconds, self.left() - self.after)


def budget(
    prepared: Prepared, test: Pictures, trained: Bundle, *, began: float, closing: float = CLOSING, again: int = 0
) -> Budget:
    """Return the budget of a run, its costs measured here on a few pictures of the validation part.

    trained: a bundle of the net as it is now, for the speed of testing. Of `test` no picture is read.
    closing: seconds of what follows the loop beside the test itself; again: pictures that the net is given besides it
    """
    seconds = prepared.recipe.train.minutes * 60
    if not seconds:
        return Budget(0.0, began)
    pixels, targets = prepared.valid.pixels, prepared.valid.targets

    def validated(n: int) -> None:
        some = pixels.subset(np.arange(n))
        validate(trained.net, some, targets[:n], prepared.normal, prepared.precision, multi=prepared.multi)

    enough = max(0.25, SAMPLING * seconds)
    testing = _each(lambda n: trained.probabilities(pixels.take(np.arange(n))), most=len(pixels), enough=enough)
    validation = _each(validated, most=len(pixels), enough=enough) * len(pixels)
    tested = (
        len(test) + again + len(pixels)
    )  # what is settled after training takes the outputs of the validation part once more
    after = closing + (PROFILING if current() else 0) + testing * tested + _decoding(prepared, test)
    found = Budget(seconds, began, validation, after)
    left = found.training()
    if left < 0.1 * seconds:
        events.warn(
            f"only {left:.0f} s of the {seconds:.0f} s budget are left for training: testing takes {after:.0f} s",
            hint="decoding is cached, so a second run has more; or give more --minutes",
        )
    return found


def sampled(valid: Material, limits: Budget, *, train: int) -> tuple[Material, Budget]:
    """Return what is validated on during training, and the budget: the validation part, or a sample of one that is large.

    train: pictures of the training part
    """
    n, most = len(valid.pixels), LARGEST * limits.training()
    count = min(n, max(FEW, int(SHARE * train)))
    if limits.seconds and limits.validation * count > most * n:
        count = min(n, max(64, int(n * most / limits.validation)))
    if count == n:
        return valid, limits
    events.note(f"validation during training on {count} of {n} pictures")
    rows = np.sort(np.random.default_rng(0).permutation(n)[:count])
    some = Material(valid.pictures.take(rows), valid.pixels.subset(rows), valid.targets[torch.from_numpy(rows)])
    return some, replace(limits, validation=limits.validation * count / n)


def _each(work: Callable[[int], object], *, most: int, enough: float) -> float:
    """Return the least seconds that `work` took per picture: of more and more pictures at a time, for about `enough` seconds.

    The first call, in which kernels are chosen, does not count, and other work on the machine only ever makes a call slower.
    Of fewer pictures at a time than are tested later each takes several times as long, and more so in bf16 (docs/LOG.md).
    """
    n = min(32, most)
    work(n)
    spent, least = 0.0, float("inf")
    while True:
        began = time.monotonic()
        work(n)
        seconds = time.monotonic() - began
        spent, least = spent + seconds, min(least, seconds / n)
        if spent >= enough:
            return least
        n = min(4 * n, 256, most)


def _decoding(prepared: Prepared, test: Pictures) -> float:
    """Return the seconds that decoding the test part will take: as many a picture as the other parts did."""
    todo = missing(test, prepared.policy)
    if not todo:
        return 0.0
    return todo * (prepared.decoding or _decoding_each(prepared))


def _decoding_each(prepared: Prepared) -> float:
    """Return the seconds that one picture of the training part takes to read and decode on all cores together."""
    pictures = prepared.train.pictures
    began, done = time.monotonic(), 0
    for row in _spread(len(pictures), 32):
        try:
            load(pictures.store.read(pictures.keys[row]), prepared.policy)
        except PictureError:
            continue
        done += 1
        if time.monotonic() - began > 0.3:
            break
    return (time.monotonic() - began) / max(1, done) / (os.cpu_count() or 1)


def _spread(n: int, most: int) -> npt.NDArray[np.int64]:
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64))
