"""Install weight: packages, megabytes and import times of Beholder beside its peers; size of its wheel.

    .venv/bin/python bench/weight.py [resolve] [import] [installed]     (default: resolve and import)

resolve: what `pip install NAME` brings on Linux x86-64 with Python 3.11, newest versions, resolved by uv, which is put into
a temporary environment; nothing of it is installed. Megabytes are those of the wheels as they are downloaded, and unpacked:
the sizes in the table of contents that ends each wheel, read without its contents. "Beyond torch" leaves out torch,
torchvision, torchaudio, TensorFlow, triton and what CUDA needs, which a CPU build saves. A package without a wheel for that
platform is counted with its source archive. A peer that cannot be resolved is named.
import: seconds of CPU (user + system, one thread) of a fresh process, the least of three, files already compiled and read.
Peers are imported by BEHOLDER_PEERS, the python of an environment with those of bench/peers.txt; what it lacks is left out.
installed: `pip install .` into a fresh environment in a temporary folder (7 GB for minutes), then the size of it.
"""

from __future__ import annotations

import io
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PEERS = os.environ.get("BEHOLDER_PEERS", str(ROOT / "bench" / "out" / "peers" / "bin" / "python"))

ASKED = {
    "beholder": [],  # its own dependencies are filled in
    "timm": ["timm"],
    "keras (with torch)": ["keras", "torch"],
    "keras (with tensorflow)": ["keras", "tensorflow"],
    "fastai": ["fastai"],
    "autogluon.multimodal": ["autogluon.multimodal"],
    "ultralytics": ["ultralytics"],
    "ludwig": ["ludwig>=0.17"],  # of those before, 0.11 still runs on Python 3.11
    "cleanlab": ["cleanlab"],
    "cleanlab[image]": ["cleanlab[image]"],
    "fiftyone": ["fiftyone"],
    "litserve": ["litserve"],
    "litserve, torch, torchvision": ["litserve", "torch", "torchvision"],
}
FRAMES = ("torch", "torchvision", "torchaudio", "triton", "tensorflow", "nvidia-", "cuda-")
IMPORTS = {
    "torch": "import torch",
    "timm": "import timm",
    "fastai": "from fastai.vision.all import *",
    "keras on torch": "import keras",
    "cleanlab": "import cleanlab",
    "litserve": "import litserve",
}


def uv_in(folder: Path) -> list[str]:
    """Return the command of uv, put into a fresh environment."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "-q", "uv"], check=True, stderr=subprocess.DEVNULL)
    return [python, "-m", "uv"]


def resolve(uv: list[str], wanted: list[str]) -> list[dict[str, Any]] | str:
    """Return the packages of a lock file (PEP 751), or why there is none."""
    options = ["--format", "pylock.toml", "--python-platform", "x86_64-manylinux_2_28", "--no-annotate", "--quiet"]
    for python in ("3.11", "3.12"):
        command = [*uv, "pip", "compile", "--python-version", python, *options, "-"]
        done = subprocess.run(command, input="\n".join(wanted), capture_output=True, text=True, check=False)
        if not done.returncode:
            return [*tomllib.loads(done.stdout)["packages"], *([{"python": python}] if python != "3.11" else [])]
    return " ".join(done.stderr.split())[:300]


class Remote(io.RawIOBase):
    """A file behind an address, of which only what is read is fetched."""

    def __init__(self, url: str, size: int) -> None:
        self.url, self.size, self.at = url, size, 0

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset + (0, self.at, self.size)[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        end = min(self.at + len(buffer), self.size)
        if end <= self.at:
            return 0
        asked = urllib.request.Request(self.url, headers={"Range": f"bytes={self.at}-{end - 1}"})
        with urllib.request.urlopen(asked, timeout=60) as answer:
            assert answer.status == 206, "the registry sends no parts of files"
            found = answer.read()
        buffer[: len(found)] = found
        self.at += len(found)
        return len(found)


def weigh(package: dict[str, Any], known: dict[str, tuple[int, int]]) -> tuple[int, int]:
    """Return the bytes of a package as it is downloaded, and unpacked; of several wheels the first of the lock's."""
    wheels = package.get("wheels") or []
    if not wheels:
        size = int(package["sdist"]["size"])
        return size, size
    url, size = wheels[0]["url"], int(wheels[0]["size"])
    if url not in known:
        with zipfile.ZipFile(io.BufferedReader(Remote(url, size), 1 << 18)) as archive:
            known[url] = size, sum(entry.file_size for entry in archive.infolist())
    return known[url]


def resolutions() -> None:
    ASKED["beholder"] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    own, known = wheel_of_ours(), {}
    heavy: list[tuple[int, str]] = []
    with tempfile.TemporaryDirectory() as name:
        uv = uv_in(Path(name) / "uv")
        print("name | packages | of them beyond torch | MB to download | MB unpacked | MB beyond torch, download | unpacked")
        for who, wanted in ASKED.items():
            found = resolve(uv, wanted)
            if isinstance(found, str):
                print(f"{who}: cannot be resolved: {found}", flush=True)
                continue
            python = [row["python"] for row in found if "python" in row]
            rows = {row["name"]: weigh(row, known) for row in found if "name" in row}
            if who == "beholder":
                rows["beholder"] = own
                heavy = sorted(((size[1], name) for name, size in rows.items() if not name.startswith(FRAMES)), reverse=True)
            beyond = {name: size for name, size in rows.items() if not name.startswith(FRAMES)}
            cells = [f"{sum(size[k] for size in some.values()) / 1e6:.0f}" for some in (rows, beyond) for k in (0, 1)]
            first = re.split(r"[^\w.-]", wanted[0])[0].replace(".", "-")
            version = next((row["version"] for row in found if row.get("name") == first != "torch"), "")
            print(" | ".join([f"{who} {version}".strip(), str(len(rows)), str(len(beyond)), *cells]), *python, flush=True)
    print("heaviest of ours beyond torch, MB unpacked: " + ", ".join(f"{name} {size / 1e6:.1f}" for size, name in heavy[:16]))


def wheel_of_ours() -> tuple[int, int]:
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "source"  # a copy: a build leaves files behind, and takes those of an earlier one along
        shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        for file in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / file, source)
        command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", name, str(source)]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        (wheel,) = Path(name).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            size = wheel.stat().st_size, sum(entry.file_size for entry in archive.infolist())
            print(f"wheel: {size[0] / 1e3:.0f} kB, unpacked {size[1] / 1e3:.0f} kB, {len(archive.infolist())} files")
    return size


def seconds_of(*command: str) -> tuple[float, float] | None:
    """CPU and wall seconds of a process, the least of three; None if it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "KERAS_BACKEND": "torch"}
    times = []
    for _ in range(4):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        if subprocess.run(command, capture_output=True, env=environment, check=False).returncode:
            return None
        wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall))
    return min(cpu for cpu, _ in times[1:]), min(wall for _, wall in times[1:])


def imports() -> None:
    ours = {
        "python -c pass": ["-c", "pass"],
        "import beholder": ["-c", "import beholder"],
        "beholder --version": ["-m", "beholder", "--version"],
        "beholder --help": ["-m", "beholder", "--help"],
        "beholder train --help": ["-m", "beholder", "train", "--help"],
        "beholder.train": ["-c", "import beholder; beholder.train"],
        "beholder.load": ["-c", "import beholder; beholder.load"],
    }
    runs = {name: [sys.executable, *words] for name, words in ours.items()}
    runs |= {
        f"peer: {name}": [PEERS, "-W", "ignore", "-c", program] for name, program in IMPORTS.items() if Path(PEERS).is_file()
    }
    for name, command in runs.items():
        found = seconds_of(*command)
        print(
            f"{name}: " + ("left out, it does not run" if found is None else f"{found[0]:.2f} s of CPU, {found[1]:.2f} s"),
            flush=True,
        )


def installed() -> None:
    with tempfile.TemporaryDirectory() as name:
        place, began = Path(name) / "env", time.monotonic()
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        python = str(place / "bin" / "python")
        pip = [python, "-m", "pip"]
        empty = sum(path.stat().st_size for path in place.rglob("*") if path.is_file() and not path.is_symlink())
        subprocess.run(
            [*pip, "install", "-q", "-c", str(ROOT / "constraints.txt"), str(ROOT)], check=True, stderr=subprocess.DEVNULL
        )
        took = time.monotonic() - began
        files = [path for path in place.rglob("*") if path.is_file() and not path.is_symlink()]
        size = sum(path.stat().st_size for path in files) - empty
        compiled = sum(path.stat().st_size for path in files if path.suffix == ".pyc")
        listed = json.loads(subprocess.run([*pip, "list", "--format", "json"], capture_output=True, check=True).stdout)
        print(
            f"installed: {len(listed) - 2} packages, {size / 1e6:.0f} MB ({compiled / 1e6:.0f} MB of them .pyc), {took:.0f} s"
        )


def main(parts: list[str]) -> None:
    for name, run in {"resolve": resolutions, "import": imports, "installed": installed}.items():
        if name in parts:
            try:
                run()
            except (urllib.error.URLError, subprocess.CalledProcessError) as broken:
                print(f"{name}: left out: {broken}")


if __name__ == "__main__":
    main(sys.argv[1:] or ["resolve", "import"])
