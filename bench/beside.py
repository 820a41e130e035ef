"""Seconds of `beholder train … --epochs N`, which no budget cuts, beside busy loops.

    .venv/bin/python bench/beside.py [LOOPS] [EPOCHS] [SECONDS]

LOOPS (0,1,2,4): how many processes compute meanwhile, with commas between; EPOCHS (1): passes over Fashion-MNIST by the recipe
`sprint`, without the audit; a run of more than SECONDS (300) is stopped, which is said. Needs the shared pictures
(BEHOLDER_SHARED). Prints what the run said of threads, too. For another version put its src/ on PYTHONPATH.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE = (ROOT / os.environ.get("BEHOLDER_SHARED", "../shared")).resolve() / "data" / "fashion-mnist.zip"


def seconds(epochs: int, most: float, home: Path) -> tuple[float, list[str]]:
    """Return what a run took, inf where it was stopped, and what it said of threads."""
    command = [sys.executable, "-m", "beholder", "train", str(SOURCE), "--recipe", "sprint", "--audit", "off"]
    began = time.monotonic()
    with (home / "said").open("w+") as said:
        process = subprocess.Popen(
            [*command, "--epochs", str(epochs), "--out", str(home / "x.beholder")],
            env={**os.environ, "HOME": str(home)},
            stdout=said,
            stderr=said,
        )
        try:
            code = process.wait(most)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return float("inf"), []
        took = time.monotonic() - began
        said.seek(0)
        lines = said.read().splitlines()
    if code:
        raise SystemExit("\n".join(lines))
    return took, [line for line in lines if "threads" in line]


def main(loops: str = "0,1,2,4", epochs: str = "1", most: str = "300") -> None:
    for count in map(int, loops.split(",")):
        beside = [subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True) for _ in range(count)]
        try:
            with tempfile.TemporaryDirectory() as home:
                took, said = seconds(int(epochs), float(most), Path(home))
        finally:
            for process in beside:
                process.kill()
                process.wait()
        print(f"{count} loops: {took:.0f} s", *said, sep="\n  ", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
