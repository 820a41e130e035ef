"""SIGKILL of a worker or of the command at random moments of `predict --parts`: is a row lost or doubled?

    .venv/bin/python bench/ranges_faults.py [KILLS] [local|ray|head]

KILLS: how many (50). A job of 400 pictures in 100 ranges is run by two workers (local: processes; ray: tasks of a cluster that
the run starts itself), killed at a moment drawn from its life, at one of its workers or itself in turn, and run again, until it
ends; then the next job begins. head: what is killed is the head of a cluster that the run only uses, with all of its node; it
is started again at once, in turn with once the command has ended, and the command is run again. Every job has to end with one
row a picture, equal to that of a run that nobody disturbed.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from beholder.machine.cluster import LOOPBACK_ALONE

RANGES = 100


def leaves(folder: Path, each: int) -> Path:
    """Write four classes of pictures which differ in colour, some of them damaged, and return their folder."""
    rng = np.random.default_rng(0)
    colours = {"healthy": (40, 160, 60), "mildew": (210, 210, 220), "rust": (180, 80, 20), "spot": (20, 20, 120)}
    for name, colour in colours.items():
        (folder / name).mkdir(parents=True)
        for number in range(each):
            pixels = np.clip(np.array(colour) + rng.integers(-30, 30, (20, 24, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:03}.png")
        (folder / name / f"{rng.integers(each):03}.png").write_bytes(b"nonsense")
    return folder


def rows(parts: Path) -> list[dict[str, object]]:
    return pa.concat_tables(pq.read_table(path) for path in sorted(parts.glob("part-*.parquet"))).to_pylist()


def inside(pid: int) -> list[int]:
    """Return the processes below one that carry out ranges."""
    above, found = {}, []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            above[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            words = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if b"spread_local" in words or b"ray::messages" in words:
            found.append(int(path.name))
    return [one for one in found if _below(one, pid, above)]


def _below(one: int, pid: int, above: dict[int, int]) -> bool:
    while one > 1:
        if one == pid:
            return True
        one = above.get(one, 0)
    return False


def started(words: list[str], home: Path) -> subprocess.Popen[bytes]:
    env = {**os.environ, "HOME": str(home), "OMP_NUM_THREADS": "1"}
    nowhere = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([sys.executable, "-m", "beholder", *words], env=env, **nowhere)


def job(words: list[str], parts: Path, home: Path, moments: random.Random, left: int) -> int:
    """Run one job to its end, killed again and again; return how many kills there were, `left` at most."""
    kills = 0
    while True:
        running, before = started([*words, "--parts", str(parts)], home), len(list(parts.glob("part-*")))
        wanted, wait = before + moments.randint(0, RANGES // 8), moments.uniform(0, 0.3)
        while running.poll() is None and len(list(parts.glob("part-*"))) < wanted:
            time.sleep(0.005)
        time.sleep(wait)
        victims = inside(running.pid)
        while kills < left and running.poll() is None:
            if kills % 2 == 0 and victims:
                kills += 1
                os.kill(moments.choice(victims), signal.SIGKILL)
                time.sleep(moments.uniform(0, 2))
                victims = []
                continue
            kills += 1
            running.kill()
            break
        if running.wait() == 0:
            return kills


class Head:
    """The head of a cluster on this machine, with two cores, in a process group of its own."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.home = home
        self.start()

    def start(self) -> None:
        """Start it and wait until it is there."""
        options = [
            "--node-ip-address",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--num-cpus",
            "2",
            "--include-dashboard",
            "false",
        ]
        quiet = {"RAY_USAGE_STATS_ENABLED": "0", LOOPBACK_ALONE: "0", "PYTHONUNBUFFERED": "1"}
        words = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", *options]
        with (self.home / "head.log").open("wb") as log:
            env = {**os.environ, "HOME": str(self.home), **quiet}
            self.process = subprocess.Popen(words, env=env, start_new_session=True, stdout=log, stderr=log)
        until = time.monotonic() + 120
        while b"Ray runtime started" not in (self.home / "head.log").read_bytes() and time.monotonic() < until:
            time.sleep(0.1)

    def kill(self) -> None:
        """Kill it, and all that it started."""
        below = [pid for path in Path("/proc").glob("[0-9]*") if self._owns(pid := int(path.name))]
        for pid in [self.process.pid, *below]:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def _owns(self, pid: int) -> bool:
        try:
            return os.getsid(pid) == self.process.pid or f":{self.port}".encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False


def without_a_head(words: list[str], parts: Path, home: Path, moments: random.Random, left: int) -> int:
    """Run one job to its end while its head is killed and started again; return how many kills there were, `left` at most."""
    head, kills = Head(home), 0
    os.environ["RAY_ADDRESS"] = f"127.0.0.1:{head.port}"
    try:
        while True:
            running, before = started([*words, "--parts", str(parts)], home), len(list(parts.glob("part-*")))
            wanted = before + moments.randint(0, RANGES // 8)
            while running.poll() is None and len(list(parts.glob("part-*"))) < wanted:
                time.sleep(0.005)
            time.sleep(moments.uniform(0, 0.3))
            if kills < left and running.poll() is None:
                kills, began, at_once = kills + 1, time.monotonic(), kills % 2 == 0
                head.kill()
                if at_once:
                    head.start()
                code, took = running.wait(), time.monotonic() - began
                if not at_once:
                    head.start()
                print(f"  ended with {code} {took:.0f} s after its head was killed", flush=True)
            if running.wait() == 0:
                return kills
    finally:
        head.kill()
        os.environ.pop("RAY_ADDRESS", None)


def main(kills: int, where: str) -> int:
    import beholder

    launch, run = {"local": "local:2", "ray": "ray:2", "head": "ray:2"}[where], without_a_head if where == "head" else job
    moments, done, jobs, wrong = random.Random(0), 0, 0, 0
    with tempfile.TemporaryDirectory() as place:
        top = Path(place)
        source, model = leaves(top / "leaves", 100), top / "m.beholder"
        beholder.train(beholder.split(beholder.scan(source)), net="cnn", epochs=1, batch=32, precision="fp32", out=model)
        words = ["predict", str(model), str(source), "--ranges", str(RANGES), "--launch", launch]
        assert started([*words[:-2], "--parts", str(top / "whole")], top).wait() == 0
        wanted = rows(top / "whole")
        assert len(wanted) == 400
        while done < kills:
            done += run(words, top / f"parts{jobs}", top, moments, kills - done)
            wrong += rows(top / f"parts{jobs}") != wanted or bool(list((top / f"parts{jobs}").glob(".*")))
            jobs += 1
            print(f"  {done} kills, {jobs} jobs, {wrong} wrong", flush=True)
    print(f"{where}: {done} kills in {jobs} jobs of 400 pictures; {jobs - wrong} ended with the rows of an undisturbed run")
    return int(wrong > 0)


if __name__ == "__main__":
    given = sys.argv[1:]
    count = int(next((word for word in given if word.isdigit()), 50))
    kinds = ("local", "ray", "head")
    sys.exit(max(main(count, name) for name in kinds if name in given or not {*kinds} & {*given}))
