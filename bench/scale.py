"""Two processes with one core each against the ceiling that two independent runs of one core set, side by side.

    python bench/scale.py [--work train|predict|features] [--net fastnet] [--n 24000] [--batch 1024] [--epochs 3] [--rounds 3]

The two cores of a machine may be one physical one: the ceiling is what two separate runs reach together, measured in the same
call. Training is timed from the second epoch on, with its validations; predict --parts, with features or without, from a
quarter of its parts on, so that what a start costs is left out. The pictures are noise on ten greys: only time is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

RANGES = 64
"""Parts of predict."""


def pictures(n: int) -> Path:
    """Return an .npz with n pictures of 32 × 32 pixels in ten classes."""
    path = Path(tempfile.mkdtemp(prefix="beholder-scale-")) / "set.npz"
    rng = np.random.default_rng(0)
    y = np.arange(n) % 10
    x = rng.integers(0, 100, (n, 32, 32, 3)) + (15 * y)[:, None, None, None]
    np.savez(path, x=x.astype(np.uint8), y=y)
    return path


def train(source: Path, net: str, epochs: int, batch: int, launch: str) -> float:
    """Return the pictures a second of the epochs after the first, in this process and those it starts."""
    import torch

    import beholder

    torch.set_num_threads(2 if launch else 1)
    parts = beholder.split(beholder.scan(source), seed=0)
    fields = {"net": net, "epochs": epochs, "seed": 0, "batch": batch, "precision": "fp32"}
    model = beholder.train(parts, launch=launch, **fields)
    rows = model.history
    spent = rows[-1]["seconds"] - rows[0]["seconds"]
    return (len(rows) - 1) * (len(parts.train) // batch) * batch / spent


def predict(source: Path, launch: str, *, features: bool) -> float:
    """Return the pictures a second of `predict --parts`, by the times at which three quarters of its parts came."""
    import torch

    import beholder

    torch.set_num_threads(2 if launch else 1)
    count = len(np.load(source / "set.npz")["y"])
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        beholder.predict_parts(source / "m.beholder", source / "set.npz", out, launch=launch, ranges=RANGES, features=features)
        times = sorted(path.stat().st_mtime for path in out.glob("part-*.parquet"))
    return 0.75 * count / (times[-1] - times[RANGES // 4 - 1])


def prepared(n: int, net: str) -> Path:
    """Return a folder with the pictures and a bundle."""
    import beholder

    folder = pictures(n).parent
    pictures(2000).rename(folder / "few.npz")
    parts = beholder.split(beholder.scan(folder / "few.npz"), seed=0)
    beholder.train(parts, net=net, epochs=1, seed=0, precision="fp32", out=folder / "m.beholder")
    return folder


def child(source: Path, asked: argparse.Namespace, launch: str = "") -> subprocess.Popen[str]:
    words = [sys.executable, __file__, "--source", str(source), "--net", asked.net, "--epochs", str(asked.epochs)]
    words += ["--work", asked.work, "--batch", str(asked.batch)]
    env = {**os.environ, "OMP_NUM_THREADS": "2" if launch else "1"}
    return subprocess.Popen([*words, "--launch", launch], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def rate(process: subprocess.Popen[str]) -> float:
    out, _ = process.communicate()
    return float(json.loads(out.strip().splitlines()[-1])["rate"])


def main() -> None:
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--work", default="train", choices=["train", "predict", "features"])
    parser.add_argument("--net", default="fastnet")
    parser.add_argument("--n", type=int, default=24000)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--source", type=Path, default=None)
    parser.add_argument("--launch", default=None)
    asked = parser.parse_args()
    if asked.source is not None:
        launch = asked.launch or ""
        if asked.work == "train":
            found = train(asked.source, asked.net, asked.epochs, asked.batch, launch)
        else:
            found = predict(asked.source, launch, features=asked.work == "features")
        print(json.dumps({"rate": found}))
        return
    source, shares = pictures(asked.n) if asked.work == "train" else prepared(asked.n, asked.net), list[float]()
    for _ in range(asked.rounds):
        alone = rate(child(source, asked))
        pair = [child(source, asked) for _ in range(2)]
        ceiling = sum(map(rate, pair))
        both = rate(child(source, asked, "local:2"))
        shares.append(both / ceiling)
        told = {"one_core": alone, "ceiling": ceiling, "two_processes": both, "share": both / ceiling}
        print({name: round(value, 3) for name, value in told.items()}, flush=True)
    print(f"median share of the ceiling: {median(shares):.3f}")


if __name__ == "__main__":
    main()
