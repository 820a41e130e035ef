"""The wall-clock budget: what is left for training once validation, testing, the report and saving have their share."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from beholder.base import events
from beholder.base.order import stratified
from beholder.base.records import Pictures
from beholder.base.spans import current
from beholder.data.cache import missing, pace
from beholder.learn.material import Material
from beholder.learn.prepare import Prepared
from beholder.machine.pace import slowness

CLOSING = 1.5
"""Seconds that saving twice, scores with their intervals and the report take, beside the test itself."""

OPENING = 1.0
"""Seconds from the end of the loop to the first answers of the test: calibration, an engine, its first batches, decoding."""

SAMPLING = 0.005
"""Share of the time in which the speed of validation is measured beforehand, and again that of testing."""

PROFILING = 1.0
"""Seconds that --profile takes for the peak of matrix products."""

LARGEST = 0.2
"""Share of the time left that one validation may take; of a validation part that takes more, a sample is used."""

TESTING, BESIDE = 0.2, 0.1
"""Largest shares of the whole time for the test, and for what else the net is asked after training."""

LEAST = 64
"""Pictures that are validated on at least."""

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
    prepared: Prepared,
    test: Pictures,
    *,
    began: float,
    validated: Callable[[int], object],
    tested: Callable[[int], object],
    closing: float = CLOSING,
    again: int = 0,
) -> Budget:
    """Return the budget of a run, its costs measured here and now on a few pictures of the validation part.

    validated, tested: validate, and test, the first n pictures of the validation part. Of `test` no picture is read.
    closing: seconds on an idle machine of what follows the loop beside the test itself; again: pictures that the net is given
    besides it. Of a test part that takes more than `TESTING` of the time, a sample is tested.
    """
    seconds = prepared.recipe.train.minutes * 60
    if not seconds:
        return Budget(0.0, began)
    n = len(prepared.valid.pixels)
    enough = max(0.25, SAMPLING * seconds)
    each = _each(tested, most=n, enough=enough)
    validation = _each(validated, most=n, enough=enough) * n
    test_itself = min(TESTING * seconds, each * len(test) + missing(test, prepared.policy) * pace(prepared.policy))
    after = (closing + (PROFILING if current() else 0)) * slowness() + test_itself + min(BESIDE * seconds, each * (again + n))
    found = Budget(seconds, began, validation, after)
    left = found.training()
    events.figures("budget", seconds=seconds, left=left, validation=validation, after=after)
    tell_little(left, seconds=seconds, after=after)
    return found


def tell_little(left: float, *, seconds: float, after: float) -> None:
    """Warn where less than a tenth of the seconds is left for training, and `after` for what follows it."""
    if left < 0.1 * seconds:
        hint = "decoding is cached, so a second run has more; or give more --minutes"
        events.warn("little-time", hint=hint, left=left, seconds=seconds, after=after)


def sampled(
    valid: Material, limits: Budget, *, train: int, among: npt.NDArray[np.int64] | None = None
) -> tuple[Material, Budget, npt.NDArray[np.int64]]:
    """Return what is validated on during training, the budget, and the positions in the validation part, int64 (M,).

    The validation part, or a stratified sample of one that is large. train: pictures of the training part
    among: positions of those that may be taken; None: all
    """
    whole = len(valid.pixels)
    order = stratified(valid.pictures.targets)
    if among is not None:
        order = order[np.isin(order, among)]
    n, most = len(order), LARGEST * limits.training()
    count = min(n, max(FEW, int(SHARE * train)))
    if limits.seconds and limits.validation * count > most * whole:
        count = min(n, max(LEAST, int(whole * most / limits.validation)))
    rows = np.sort(order[:count])
    if count == whole:
        return valid, limits, rows
    events.note("validation-sample", n=count, of=whole)
    some = Material(valid.pictures.take(rows), valid.pixels.subset(rows), valid.targets[torch.from_numpy(rows)])
    return some, replace(limits, validation=limits.validation * count / whole), rows


def _each(work: Callable[[int], object], *, most: int, enough: float) -> float:
    """Return the least seconds that `work` took per picture: of more and more pictures at a time, for about `enough` seconds.

    The first call, in which kernels are chosen, does not count, and other work on the machine only ever makes a call slower.
    Of fewer pictures at a time than are tested later each takes several times as long, and more so in bf16 (docs/LOG.md).
    """
    n = min(4, most)
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
