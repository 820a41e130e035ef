"""CIFAR-10 against the speed run `airbench94_muon`, in turn, on the same pictures, CPU or GPU: seconds to the accuracy reached.

    .venv/bin/python bench/cifar.py [--curve] [--seeds N] [--fp32] [--recipe sprint] [--set NAME=VALUE …]

The peer is K. Jordan's published script `airbench94_muon.py` (BEHOLDER_AIRBENCH: its path), run from its own file. On a GPU
it runs as published. On a CPU it is changed to run at all, at run time: no torch.compile, "cpu" for "cuda", float32 for
float16, a clock for CUDA's events; "bf16" also puts its forward pass under autocast. With --fp32 one epoch as published in
fp32 is timed.
Its time is what it prints itself: training and the last evaluation, from pictures in memory. Beholder's is given twice: its
loop with all validations, and the wall time of the whole command, from the zip to the report.
--curve: accuracy of test pictures after each epoch against seconds of training alone, of both: ours has them as its validation
part, of which it may take a sample; the final accuracy is of all 10,000, and "last" says that no earlier weights were chosen.
Needs the shared pictures (BEHOLDER_SHARED, default ../shared).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
SOURCE = (ROOT / os.environ.get("BEHOLDER_SHARED", "../shared")).resolve() / "data" / "cifar10.zip"
PEER = os.environ.get("BEHOLDER_AIRBENCH", str(ROOT / "bench" / "out" / "airbench94_muon.py"))

AIRBENCH = """
import json, sys, time
import torch
path, mode, seed = sys.argv[1:4]
sys.argv = [path]
text = open(path).read()
if mode != "cuda":
    class Event:
        def __init__(self, **_): pass
        def record(self): self.at = time.monotonic()
        def elapsed_time(self, other): return 1e3 * (other.at - self.at)
    torch.cuda.Event, torch.cuda.synchronize = Event, lambda: None
    text = text.replace("@torch.compile", "").replace('torch.device("cuda")', '"cpu"').replace(".half()", ".float()")
space = {"__name__": "airbench"}
exec(compile(text, path, "exec"), space)
rows = []
def told(variables, is_final_entry):
    rows.append((variables["epoch"], variables["time_seconds"], variables["val_acc"]))
    if mode == "fp32":
        print(json.dumps({"epoch_seconds": rows[0][1]})); sys.exit()
space["print_training_details"] = told
torch.manual_seed(int(seed))
model = space["CifarNet"]().to("cuda" if mode == "cuda" else "cpu").to(memory_format=torch.channels_last)
if mode == "bf16":
    forward = model.forward
    def autocast(*given, **named):
        with torch.autocast("cpu", torch.bfloat16):
            return forward(*given, **named).float()
    model.forward = autocast
if mode == "cuda":
    model.compile(mode="max-autotune")
    space["main"]("warmup", model)
    rows.clear()
accuracy = space["main"](0, model)
curve = [(seconds, right) for epoch, seconds, right in rows if epoch != "eval"]
print(json.dumps({"seconds": rows[-1][1], "accuracy": accuracy, "curve": curve}))
"""

OURS = """
import json, sys, time
from pathlib import Path
import beholder
from beholder.base.records import Parts
source, out, recipe, seed, *changes = sys.argv[1:]
fields = {name: json.loads(value) for name, value in (change.split("=", 1) for change in changes)}
found = beholder.split(beholder.scan(source), val=0.02)
made = beholder.train(Parts(found.train, found.test, found.valid), recipe=recipe, out=out, seed=int(seed), **fields)
rows = [row for row in made.history if row["valid_score"] is not None]
print(json.dumps({
    "seconds": rows[-1]["seconds"] + rows[-1]["validation_seconds"],
    "accuracy": beholder.evaluate(made, found.test).scores.headline["accuracy"].value,
    "last": max(rows, key=lambda row: row["valid_score"]) is rows[-1],
    "curve": [(row["seconds"], row["valid_score"]) for row in rows],
}))
"""


def prepare(folder: Path) -> None:
    """Write the pictures as the peer's script wants them; its own download is never reached."""
    import torch

    import beholder

    (folder / "cifar10").mkdir()
    for name, (x, y) in zip(("train", "test"), beholder.arrays(SOURCE), strict=True):
        held = {"images": torch.from_numpy(x), "labels": torch.from_numpy(y), "classes": [str(k) for k in range(10)]}
        torch.save(held, folder / "cifar10" / f"{name}.pt")


def airbench(folder: Path, mode: str, seed: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", AIRBENCH, PEER, mode, str(seed)], cwd=folder, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def ours(folder: Path, recipe: str, changes: list[str], seed: int) -> dict[str, float]:
    out, began = folder / f"{seed}.beholder", time.monotonic()
    command = [sys.executable, "-m", "beholder", "train", str(SOURCE), "--recipe", recipe, "--seed", str(seed), "--json"]
    for change in ("data.val=0.02", *changes):
        command += ["--set", change]
    done = subprocess.run(
        [*command, "--out", str(out)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
    )
    wall = time.monotonic() - began
    history = json.loads((out / "history.json").read_text())
    accuracy = json.loads(done.stdout)["scores"]["accuracy"]["value"]
    return {"seconds": history[-1]["seconds"], "wall": wall, "accuracy": accuracy}


def our_curve(folder: Path, recipe: str, changes: list[str], seed: int) -> dict[str, Any]:
    given = [change.removeprefix("train.").removeprefix("data.").removeprefix("net.") for change in changes]
    command = [sys.executable, "-c", OURS, str(SOURCE), str(folder / f"curve{seed}.beholder"), recipe, str(seed), *given]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def beside(theirs: list[dict[str, Any]], mine: list[dict[str, Any]]) -> str:
    """Return a table: the mean accuracy of both at the mean seconds of the peer's epochs, ours between its own by a line."""
    lines = ["| seconds | airbench | ours | difference |", "|---|---|---|---|"]
    for k in range(len(theirs[0]["curve"])):
        at = statistics.mean(run["curve"][k][0] for run in theirs)
        peer = statistics.mean(run["curve"][k][1] for run in theirs)
        own = statistics.mean(float(np.interp(at, *np.array([(0, 0.1), *run["curve"]]).T)) for run in mine)
        lines.append(f"| {at:.0f} | {peer:.4f} | {own:.4f} | {own - peer:+.4f} |")
    return "\n".join(lines)


def main() -> None:
    import torch

    asked = argparse.ArgumentParser()
    asked.add_argument("--seeds", type=int, default=3)
    asked.add_argument("--peer-seeds", type=int, default=0, help="fewer runs of the peer, which takes longer (0: as many)")
    asked.add_argument("--curve", action="store_true")
    asked.add_argument("--fp32", action="store_true")
    asked.add_argument("--recipe", default="sprint")
    asked.add_argument("--set", action="append", default=[], dest="changes")
    options = asked.parse_args()
    if not Path(PEER).is_file():
        print(f"left out: the peer's script is not at {PEER} (BEHOLDER_AIRBENCH=…/airbench94_muon.py)")
        return
    mode = "cuda" if torch.cuda.is_available() else "bf16"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        if options.fp32:
            print("airbench, fp32, one of its 8 epochs:", airbench(folder, "fp32", 0), flush=True)
        theirs, mine = [], []
        for seed in range(options.seeds):
            if seed < (options.peer_seeds or options.seeds):
                theirs.append(airbench(folder, mode, seed))
                print(f"seed {seed}: airbench, {mode}: {theirs[-1]}", flush=True)
            mine.append((our_curve if options.curve else ours)(folder, options.recipe, options.changes, seed))
            print(f"seed {seed}: beholder: {mine[-1]}", flush=True)
    peer = {key: statistics.mean(run[key] for run in theirs) for key in ("seconds", "accuracy")}
    if options.curve:
        print(beside(theirs, mine))
        for who, runs in (("airbench", theirs), ("ours", mine)):
            seconds, right = ([run[key] for run in runs] for key in ("seconds", "accuracy"))
            print(f"{who}: {statistics.mean(right):.4f} {right} after {statistics.mean(seconds):.1f} s {seconds}")
        return
    mean = {key: statistics.mean(run[key] for run in mine) for key in ("seconds", "wall", "accuracy")}
    print(f"mean of {len(theirs)}: airbench ({mode}) {peer['seconds']:.1f} s, accuracy {peer['accuracy']:.4f}")
    print(f"mean of {len(mine)}: our loop {mean['seconds']:.1f} s, accuracy {mean['accuracy']:.4f}, whole {mean['wall']:.1f} s")
    loop, whole = mean["seconds"] / peer["seconds"], mean["wall"] / peer["seconds"]
    print(f"  our loop takes {loop:.2f} of its time, our whole command {whole:.2f}")


if __name__ == "__main__":
    main()
