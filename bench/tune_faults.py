"""SIGKILL of workers of a search at random moments: right ends, trials lost or done twice, and the same winner.

    .venv/bin/python bench/tune_faults.py [KILLS] [local] [join] [ray]

KILLS: of each (17); default: all three. A study of four small trials, its budget in epochs, is carried out by two processes
(local), by this process and one that has joined by the shared folder (join; every second time that process is killed,
else the one that trains for it), or by two tasks of a Ray cluster on this machine (ray). A worker is killed after a share
of the time of the search that is drawn anew each time; in two studies of four as soon as a trial has its first checkpoint
after that, for the moment between a checkpoint and its result is too short to be drawn. An end is right where every trial has
a score, once, and the weights are those of a study that nobody disturbed. Where no worker was there yet, or any more, nothing
is counted. The exit status is 1 where an end was not right; the reasons of trials that failed are printed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from killed import leaves

import beholder
from beholder.base.files import file_sha256
from beholder.machine.cluster import connected
from beholder.study import crew_shared
from beholder.study.tune import tune

JOIN = """
import sys, time, beholder
from pathlib import Path
from beholder.base.errors import BeholderError
from beholder.study.join import join
for number in range(10_000):
    place = Path(sys.argv[1], f"join{number}.beholder")
    while not place.with_suffix(".tune").exists():
        time.sleep(0.1)
        if place.exists():
            break
    if not place.exists():
        try:
            join(place)
        except BeholderError:
            pass
"""
TRIALS = 4
SHORT: dict[str, Any] = {"net": "cnn", "epochs": 8, "batch": 8, "precision": "fp32", "minutes": 30, "trials": TRIALS}
EACH = {"local": 1, "join": 1, "ray": 3}
"""Kills in a study: a job is given up after two deaths of a process, and after four losses of a worker of a cluster."""

HOW: dict[str, dict[str, Any]] = {"local": {"workers": 2}, "join": {}, "ray": {"launch": "ray:2"}}


def workers(mode: str, joined: subprocess.Popen[bytes] | None, turn: int) -> list[int]:
    """Return the processes that may be killed now."""
    if mode == "join" and turn % 2 and joined is not None:
        return [joined.pid]
    sign, found = b"ray::advance" if mode == "ray" else b"study.worker", list[int]()
    for process in below(os.getpid()):
        with suppress(OSError):
            if sign in Path(f"/proc/{process}/cmdline").read_bytes():
                found.append(process)
    return found


def below(process: int) -> list[int]:
    """Return the processes that a process has started, and those that these have."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found, todo = list[int](), [process]
    while todo:
        above = todo.pop()
        todo += (children := [child for child, parent in parents.items() if parent == above])
        found += children
    return found


def searched(source: Path, out: Path, **how: Any) -> tuple[Any, float]:
    """Return what a study found, and the seconds that its search took."""
    at = [time.monotonic(), 0.0]

    def sink(event: beholder.Event) -> None:
        if event.name == "best-trial":
            at[1] = time.monotonic()

    with beholder.listen(sink, alone=True):
        return tune(source, out=out, **SHORT, **how), at[1] - at[0]


def checkpoint(study: Path, until: float) -> None:
    """Wait until a trial has its first checkpoint, or the time is over."""
    before = set(study.glob("*.run/checkpoint"))
    while time.monotonic() < until and not set(study.glob("*.run/checkpoint")) - before:
        time.sleep(0.001)


def struck(
    mode: str, joined: subprocess.Popen[bytes] | None, turn: int, moments: list[float], study: Path, said: list[int]
) -> None:
    """Kill a worker at each of the moments, or at a checkpoint after it; study: its folder; said: takes the processes."""
    began = time.monotonic()
    for moment in sorted(moments):
        time.sleep(max(0.0, began + moment - time.monotonic()))
        if turn % 4 >= 2:
            checkpoint(study, began + 2 * max(moments))
        found = workers(mode, joined, turn)
        with suppress(OSError, IndexError):
            os.kill(chosen := random.Random(turn).choice(found), signal.SIGKILL)
            said.append(chosen)


def done(journal: Path) -> Counter[int]:
    """Return how often each trial was screened to its end, by its number in the journal."""
    found, index = Counter[int](), dict[int, int]()
    for line in journal.read_text("utf-8").splitlines():
        entry = json.loads(line)
        attribute = entry.get("user_attr", {})
        if "index" in attribute and "trial_id" in entry:
            index[entry["trial_id"]] = attribute["index"]
        if "slice" in attribute:
            found[index[entry["trial_id"]]] += 1
    return found


def faults(mode: str, kills: int, top: Path) -> tuple[str, bool]:
    """Return what came of so many kills, in words, and whether every end was right."""
    source, moments, told = leaves(top / "leaves", 40, 24), random.Random(0), Counter[str]()
    whole, _ = searched(source, top / "whole.beholder")
    searched(source, top / "first.beholder", **HOW[mode])  # in which a cluster starts its processes
    _, took = searched(source, top / "undisturbed.beholder", **HOW[mode])
    wanted, joined = file_sha256(whole.outcome.path / "model.safetensors"), None
    for turn in range(3 * kills):
        if mode == "join" and (joined is None or joined.poll() is not None):
            nowhere = subprocess.DEVNULL
            joined = subprocess.Popen([sys.executable, "-c", JOIN, str(top)], stdout=nowhere, stderr=nowhere)
        said: list[int] = []
        when = [moments.uniform(0.1, 1.0) * took for _ in range(EACH[mode])]
        killer = threading.Thread(target=struck, args=(mode, joined, turn, when, top / f"{mode}{turn}.tune", said))
        killer.start()
        found, _ = searched(source, top / f"{mode}{turn}.beholder", **HOW[mode])
        killer.join()
        if not said:
            continue
        screened = done(top / f"{mode}{turn}.tune.jsonl")
        told["kills"] += len(said)
        told["ends"] += 1
        told["lost"] += sum(screened[index] == 0 for index in range(TRIALS))
        told["doubled"] += sum(screened[index] > 1 for index in range(TRIALS))
        told["failed"] += sum(row["state"] != "scored" for row in found.trials)
        same = file_sha256(found.outcome.path / "model.safetensors") == wanted and found.recipe == whole.recipe
        told["same"] += same
        told["right"] += same and all(row["state"] == "scored" for row in found.trials)
        for row in found.trials:
            if row["state"] != "scored":
                print(f"  {mode} {turn}: trial {row['trial']} is {row['state']}: {row['reason']}", flush=True)
        print(f"  {mode} {turn}: killed {len(said)}, {'the same' if same else 'ANOTHER'} winner, {dict(screened)}", flush=True)
        if told["kills"] >= kills:
            break
    if joined is not None:
        joined.kill()
        joined.wait()
    names = ("ends", "right", "same", "lost", "doubled", "failed")
    counts = ", ".join(f"{name} {told[name]}" for name in names)
    return f"{mode}: {told['kills']} kills; {counts}", told["right"] == told["ends"]


if __name__ == "__main__":
    torch.set_num_threads(1)
    crew_shared.LOST = 10.0
    given = sys.argv[1:]
    count, wrong = int(given[0]) if given and given[0].isdigit() else 17, 0
    for part in HOW:
        if part in given or not set(HOW) & set(given):
            with tempfile.TemporaryDirectory() as place, connected() if part == "ray" else nullcontext():
                began = time.monotonic()
                words, right = faults(part, count, Path(place))
                print(words, f"({time.monotonic() - began:.0f} s)", flush=True)
                wrong += not right
    sys.exit(1 if wrong else 0)
