"""How near training comes to the speed of plain matrix products on this machine, in the same precision.

    .venv/bin/python bench/peak.py [ROUNDS]

Each round measures the peak and then a step of each net; a line gives medians. FLOP are those of convolutions and matrix
products, forward and backward; the seconds are those of the whole step with its optimiser. Goals: 0.45 on a CPU, 0.5 on H100.
"""

from __future__ import annotations

import statistics
import sys

from steps import net_of, seconds_of, stepper

from beholder.learn.profile import step_flop
from beholder.machine.chip import name as chip_name
from beholder.machine.device import device, precision
from beholder.machine.peak import peak

NETS = {  # name: side, batch on a CPU, batch on a GPU, width, optimiser
    "fastnet": (32, 512, 2048, 0.5, "muon"),
    "timm:resnet18": (224, 16, 256, 1.0, "adamw"),
    "timm:vit_small_patch16_224": (224, 16, 256, 1.0, "adamw"),
}


def main(rounds: int) -> None:
    on = device()
    exact = precision(on)
    print(f"{chip_name(on)}, {exact.name}: {exact.reason}")
    steps, work = {}, {}
    for name, (side, small, large, width, kind) in NETS.items():
        batch = large if on.type == "cuda" else small
        net = net_of(name, side=side, width=width, on=on)
        work[name] = batch * (step_flop(net, (3, side, side)) or 0), batch
        steps[name] = stepper(net, batch=batch, side=side, precision=exact, name=kind)
        seconds_of(steps[name], on, times=2)
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in NETS}
    for _ in range(rounds):
        for name, step in steps.items():
            best = peak(on, exact.dtype, seconds=0.3)
            seen[name].append((best, seconds_of(step, on, times=10 if on.type == "cuda" else 1)))
    for name, rows in seen.items():
        flop, batch = work[name]
        seconds = statistics.median(row[1] for row in rows)
        share = statistics.median(flop / took / best for best, took in rows)
        best = statistics.median(row[0] for row in rows)
        print(
            f"{name:28} {batch / seconds:8.0f} pictures/s  {flop / seconds / 1e12:7.3f} TFLOP/s of {best / 1e12:7.3f}: "
            f"{share:.2f} (medians of {rounds})"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
