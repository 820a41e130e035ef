"""torch.compile against eager for a training step of fastnet, in turn, in one process.

    .venv/bin/python bench/compile.py [ROUNDS]

Prints the seconds of compiling, the median step of each and the ratio: above 1, compiling pays.
"""

from __future__ import annotations

import statistics
import sys
import time

import torch
from steps import net_of, seconds_of, stepper

from beholder.machine.compile import compiled
from beholder.machine.device import device, precision

BATCH, SIDE = 256, 32


def main(rounds: int) -> None:
    on = device()
    exact = precision(on)
    eager, other = (net_of("fastnet", side=SIDE, width=0.5, on=on) for _ in range(2))
    began = time.perf_counter()
    found = compiled(other, torch.zeros(BATCH, 3, SIDE, SIDE, device=on), exact, asked="yes")
    compiling = time.perf_counter() - began
    if found.model is other:
        sys.exit("nothing to compile with here")
    steps = {
        "eager": stepper(eager, batch=BATCH, side=SIDE, precision=exact, name="muon"),
        "compiled": stepper(other, batch=BATCH, side=SIDE, precision=exact, name="muon", model=found.model),
    }
    for step in steps.values():
        seconds_of(step, on, times=3)
    seen = [{name: seconds_of(step, on) for name, step in steps.items()} for _ in range(rounds)]
    median = {name: statistics.median(row[name] for row in seen) for name in steps}
    ratio = statistics.median(row["eager"] / row["compiled"] for row in seen)
    print(f"fastnet, width 0.5, batches of {BATCH}, {exact.name} on {on.type}; compiling took {compiling:.1f} s")
    print("  " + ", ".join(f"{name} {1000 * value:.1f} ms" for name, value in median.items()) + f" (medians of {rounds})")
    print(f"  eager takes {ratio:.2f} times as long as compiled (median of the rounds' ratios)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
