"""Speed of the table's backbones on this machine's CPU, with random weights, by the engines that features use.

    .venv/bin/python bench/backbones.py [--precision fp32|bf16] [--rounds N] [--most GMAC] [NAMES…]

A row per net (default: all of `beholder nets` up to 5 GMAC) at the size that a CPU trains at: 6/7 of that of pretraining, in
steps of 32, where the net takes other sizes; DINOv2 at 224. One thread; pictures one at a time and in batches of 32; torch as
it is, and the fastest verified engine. Figures are pictures per second of processor time, the median of the rounds, so that
what else runs matters little; `x` is the time of a picture relative to that of tf_efficientnet_lite0, each by its fastest
engine: the median of the ratios within a round, in which both nets take turns. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable

import torch

from beholder.base.fields import NetRecipe
from beholder.machine import folders
from beholder.nets.backbones import Backbone, backbones
from beholder.nets.build import build, wants
from beholder.nets.spec import NetSpec
from beholder.runtime.features import Run, fastest

UNIT = "tf_efficientnet_lite0.in1k"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
BATCHES = (1, 32)
LEAST = 0.3
"""Seconds of processor time of one measurement, at least."""


def images(row: Backbone) -> torch.Tensor:
    """Pictures of the size that a CPU gives the net, float32 (32, 3, H, W)."""
    found = (224, 224) if "dinov2" in row.name else wants(NetRecipe(name=f"timm:{row.name}", weights="none")).size_on("cpu")
    assert found is not None
    return torch.randn(32, 3, *found, generator=torch.Generator().manual_seed(0))


def engines(row: Backbone, dtype: torch.dtype) -> dict[str, tuple[Run, torch.Tensor]]:
    """Name and batch → what runs the net on a batch of that size, and the batch."""
    pictures = images(row)
    net = build(NetSpec(f"timm:{row.name}", 3, *pictures.shape[2:], 10)).eval()
    found = {}
    for batch in BATCHES:
        some = pictures[:batch].contiguous()
        found[f"torch {batch}"] = (fastest(net, some, dtype=dtype, machine="", pictures=1).engine, some)
        best = fastest(net, some, dtype=dtype, machine=f"batch {batch}", pictures=1_000_000)
        if best.name != "torch":
            found[f"{best.name} {batch}"] = (best.engine, some)
    return found


def rate(run: Callable[[torch.Tensor], object], batch: torch.Tensor) -> float:
    """Pictures per second of processor time."""
    done, began = 0, time.process_time()
    while (passed := time.process_time() - began) < LEAST:
        run(batch)
        done += len(batch)
    return done / passed


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--precision", choices=DTYPES, default="fp32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most", type=float, default=5.0)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rows = [row for row in backbones() if (row.name in asked.names if asked.names else row.gmac <= asked.most)]
    dtype, found = DTYPES[asked.precision], {}
    with tempfile.TemporaryDirectory() as folder:
        folders.cache(folder)
        unit = list(engines(next(row for row in backbones() if row.name == UNIT), dtype).values())[-1]
        for row in rows:
            ways = engines(row, dtype)
            turns = [(rate(*unit), {name: rate(*way) for name, way in ways.items()}) for _ in range(asked.rounds)]
            best = list(ways)[-1]
            rates = {name: round(statistics.median(turn[name] for _, turn in turns), 1) for name in ways}
            each = round(statistics.median(one / turn[best] for one, turn in turns), 2)
            found[row.name] = {"side": int(next(iter(ways.values()))[1].shape[2]), "x": each, "rates": rates}
            print(f"{row.name:<42} {found[row.name]['side']:>3} px  x {each:<5} {rates}", flush=True)
    print(json.dumps({"precision": asked.precision, "nets": found}))


if __name__ == "__main__":
    main()
