"""`predict` from files beside its two limits and bare loops, in turn: decoding alone, and nets on decoded pixels.

    .venv/bin/python bench/predict.py [M.beholder PICTURES [ROUNDS]]

M.beholder and PICTURES are those of bench/serve.py; all JPEG files of PICTURES are predicted, eight times in a row, ROUNDS (3)
times.
Decoding: our decoder on two threads. The loops are bare: onnxruntime as it comes on the exported graph, torch on the bundle's
net (the mirror image with the same rules, in float32), each at batch 1 and at its best batch of 4 to 32, on pixels decoded
before. `predict` is timed from the first file to the last line, once its engine is loaded, as it is for many files; and the
whole command with its start. Goal: at least 90 % of the lower limit, that of decoding or that of the fastest loop's best batch.
The last line is JSON.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from engines import rate, whole
from serve import prepared

BATCHES = (1, 4, 8, 16, 32)
COPIES = 8


def loops(bundle: Path) -> dict[str, Callable[[np.ndarray], object]]:
    """The bare loops: uint8 (B, C, H, W) → what the net gives."""
    import onnxruntime
    import torch

    from beholder.bundle.bundle import load
    from beholder.bundle.infer import outputs

    session = onnxruntime.InferenceSession(bundle / "model.onnx", providers=["CPUExecutionProvider"])
    loaded = load(bundle)
    return {
        "onnxruntime": lambda images: session.run(["logits"], {"images": images}),
        "torch": lambda images: outputs(loaded.net, torch.from_numpy(images), loaded.config),
    }


def once(bundle: Path, folder: Path, recogniser: Any, ways: dict[str, Callable[[np.ndarray], object]]) -> dict[str, float]:
    """Pictures/s of one round, by name."""
    from beholder.evaluation.predict import predict

    files = sorted(folder.rglob("*.jpg"))
    began = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        images = np.stack(list(pool.map(recogniser.pixels, files)))
    found = {"decode": len(files) / (time.perf_counter() - began)}
    for name, way in {**ways, "engine": whole(recogniser)}.items():
        rates = {batch: rate(way, images, batch, 2.0) for batch in BATCHES}
        found[f"{name}, batch 1"] = rates[1]
        found[f"{name}, best batch"] = max(rates.values())
    began = time.perf_counter()
    lines = sum("label" in line for line in predict(recogniser, files * COPIES))
    found["predict"] = lines / (time.perf_counter() - began)
    began = time.perf_counter()
    command = [sys.executable, "-m", "beholder", "predict", str(bundle), *[str(folder)] * COPIES]
    told = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    found["predict, whole command"] = len(told.stdout.splitlines()) / (time.perf_counter() - began)
    model = max(found[f"{name}, best batch"] for name in ("engine", *ways))
    found["share"] = found["predict"] / min(found["decode"], model)
    return found


def main() -> None:
    if (given := prepared()) is None:
        return
    from beholder.runtime.engines import fastest

    bundle, folder = Path(given[0]), given[1]
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    recogniser, ways = fastest(bundle), loops(bundle)
    turns = [once(bundle, folder, recogniser, ways) for _ in range(rounds)]
    said: dict[str, Any] = {"engine": recogniser.engine, "rounds": rounds}
    said |= {name: round(statistics.median(turn[name] for turn in turns), 3 if name == "share" else 1) for name in turns[0]}
    for name, value in said.items():
        print(f"{name:>24}  {value}", file=sys.stderr)
    print(json.dumps(said))


if __name__ == "__main__":
    main()
