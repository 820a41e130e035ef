"""A time by which work should be over; what does not fit is left out, and reported."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Deadline:
    """A moment on the monotonic clock, `math.inf` where there is none.

    >>> Deadline(12.0, now=lambda: 10.0).left
    2.0
    >>> Deadline().left
    inf
    """

    at: float = math.inf
    now: Callable[[], float] = field(default=time.monotonic, repr=False)

    @classmethod
    def of(cls, began: float, minutes: float) -> Deadline:
        """Return the deadline of a budget of minutes that began at `began` on the monotonic clock; 0 minutes: none."""
        return cls(began + 60 * minutes if minutes else math.inf)

    @property
    def none(self) -> bool:
        """Return True where there is no deadline."""
        return math.isinf(self.at)

    @property
    def left(self) -> float:
        """Return the seconds until then, 0 at least."""
        return max(0.0, self.at - self.now())

    @property
    def passed(self) -> bool:
        """Return whether it is over."""
        return self.now() >= self.at

    def within(self, seconds: float) -> Deadline:
        """Return the earlier one of this and `seconds` from now."""
        return Deadline(min(self.at, self.now() + seconds), self.now)

    def at_least(self, seconds: float) -> Deadline:
        """Return the later one of this and `seconds` from now."""
        return Deadline(max(self.at, self.now() + seconds), self.now)

    def before(self, seconds: float) -> Deadline:
        """Return the moment `seconds` before this one."""
        return Deadline(self.at - seconds, self.now)

    def fitting(self, work: Callable[[int], object], *, few: int, most: int) -> int:
        """Return how much work there is time for, `most` at most, judged by how long `few` of it, 1 or more, take.

        0 where not even `few` more fit, or the time is over. Without a deadline nothing is tried.
        """
        if self.none:
            return most
        if self.passed or few > most:
            return 0
        began = self.now()
        work(few)
        each = (self.now() - began) / few
        count = min(most, int(self.left / each)) if each > 0 else most
        return count if count >= few else 0


NEVER = Deadline()
"""No deadline."""
