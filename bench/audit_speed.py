"""The audit of thousands of photos against CleanVision and a plain pipeline of statistics and hashes, in turn: photos a second.

    .venv/bin/python bench/audit_speed.py [PHOTOS] [ROUNDS]

The photos are those of TrashNet, repeated with variations (turned by up to 4 degrees, another crop, another quality), as files
on disk; 10,000 by default. Ours is `beholder audit` without the checks that need a net, with no memory of earlier looks;
CleanVision is `Imagelab(…).find_issues()` with every default, on all cores; the pipeline is what fastdup is mostly
used for, written with Pillow and imagehash on all cores: size, mean, deviation, blur, a 64-bit hash, equal and near hashes.
Needs the shared pictures, and the environment of bench/peers.txt (BEHOLDER_PEERS: its python).
"""

from __future__ import annotations

import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parent.parent
SOURCE = (ROOT / os.environ.get("BEHOLDER_SHARED", "../shared")).resolve() / "data" / "trashnet.zip"
PEERS = os.environ.get("BEHOLDER_PEERS", str(ROOT / "bench" / "out" / "peers" / "bin" / "python"))
NEEDING_NETS = ("label", "outlier")

CLEANVISION = """
import sys
from cleanvision import Imagelab
if __name__ == "__main__":
    Imagelab(data_path=sys.argv[1]).find_issues(verbose=False)
"""

PIPELINE = """
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
import imagehash, numpy
from PIL import Image, ImageFilter
def look(path):
    with Image.open(path) as image:
        image = image.convert("RGB")
    grey = image.convert("L")
    edges = numpy.asarray(grey.filter(ImageFilter.Kernel((3, 3), (0, 1, 0, 1, -4, 1, 0, 1, 0), scale=1, offset=128)), float)
    pixels = numpy.asarray(image, float)
    code = numpy.packbits(imagehash.phash(image).hash.ravel()).view(">u8")[0]
    return image.size, pixels.mean(), pixels.std(), edges.var(), code
if __name__ == "__main__":
    paths = sorted(str(path) for path in Path(sys.argv[1]).rglob("*.jpg"))
    with ProcessPoolExecutor() as pool:
        rows = list(pool.map(look, paths, chunksize=64))
    hashes = numpy.array([row[-1] for row in rows], numpy.uint64)
    near = sum(int((numpy.bitwise_count(hashes[k + 1:] ^ hashes[k]) <= 4).sum()) for k in range(len(hashes)))
    print(len(rows), near)
"""


def photos(folder: Path, count: int) -> None:
    import beholder

    pictures = beholder.scan(SOURCE)

    def write(k: int) -> None:
        row = k % len(pictures)
        data, path = pictures.store.read(pictures.keys[row]), folder / pictures.labels(row)[0] / f"{k:06}.jpg"
        if k < len(pictures):
            path.write_bytes(bytes(data))
            return
        draws = np.random.default_rng(k)
        image = Image.open(io.BytesIO(bytes(data))).convert("RGB")
        width, height = image.size
        left, top = (int(draws.integers(0, side // 8)) for side in image.size)
        image = image.rotate(draws.uniform(-4, 4), Image.Resampling.BILINEAR).crop(
            (left, top, width - left // 2, height - top // 2)
        )
        image.save(path, quality=int(draws.integers(70, 95)))

    for name in pictures.classes:
        (folder / name).mkdir(parents=True)
    with ThreadPoolExecutor() as pool:
        list(pool.map(write, range(count)))


def ours(folder: Path, home: Path) -> float:
    from beholder.quality.checks import CHECKS

    command = [sys.executable, "-m", "beholder", "audit", str(folder), "--out", str(home / "audit.csv")]
    for name in CHECKS.names():
        command += [] if name in NEEDING_NETS else ["--check", name]
    return timed(command, home)


def timed(command: list[str], home: Path) -> float:
    caches = home / "cache"
    subprocess.run(["rm", "-rf", str(caches)], check=True)
    began = time.monotonic()
    environment = {**os.environ, "HOME": str(caches)}
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, env=environment, cwd=home)
    return time.monotonic() - began


def main(count: int, rounds: int) -> None:
    if not Path(PEERS).is_file() or not SOURCE.is_file():
        print("left out: it needs the shared pictures (BEHOLDER_SHARED) and the peers of bench/peers.txt (BEHOLDER_PEERS)")
        return
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        photos(here / "photos", count)
        runs: dict[str, list[float]] = {"beholder": [], "cleanvision": [], "pipeline": []}
        for peer, program in (("cleanvision", CLEANVISION), ("pipeline", PIPELINE)):
            (here / f"{peer}_program.py").write_text(program)
        for _ in range(rounds):
            runs["beholder"].append(ours(here / "photos", here))
            print(f"beholder {runs['beholder'][-1]:.1f} s", flush=True)
            for peer in ("cleanvision", "pipeline"):
                runs[peer].append(timed([PEERS, "-W", "ignore", f"{peer}_program.py", str(here / "photos")], here))
                print(f"{peer} {runs[peer][-1]:.1f} s", flush=True)
    mine = statistics.median(runs["beholder"])
    for peer, seconds in runs.items():
        median = statistics.median(seconds)
        print(f"{peer}: {count / median:.0f} photos/s; beholder is {median / mine:.2f} times as fast")


if __name__ == "__main__":
    main(*([int(word) for word in sys.argv[1:3]] + [10_000, 1][len(sys.argv) - 1 :])[:2])
