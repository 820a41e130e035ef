"""Scanning folders, tars and zips of up to a million pictures: seconds and bytes a picture.

    .venv/bin/python bench/scan.py [LARGEST [folder|tar|zip …]]

Makes empty files in /dev/shm (or the folder for temporary files), in a hundred classes, and scans each in a process of its own:
once for the time and the growth of the process's peak memory, once under tracemalloc.
Goal: time in proportion, at most 300 bytes a picture.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tracemalloc
import zipfile
from pathlib import Path

CLASSES = 100


def names(n: int) -> list[str]:
    return [f"class {i % CLASSES:02}/picture-{i:08}.jpg" for i in range(n)]


def make(root: Path, kind: str, n: int) -> Path:
    path = root / f"set-{n}{'' if kind == 'folder' else '.' + kind}"
    if kind == "folder":
        for k in range(CLASSES):
            (path / f"class {k:02}").mkdir(parents=True)
        for name in names(n):
            (path / name).touch()
    elif kind == "tar":
        with tarfile.open(path, "w") as tar:
            for name in names(n):
                tar.addfile(tarfile.TarInfo(name))
                tar.members.clear()
    else:
        with zipfile.ZipFile(path, "w") as packed:
            for name in names(n):
                packed.writestr(name, b"")
    return path


def measure(path: Path, traced: bool) -> dict[str, float]:
    """In a process of its own: seconds, peak bytes a picture, bytes a picture that stay."""
    from beholder.base import events
    from beholder.base.limits import Limits
    from beholder.sources import scan

    if traced:
        tracemalloc.start()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    began = time.perf_counter()
    with events.listen(alone=True):
        pictures = scan(path, limits=Limits())
    seconds, n = time.perf_counter() - began, len(pictures)
    if traced:
        stays, most = tracemalloc.get_traced_memory()
        return {"n": n, "peak": most / n, "stays": stays / n}
    return {"n": n, "seconds": seconds, "resident": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / n}


def main(largest: int, kinds: list[str]) -> None:
    base = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
    root = Path(tempfile.mkdtemp(prefix="beholder-scan-", dir=base))
    try:
        for kind in kinds:
            for n in (largest // 100, largest // 10, largest):
                path = make(root, kind, n)
                row: dict[str, float] = {}
                for traced in ("", "traced"):
                    command = [sys.executable, __file__, "--measure", str(path), traced]
                    row |= json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
                print(
                    f"{kind:6} {n:9,} {row['seconds']:7.2f} s {1e6 * row['seconds'] / n:6.1f} µs a picture; bytes a picture: "
                    f"peak {row['peak']:.0f}, stays {row['stays']:.0f}, growth of the process {row['resident']:.0f}"
                )
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    if "--measure" in sys.argv:
        print(json.dumps(measure(Path(sys.argv[2]), "traced" in sys.argv)))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000, sys.argv[2:] or ["folder", "tar", "zip"])
