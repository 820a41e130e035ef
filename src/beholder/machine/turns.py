"""Which of several pieces of work is the quickest: they take turns, so that other work on the machine meets all of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

Name = TypeVar("Name")


def least_seconds(
    work: Mapping[Name, Callable[[], object]],
    *,
    rounds: int = 2,
    hopeless: float = math.inf,
    now: Callable[[], float] = time.perf_counter,
) -> dict[Name, float]:
    """Return the least seconds that each piece of work took over some rounds; one alone is done once.

    hopeless: what took so many times the least of all is not done again; now: a clock in seconds
    """
    seconds = dict.fromkeys(work, math.inf)
    for again in range(rounds if len(work) > 1 else 1):
        for name, do in work.items():
            if again and seconds[name] > hopeless * min(seconds.values()):
                continue
            began = now()
            do()
            seconds[name] = min(seconds[name], now() - began)
    return seconds
