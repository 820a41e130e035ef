"""What VAEs and GANs make of small pictures in some minutes, and what it is worth: bits per dimension, CAS, KID.

    .venv/bin/python bench/generate.py figures SET [KIND] [MINUTES] [SEEDS]
    .venv/bin/python bench/generate.py lossless SET
    .venv/bin/python bench/generate.py collapse SET [MINUTES] [SEEDS]

SET: fashion-mnist | cifar10 | trashnet | … of the shared pictures; KIND: vae,gan; SEEDS with commas between.
figures:  `beholder generate` for MINUTES, then `beholder evaluate` on the same source: bits per dimension of test pictures
          (VAE), the classification accuracy score beside that of as many real pictures, the kernel distance, recall
lossless: bits per dimension of the test pictures as PNG and as lossless WebP, whole files, as Pillow writes them at its best
collapse: GANs of several seeds: which recall is below half the median of all, and of which `generate` says that it collapsed
Results are appended to bench/out/generate.jsonl.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("BEHOLDER_SHARED", ROOT.parent / "shared"))
OUT = ROOT / "bench" / "out" / "generate.jsonl"


def ran(*words: object) -> dict[str, object]:
    """Return what a command of beholder prints with --json, and its seconds."""
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "beholder", *map(str, words), "--json"], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return {**json.loads(done.stdout), "wall": round(time.monotonic() - began, 1)}


def written(row: dict[str, object]) -> None:
    OUT.parent.mkdir(exist_ok=True)
    with OUT.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row), flush=True)


def figures(name: str, kinds: str = "vae,gan", minutes: str = "15", seeds: str = "0") -> None:
    source = SHARED / "data" / f"{name}.zip"
    for kind in kinds.split(","):
        for seed in seeds.split(","):
            with tempfile.TemporaryDirectory() as place:
                out = Path(place) / "g.beholder"
                made = ran("generate", source, "--kind", kind, "--minutes", minutes, "--seed", seed, "--out", out)
                worth = ran("evaluate", out, source)
            written(
                {
                    "set": name,
                    "kind": kind,
                    "minutes": minutes,
                    "seed": seed,
                    "wall": made["wall"],
                    **worth,
                    "plan": made["plan"],
                }
            )


def lossless(name: str) -> None:
    import beholder

    _, (x, _) = beholder.arrays(SHARED / "data" / f"{name}.zip")
    from PIL import Image

    sizes = {"png": 0, "webp": 0}
    for picture in x[:2000]:
        for kind, how in (("png", {"optimize": True}), ("webp", {"lossless": True, "quality": 100, "method": 6})):
            buffer = io.BytesIO()
            Image.fromarray(picture).save(buffer, kind, **how)
            sizes[kind] += len(buffer.getvalue())
    dims = x[:2000].size
    written({"set": name, "n": min(2000, len(x)), **{kind: round(8 * size / dims, 3) for kind, size in sizes.items()}})


def collapse(name: str, minutes: str = "3", seeds: str = "0,1,2,3,4,5,6,7,8,9") -> None:
    source, found = SHARED / "data" / f"{name}.zip", {}
    for seed in seeds.split(","):
        with tempfile.TemporaryDirectory() as place:
            out = Path(place) / "g.beholder"
            made = ran("generate", source, "--kind", "gan", "--minutes", minutes, "--seed", seed, "--out", out)
        features = made["scores"]["features"]  # type: ignore[index]
        found[seed] = (features["recall"]["value"], features["collapsed"])
    median = float(np.median([recall for recall, _ in found.values()]))
    rows = {seed: {"recall": recall, "said": said, "is": recall < median / 2} for seed, (recall, said) in found.items()}
    written({"set": name, "minutes": minutes, "median": median, "seeds": rows})


if __name__ == "__main__":
    if len(sys.argv) < 3 or not SHARED.is_dir():
        print(__doc__)
    else:
        {"figures": figures, "lossless": lossless, "collapse": collapse}[sys.argv[1]](*sys.argv[2:])
