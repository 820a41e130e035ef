"""How many steps there will be: planned from epochs, replanned from the measured step time where there is a budget."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_NOISE = 0.1
"""Validations that take fewer seconds say nothing of the speed of the machine."""


class Clock:
    """Counts steps against a plan.

    epochs × steps_per_epoch is the most there can be; `seconds` (0: no limit) is what is left from now on.
    every: epochs between two validations; validation: seconds of one, and after: seconds of what follows the loop, both as far
    as known beforehand: where a validation then takes longer or shorter, so will what follows.
    dearer: from the share that is done to how many times the mean later step costs what the present one does.

    The share that is done drives the schedule: it never falls, and it ends at 1 however often the plan changes, because each
    step takes an equal part of what is left of it.
    """

    _settle = 3
    """Steps that count as warming up: kernels are chosen and memory is found in them."""

    _window = 0.1
    """Share of the steps so far over which their time is a mean: a machine that slows is noticed, a single stall is not."""

    def __init__(
        self,
        *,
        steps_per_epoch: int,
        epochs: int,
        seconds: float,
        every: int = 1,
        validation: float = 0.0,
        after: float = 0.0,
        dearer: Callable[[float], float] = lambda _done: 1.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now = now
        self._most = steps_per_epoch * epochs
        self._epochs, self._each, self._varies = epochs, steps_per_epoch, False
        self._period = max(1, every * steps_per_epoch)
        self._began = now()
        self._seconds = seconds
        self._expected = self._validation = validation
        self._after = after
        self._dearer = dearer
        self._paused = self._free = 0.0
        self._first = 0
        self._ticks: deque[tuple[int, float]] = deque()
        self.step = 0
        self.total = self._most
        self.done = 0.0

    def state(self) -> dict[str, float]:
        """Return what `resume` takes, as plain JSON values."""
        return {"step": self.step, "total": self.total, "spent": self.spent, "done": self.done, "free": self._free}

    def resume(self, step: int, total: int, spent: float, done: float, free: float = 0.0) -> None:
        """Continue at `step` of a plan of `total`, `spent` seconds being gone, `free` of them not of this budget."""
        self.step, self.total, self._first = step, total, step
        self._began -= spent
        self._free = free
        self._seconds += free if self._seconds > 0 else 0.0
        self.done = done

    def lengthened(self, epoch: int, start: int, steps: int, *, last: float) -> None:
        """Plan anew at an epoch of another length: it has `steps`, of which `start` are done.

        Later ones are taken to be as long, and the last of all epochs, a share `last` of them, as long as was planned.
        """
        later = self._epochs - epoch - 1
        whole = min(later, math.ceil(last * self._epochs))
        self._most = self.step - start + steps + (later - whole) * steps + whole * self._each
        self._varies = True
        self.total = self._most if self._seconds <= 0 else min(self.total, self._most)

    def late(self, epoch: int, *, last: float) -> bool:
        """Return whether an epoch is of the last share of all, by their number or by the schedule."""
        return epoch >= self._epochs - math.ceil(last * self._epochs) or self.done >= 1 - last

    @property
    def taken(self) -> int:
        """Return the steps taken since the loop began, or went on."""
        return self.step - self._first

    @property
    def spent(self) -> float:
        """Return the seconds since the loop began, those before a resume included."""
        return self._now() - self._began

    @property
    def left(self) -> float:
        """Return an estimate of the seconds until the plan is done."""
        steps = self.total - self.step
        return max(0.0, steps * self._step_seconds() + self._validations(steps) * self._validation)

    @property
    def over(self) -> bool:
        """Return True when the planned steps are done, or only the last validation fits. One step is always taken."""
        late = self._seconds > 0 and self.spent + self._validation + self._closing >= self._seconds
        return self.step >= self.total or (late and self.step > self._first)

    @property
    def unused(self) -> float:
        """Return the seconds of the budget that the planned epochs did not need; 0 without a budget or where it ran out."""
        return max(0.0, self._seconds - self._closing - self.spent) if self._seconds > 0 and self.step >= self._most else 0.0

    @property
    def _closing(self) -> float:
        """Return the seconds of what follows the loop: more than was planned where validation shows a slower machine.

        Never less: what makes validation faster than expected, its precision or its batches, need not hold for the test.
        """
        known = min(self._expected, self._validation) > _NOISE
        return self._after * (min(4.0, max(1.0, self._validation / self._expected)) if known else 1.0)

    @contextmanager
    def pause(self, *, validating: bool = False) -> Iterator[None]:
        """Inside the block time passes, but not that of a step; with `validating` its length is that of later validations."""
        began = self._now()
        try:
            yield
        finally:
            seconds = self._now() - began
            self._paused += seconds
            if validating:
                self._validation = seconds

    def tick(self) -> None:
        """Count one step and replan."""
        self.step += 1
        if self.step - self._first >= self._settle:
            self._remember()
        if self._seconds <= 0 and not self._varies:
            self.done = min(1.0, self.step / max(1, self.total))
            return
        if self._seconds > 0 and len(self._ticks) > 1:
            self.total = min(self._most, self.step + self._affordable())
        self.done += (1 - self.done) / max(1, self.total - self.step + 1)

    def _remember(self) -> None:
        working = self.spent - self._paused
        self._ticks.append((self.step, working))
        while self.step - self._ticks[0][0] > max(6, self._window * (self.step - self._first)):
            self._ticks.popleft()

    def _step_seconds(self) -> float:
        """Return the seconds that a later step will take on average."""
        if len(self._ticks) < 2:
            return 0.0
        (first, began), (last, ended) = self._ticks[0], self._ticks[-1]
        return (ended - began) / (last - first) * self._dearer(self.done)

    @property
    def _place(self) -> int:
        """Return how many steps of the present period between two validations are done; at all one is due. At first 0."""
        return (self.step - 1) % self._period + 1 if self.step else 0

    def _validations(self, steps: int) -> int:
        """Return how many validations come with the next `steps` steps: one due now and the one at the end too."""
        return math.ceil((self._place + steps) / self._period)

    def _affordable(self) -> int:
        """Return the largest number of further steps that fits the budget together with their validations.

        With m validations it is the smaller of what the time allows, falling in m, and of m periods: best where the two meet.
        """
        left, step = self._seconds - self._closing - self.spent, max(1e-9, self._step_seconds())
        meet = (left + self._place * step) / (self._period * step + self._validation)
        most = 0
        for validations in {max(1, math.floor(meet)), max(1, math.ceil(meet))}:
            timed = int((left - validations * self._validation) / step)
            most = max(most, min(timed, validations * self._period - self._place))
        return most
