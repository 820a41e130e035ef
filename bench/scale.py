"""Two processes with one core each against the ceiling that two independent runs of one core set, side by side.

    python bench/scale.py [--net fastnet] [--n 6000] [--epochs 3] [--rounds 3]

The two cores of a machine may be one physical one: the ceiling is what two separate trainings reach together, measured in the
same call. The pictures are noise on ten greys: only time is measured.
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


def pictures(n: int) -> Path:
    """Return an .npz with n pictures of 32 × 32 pixels in ten classes."""
    path = Path(tempfile.mkdtemp(prefix="beholder-scale-")) / "set.npz"
    rng = np.random.default_rng(0)
    y = np.arange(n) % 10
    x = rng.integers(0, 100, (n, 32, 32, 3)) + (15 * y)[:, None, None, None]
    np.savez(path, x=x.astype(np.uint8), y=y)
    return path


def train(source: Path, net: str, epochs: int, launch: str) -> float:
    """Return the pictures a second of the epochs after the first, in this process and those it starts."""
    import torch

    import beholder

    torch.set_num_threads(2 if launch else 1)
    parts = beholder.split(beholder.scan(source), seed=0)
    fields = {"net": net, "epochs": epochs, "seed": 0, "batch": 256, "precision": "fp32"}
    model = beholder.train(parts, launch=launch, **fields)
    rows = model.history
    spent = rows[-1]["seconds"] - rows[0]["seconds"]
    return (len(rows) - 1) * (len(parts.train) // 256) * 256 / spent


def child(source: Path, asked: argparse.Namespace, launch: str = "") -> subprocess.Popen[str]:
    words = [sys.executable, __file__, "--source", str(source), "--net", asked.net, "--epochs", str(asked.epochs)]
    env = {**os.environ, "OMP_NUM_THREADS": "2" if launch else "1"}
    return subprocess.Popen([*words, "--launch", launch], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def rate(process: subprocess.Popen[str]) -> float:
    out, _ = process.communicate()
    return float(json.loads(out.strip().splitlines()[-1])["rate"])


def main() -> None:
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--net", default="fastnet")
    parser.add_argument("--n", type=int, default=6000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--source", type=Path, default=None)
    parser.add_argument("--launch", default=None)
    asked = parser.parse_args()
    if asked.source is not None:
        print(json.dumps({"rate": train(asked.source, asked.net, asked.epochs, asked.launch or "")}))
        return
    source, shares = pictures(asked.n), []
    for _ in range(asked.rounds):
        alone = rate(child(source, asked))
        pair = [child(source, asked) for _ in range(2)]
        ceiling = sum(map(rate, pair))
        both = rate(child(source, asked, "local:2"))
        shares.append(both / ceiling)
        found = {"one_core": alone, "ceiling": ceiling, "two_processes": both, "share": both / ceiling}
        print({name: round(value, 3) for name, value in found.items()}, flush=True)
    print(f"median share of the ceiling: {median(shares):.3f}")


if __name__ == "__main__":
    main()
