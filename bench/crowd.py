"""Peak memory and seconds of next, shrink and label of very many pictures, beside a tenth of them.

    .venv/bin/python bench/crowd.py [N]

N (default 100,000) drawn pictures of 8 × 8 pixels in three class folders; `next` and `shrink` by a small net trained on 600
of them, `label` until its page is there and its first grid was shown. Each command is a process of its own.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

BEHOLDER = (sys.executable, "-m", "beholder")
LIMIT = ("--minutes", "2")
CLASSES = ("blue", "green", "red")


def drawn(place: Path, n: int) -> Path:
    """Write n pictures into class folders, the classes in turn: noise, brighter in one channel."""
    rng = np.random.default_rng(n)
    for name in CLASSES:
        (place / name).mkdir(parents=True)
    for k in range(n):
        pixels = rng.integers(60, 190, (8, 8, 3)).astype(np.uint8)
        pixels[..., 2 - k % 3] += 40
        Image.fromarray(pixels).save(place / CLASSES[k % 3] / f"{k:06}.png")
    return place


def measured(words: list[str], home: Path, meanwhile: Callable[[subprocess.Popen[str]], None] | None = None) -> str:
    """Run a command in a home of its own, and return its peak memory and its seconds."""
    began = time.monotonic()
    environment = {**os.environ, "BEHOLDER_CACHE": str(home)}
    command = [*BEHOLDER, *words]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        if meanwhile is not None:
            meanwhile(run)
        said = run.stdout.read() if run.stdout else ""
        _, status, used = os.wait4(run.pid, 0)
        run.returncode = os.waitstatus_to_exitcode(status)
    if run.returncode not in (0, 130):
        raise SystemExit(f"{words[0]} ended with {run.returncode}\n{said[-2000:]}")
    return f"{used.ru_maxrss / 1024:,.0f} MB, {time.monotonic() - began:.0f} s"


def labelled(run: subprocess.Popen[str]) -> None:
    """Wait for the page, read its first grid, and end the program as Ctrl-C does."""
    assert run.stdout is not None
    for line in run.stdout:
        found = re.search(r"http://\S+", line)
        if found:
            break
    else:
        return
    address = found[0].rstrip(".,")
    with urllib.request.urlopen(address.rstrip("/") + "/grid?size=24", timeout=120) as answer:
        answer.read()
    run.send_signal(signal.SIGINT)


def main() -> None:
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        few, model = drawn(folder / "few", 600), str(folder / "m.beholder")
        subprocess.run(
            [*BEHOLDER, "train", str(few), "--net", "cnn", "--epochs", "2", "--out", model], check=True, capture_output=True
        )
        for n in (most // 10, most):
            place = str(drawn(folder / f"{n}", n))
            rows = {
                "next": measured(["next", model, place, "--n", "100", "--out", str(folder / f"next{n}.csv")], folder / f"a{n}"),
                **{
                    f"shrink --by {by}": measured(
                        ["shrink", place, "--keep", "0.5", "--by", by, *LIMIT, "--out", str(folder / f"{by}{n}.csv")],
                        folder / f"{by}{n}",
                    )
                    for by in ("random", "spread", "hard", "mixed")
                },
                "label": measured(
                    [
                        "label",
                        place,
                        "--classes",
                        ",".join(CLASSES),
                        "--no-open",
                        *LIMIT,
                        "--out",
                        str(folder / f"label{n}.csv"),
                    ],
                    folder / f"l{n}",
                    labelled,
                ),
            }
            for what, said in rows.items():
                print(f"{n:,} pictures, {what}: {said}", flush=True)


if __name__ == "__main__":
    main()
