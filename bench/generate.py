"""What VAEs and GANs make of small pictures in some minutes, and what it is worth: bits per dimension, CAS, KID.

    .venv/bin/python bench/generate.py figures SET [KIND] [MINUTES] [SEEDS]
    .venv/bin/python bench/generate.py lossless SET
    .venv/bin/python bench/generate.py collapse SET [MINUTES] [SEEDS]
    .venv/bin/python bench/generate.py rare SET [COUNTS] [MINUTES] [SEEDS] [EACH]

SET: fashion-mnist | cifar10 | trashnet | … of the shared pictures; KIND: vae,gan; SEEDS with commas between.
figures:  `beholder generate` for MINUTES, then `beholder evaluate` on the same source: bits per dimension of test pictures
          (VAE), the classification accuracy score beside that of as many real pictures, the kernel distance, recall
lossless: bits per dimension of the test pictures as PNG and as lossless WebP, whole files, as Pillow writes them at its best
collapse: GANs of several seeds: which recall is below half the median of all, and of which `generate` says that it collapsed
rare:     the smallest class cut to COUNTS (20,50,100) training pictures, at 64 pixels at most: macro-F1 on the test of a small
          net with nothing done about it, balanced class weights, strong augmentation, mixup, and with pictures of a VAE and of
          a GAN that learnt for MINUTES from what is left, added up to the mean of the classes, whether they help or not.
          EACH: at most so many pictures of a class, to try it in minutes; what bench/out/generate.jsonl has is not done again
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
SMALL = ("fashion-mnist", "cifar10")
"""Sets whose pictures stay as large as they are."""

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
                    **worth,
                    "wall": made["wall"],
                    "plan": made["plan"],
                }
            )


def lossless(name: str) -> None:
    import beholder

    _, (x, _) = beholder.arrays(SHARED / "data" / f"{name}.zip")
    from PIL import Image

    x, sizes = x[np.random.default_rng(0).permutation(len(x))[:2000]], {"png": 0, "webp": 0}
    for picture in x:
        for kind, how in (("png", {"optimize": True}), ("webp", {"lossless": True, "quality": 100, "method": 6})):
            buffer = io.BytesIO()
            Image.fromarray(picture).save(buffer, kind, **how)
            sizes[kind] += len(buffer.getvalue())
    dims = x.size
    written({"set": name, "n": len(x), **{kind: round(8 * size / dims, 3) for kind, size in sizes.items()}})


def collapse(name: str, minutes: str = "3", seeds: str = "0,1,2,3,4,5,6,7,8,9") -> None:
    source, found = SHARED / "data" / f"{name}.zip", {}
    for seed in seeds.split(","):
        with tempfile.TemporaryDirectory() as place:
            out = Path(place) / "g.beholder"
            made = ran("generate", source, "--kind", "gan", "--minutes", minutes, "--seed", seed, "--out", out)
        features = made["scores"]["features"]  # type: ignore[index]
        found[seed] = {
            **{name: features[name]["value"] for name in ("recall", "precision")},
            **{"spread": features["spread"], "said": features["collapsed"], "steps": made["plan"]["steps"]},
        }
        print(seed, json.dumps(found[seed]), flush=True)
    median = float(np.median([row["recall"] for row in found.values()]))
    rows = {seed: {**row, "is": row["recall"] < median / 2} for seed, row in found.items()}
    written({"set": name, "minutes": minutes, "median": median, "seeds": rows})


WAYS = {
    "nothing": {},
    "balanced": {"class_weights": "balanced"},
    "strong": {"augment": "strong"},
    "mixup": {"mixup": 0.3},
    "vae": {},
    "gan": {},
}
"""What is done about a rare class, and the fields of the recipe by which; to the last two made pictures are added."""


def done() -> list[dict[str, object]]:
    """Return the rows that are there; a line that a run left half written is not."""
    found = []
    for line in OUT.read_text("utf-8").splitlines() if OUT.is_file() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def rare(name: str, counts: str = "20,50,100", minutes: str = "3", seeds: str = "0", each: str = "0") -> None:
    import beholder

    known = [{key: row.get(key) for key in ("set", "count", "way", "seed", "minutes", "each")} for row in done()]
    pictures = beholder.scan(SHARED / "data" / f"{name}.zip")
    if int(each):
        order = np.random.default_rng(0).permutation(len(pictures))
        own = [order[pictures.targets[order] == k][: int(each)] for k in range(len(pictures.classes))]
        pictures = pictures.take(np.sort(np.concatenate(own)))
    for seed in map(int, seeds.split(",")):
        parts = beholder.split(pictures, seed=seed, near=False)
        few = int(parts.train.counts().argmin())
        for count in map(int, counts.split(",")):
            own = np.flatnonzero(parts.train.targets == few)
            keep = np.sort(np.concatenate([np.flatnonzero(parts.train.targets != few), own[:count]]))
            cut = beholder.Parts(parts.train.take(keep), parts.valid, parts.test)
            for way in WAYS:
                cell = {"set": name, "count": count, "way": way, "seed": seed, "minutes": minutes, "each": each}
                if cell not in known:
                    f1 = helped(cut, few, way, float(minutes), seed, size=0 if name in SMALL else 64)
                    written({**cell, "rare": cut.train.classes[few], "macro_f1": f1})


def helped(cut, few: int, way: str, minutes: float, seed: int, *, size: int) -> dict[str, object]:
    """Return macro-F1 on the test part of a small net for which something is done about the class `few`."""
    import beholder
    from beholder.base import events
    from beholder.learn.generate import generate
    from beholder.learn.material import Beside
    from beholder.sources.digest import digested
    from beholder.study.unlabelled import with_others
    from beholder.study.worth import pictures_of

    given, lacking = cut, int(cut.train.counts().mean() - cut.train.counts()[few])
    with events.only("warn"):
        if way in ("vae", "gan") and lacking > 0:
            made = generate(cut, kind=way, minutes=minutes, seed=seed)
            images, labels = made.sample(lacking, label=cut.train.classes[few], seed=seed)
            added = digested(pictures_of(made, images, labels))
            given = with_others(cut, Beside(), added, labels, "", "synthetic").parts
        model = beholder.train(given, recipe="sprint", size=size, seed=seed, **WAYS[way])
        return beholder.evaluate(model, cut.test).scores.headline["macro_f1"].json()


if __name__ == "__main__":
    if len(sys.argv) < 3 or not SHARED.is_dir():
        print(__doc__)
    else:
        {"figures": figures, "lossless": lossless, "collapse": collapse, "rare": rare}[sys.argv[1]](*sys.argv[2:])
