"""Decoding full-size photos: the builder of Beholder's cache against loops of Pillow, torchvision, OpenCV and simplejpeg.

    .venv/bin/python bench/decode.py [ROUNDS] [COPIES]

All decode the same bytes (384 × 512 JPEG) and resize to 224 × 224 with as many threads as there are cores, in turn. The loops
have the files in memory and keep nothing; `cache` is `cached` as `train` calls it: it reads the files from a zip, checks each
against its SHA-256, and leaves shards on the disk, synced. `load` is the loop over what it calls for each picture. Both have
torch loaded, as `train` has; `load without torch` is what `predict` and `serve` call where a graph runs in onnxruntime. Also
prints how far the pixels are from Pillow's. OpenCV averages areas, which is another filter.
Needs the shared pictures; OpenCV in the environment of bench/peers.txt (BEHOLDER_PEERS: its python), or it is left out.
"""

from __future__ import annotations

import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SOURCE = (ROOT / os.environ.get("BEHOLDER_SHARED", "../shared")).resolve() / "data" / "trashnet-originals-200.zip"
PEERS = os.environ.get("BEHOLDER_PEERS", str(ROOT / "bench" / "out" / "peers" / "bin" / "python"))
SIDE, THREADS = 224, os.cpu_count() or 1
NAMES = ("cache", "load", "load without torch", "torchvision", "simplejpeg+torch", "pillow", "opencv", "simplejpeg+opencv")


def repeated(path: Path, copies: int) -> None:
    """Write a zip of the photos, each copy with a comment of its own: other bytes, so that none counts as a twin."""
    with zipfile.ZipFile(SOURCE) as source, zipfile.ZipFile(path, "w") as target:
        for name in (name for name in source.namelist() if not name.endswith("/")):
            data = source.read(name)
            for k in range(copies):
                comment = b"\xff\xfe" + (2 + 4).to_bytes(2, "big") + k.to_bytes(4, "big")
                target.writestr(f"{Path(name).parent.name}/{k}-{Path(name).name}", data[:2] + comment + data[2:])


def _resized() -> Callable[[Any], Any]:
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(1)
    return lambda chw: F.interpolate(chw[None], (SIDE, SIDE), mode="bilinear", antialias=True)[0]


def one(name: str) -> Callable[[bytes], Any]:
    """Return the function that makes one picture of 224 × 224 of a file, as that library is commonly used."""
    import numpy as np

    if name == "pillow":
        from PIL import Image

        return lambda data: np.asarray(
            Image.open(io.BytesIO(data)).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        )
    if name == "torchvision":
        import torch
        from torchvision.io import decode_jpeg

        resized = _resized()
        return lambda data: resized(decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8)))
    if name == "simplejpeg+torch":
        import torch
        from simplejpeg import decode_jpeg as decode

        resized = _resized()
        return lambda data: resized(torch.from_numpy(decode(data)).permute(2, 0, 1))
    if name.startswith("load"):
        if name == "load":
            import_module("torch")
        from beholder.base.records import PixelPolicy
        from beholder.image import load

        return lambda data: load(data, PixelPolicy(SIDE, SIDE))
    import cv2

    cv2.setNumThreads(0)
    if name == "opencv":
        read = lambda data: cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)  # noqa: E731
    else:
        from simplejpeg import decode_jpeg as read
    return lambda data: cv2.resize(read(data), (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def loop(name: str, path: Path) -> float:
    """Return pictures per second of one pass, after a short one that does not count."""
    with zipfile.ZipFile(path) as file:
        files = [file.read(info) for info in file.infolist()]
    work = one(name)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, files[:32]))
        began = time.perf_counter()
        for _ in pool.map(
            lambda chunk: [work(data) for data in chunk] and None, [files[k : k + 16] for k in range(0, len(files), 16)]
        ):
            pass
        return len(files) / (time.perf_counter() - began)


def cache(path: Path) -> float:
    import_module("torch")
    from beholder.base import events
    from beholder.base.records import PixelPolicy
    from beholder.data.cache import cached
    from beholder.sources import scan
    from beholder.sources.digest import digested

    with tempfile.TemporaryDirectory(dir=path.parent) as root, events.listen(alone=True):
        pictures = digested(scan(path), root=root)
        import numpy as np

        cached(pictures.take(np.arange(32)), PixelPolicy(SIDE, SIDE), root=Path(root) / "warm")
        began = time.perf_counter()
        found = cached(pictures, PixelPolicy(SIDE, SIDE), root=root)
        assert found.decoded == len(pictures)
        return len(pictures) / (time.perf_counter() - began)


def apart() -> str:
    import numpy as np

    ours, theirs = one("load"), one("pillow")
    with zipfile.ZipFile(SOURCE) as file:
        files = [file.read(info) for info in file.infolist() if not info.is_dir()]
    found = [np.abs(ours(data).transpose(1, 2, 0).astype(int) - theirs(data)) for data in files]
    return f"max {max(d.max() for d in found)}, mean {np.mean([d.mean() for d in found]):.4f} of 255"


def main(rounds: int, copies: int) -> None:
    if not SOURCE.is_file():
        print("left out: it needs the shared pictures (BEHOLDER_SHARED)")
        return
    here = [name for name in NAMES if "opencv" not in name]
    peers = (
        subprocess.run([PEERS, "-c", "import cv2, simplejpeg"], stderr=subprocess.DEVNULL).returncode
        if Path(PEERS).is_file()
        else 1
    )
    if peers:
        print("opencv is left out: set BEHOLDER_PEERS to the python of an environment with bench/peers.txt")
    names = here if peers else list(NAMES)
    rates: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photos.zip"
        repeated(path, copies)
        for _ in range(rounds):
            for name in names:
                command = [sys.executable if name in here else PEERS, "-W", "ignore", __file__, "--one", name, str(path)]
                rates[name].append(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))
    best = max(statistics.median(rates[name]) for name in ("torchvision", "pillow"))
    print(f"{200 * copies} photos, {THREADS} threads, medians of {rounds}; ratio to the faster of torchvision and Pillow")
    for name in names:
        rate = statistics.median(rates[name])
        print(f"  {name:18} {rate:7.0f} pictures/s  {rate / best:5.2f}   ({min(rates[name]):.0f} to {max(rates[name]):.0f})")
    ratios = [ours / theirs for ours, theirs in zip(rates["cache"], rates["torchvision"], strict=True)]
    print(f"cache against torchvision, round by round: {statistics.median(ratios):.2f}  (goal: at least level)")
    print(f"pixels against Pillow's: {apart()}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print((cache if sys.argv[2] == "cache" else lambda path: loop(sys.argv[2], path))(Path(sys.argv[3])))
    else:
        rounds, copies = ([int(word) for word in sys.argv[1:3]] + [3, 15][len(sys.argv) - 1 :])[:2]
        main(rounds, copies)
