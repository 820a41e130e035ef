"""How many steps there will be: planned from epochs, replanned from the measured step time where there is a budget."""

from __future__ import annotations

import time
from collections.abc import Callable


class Clock:
    """Counts steps against a plan.

    epochs × steps_per_epoch is the most there can be; `seconds` (0: no limit) is what is left for the loop from now on.
    The share that is done drives the schedule; it never falls, whatever the measured step time does.
    """

    _settle = 3

    def __init__(self, *, steps_per_epoch: int, epochs: int, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._most = steps_per_epoch * epochs
        self._began = now()
        self._seconds = seconds
        self._settled_at = self._began
        self._first = 0
        self.step = 0
        self.total = self._most
        self.done = 0.0

    def resume(self, step: int, total: int, spent: float) -> None:
        """Continue at `step` of a plan of `total`, `spent` seconds of the budget being gone."""
        self.step, self.total, self._first = step, total, step
        self._began -= spent
        self.done = step / max(1, total)

    @property
    def spent(self) -> float:
        """Return the seconds since the loop began, those before a resume included."""
        return self._now() - self._began

    @property
    def left(self) -> float:
        """Return an estimate of the seconds until the plan is done."""
        return max(0.0, self._step_seconds() * (self.total - self.step))

    @property
    def over(self) -> bool:
        """Return True when the planned steps are done or the budget is spent."""
        return self.step >= self.total or (self._seconds > 0 and self.spent >= self._seconds)

    def tick(self) -> None:
        """Count one step and replan."""
        self.step += 1
        if self.step - self._first == self._settle:
            self._settled_at = self._now()
        if self._seconds > 0 and self.step - self._first > self._settle:
            affordable = int((self._seconds - self.spent) / max(1e-9, self._step_seconds()))
            self.total = min(self._most, max(self.step, self.step + affordable))
        self.done = min(1.0, max(self.done, self.step / max(1, self.total)))

    def _step_seconds(self) -> float:
        counted = self.step - self._first - self._settle
        return (self._now() - self._settled_at) / counted if counted > 0 else 0.0
