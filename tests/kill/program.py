"""Kills training runs in the middle of their work and proves that none is lost. Run it by `make kill`, or as

    python -m tests.kill.program points random:500 signals disk

points     SIGKILL before, in the middle of and after each write, rename, fsync and deletion (points:N: each N-th of them)
random:N   SIGKILL of N runs at moments drawn evenly over the whole run, bundle and report included
signals:N  Ctrl-C and SIGTERM at each stage of a run and inside each N-th of its writes
disk:N     ENOSPC and EIO at each N-th write, rename, fsync and new folder
boxes      before the others: the runs train a detector

After each, every bundle that lies there must be readable, `--resume` must succeed, and the weights it ends with must have the
SHA-256 of the run that nobody disturbed. Children are forked from one process that has everything imported and runs on one
thread. The last line is a JSON object with the counts.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tests import squares
from tests.kill import strikes

import beholder
from beholder.base import events
from beholder.base.errors import BeholderError
from beholder.base.files import adopt, file_sha256
from beholder.cli.run import run as command
from beholder.learn import checkpoint

FIELDS = {
    "net.name": "cnn",
    "net.width": 0.25,
    "train.epochs": 3,
    "train.batch": 8,
    "train.averaging": 0.9,
    "train.precision": "bf16",
    "data.mixup": 0.3,
    "data.augment": "standard",
}
BOXES = {
    "detect.pyramid": 8,
    "detect.depth": 1,
    "detect.views": 2,
    "train.epochs": 1,
    "train.batch": 8,
    "train.averaging": 0.9,
    "train.precision": "fp32",
    "data.size": 64,
}
WORKERS = (0, 2, 4)
"""The number of decoding threads changes from each run to the one that resumes it."""


@dataclass
class Place:
    """One run's folder: pictures, a home with its own cache, and the bundle."""

    folder: Path

    @property
    def bundle(self) -> Path:
        return self.folder / "m.beholder"

    def arguments(self, *, resume: bool = False, workers: int = 0, seed: int = 1) -> list[str]:
        """Return the command line of a run: on labels, or where the table is there, on boxes."""
        table = self.folder.parent / "squares" / "boxes.csv"
        fields = {**(BOXES if table.exists() else FIELDS), "data.workers": workers}
        sets = [word for name, value in fields.items() for word in ("--set", f"{name}={value}")]
        words = [
            "train",
            str(table if table.exists() else self.folder.parent / "leaves"),
            "--out",
            str(self.bundle),
            "--seed",
            str(seed),
            *sets,
        ]
        return [*words, *(["--resume"] if resume else [])]


@dataclass
class Counts:
    """What the program found out."""

    kills: int = 0
    points: int = 0
    lost: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    continued: int = 0
    restarted: int = 0
    signals: int = 0
    disk: int = 0
    slowest_leave: float = 0.0

    def lose(self, what: str, why: str) -> None:
        """Note a run that was lost, and say so at once."""
        print(f"LOST: {what}: {why}", file=sys.stderr)
        self.lost.append(f"{what}: {why}")


def draw(folder: Path) -> None:
    """Write three classes of pictures which differ in colour."""
    rng = np.random.default_rng(0)
    for name, colour in {"healthy": (40, 160, 60), "mildew": (210, 210, 220), "rust": (180, 80, 20)}.items():
        (folder / name).mkdir(parents=True)
        for number in range(12):
            pixels = np.clip(np.array(colour) + rng.integers(-90, 90, (20, 24, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:02}.png")


def fork(work: Callable[[], int], *, home: Path, log: Path) -> int:
    """Run `work` in a child and return its process number; its exit code is what `work` returns, its talk goes to `log`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # no other thread runs here
        child = os.fork()
    if child:
        return child
    code = 99
    try:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.environ["HOME"] = str(home)
        for name in ("BEHOLDER_CACHE", "XDG_CACHE_HOME"):
            os.environ.pop(name, None)
        checkpoint.Due.__bool__ = lambda self: True  # a checkpoint after every step
        code = work()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001  (a child must never return into the parent's code)
        traceback.print_exc()
    finally:
        os._exit(code)


def wait(child: int, *, seconds: float = 60.0) -> int:
    """Return the exit code of a child, negative for the signal that ended it; -9 if it had to be ended as it hung."""
    began = time.monotonic()
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() - began > seconds:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)


class Program:
    """The warm process: a folder of pictures, the run that nobody disturbs, and all attempts on the others."""

    def __init__(self, top: Path, *, boxes: bool = False) -> None:
        self.top = top
        self.counts = Counts()
        self.number = 0
        squares.drawn(top / "squares", n=24) if boxes else draw(top / "leaves")
        began = time.monotonic()
        command(Place(top / "warm").arguments())  # imports, and finds the memory that kernels need
        self.reference, self.named, self.seconds = "", [], 0.0
        place = self.place()
        code = wait(fork(lambda: self._recording(place), home=place.folder / "home", log=place.folder / "log"))
        assert code == 0, (place.folder / "log").read_text()
        recorded = json.loads((place.folder / "recorded.json").read_text())
        self.named, self.stages = recorded["points"], recorded["stages"]
        self.reference, self.tested = weights(place.bundle), tested(place.bundle)
        started = time.monotonic()
        self.earlier = self._earlier()
        self.seconds = time.monotonic() - started
        say(f"warmed in {time.monotonic() - began:.0f} s; one run takes {self.seconds:.2f} s and has {len(self.named)} points")

    def place(self) -> Place:
        """Return a new, empty place."""
        self.number += 1
        place = Place(self.top / f"{self.number:04}")
        place.folder.mkdir()
        return place

    def _recording(self, place: Place) -> int:
        """Run undisturbed and write down all points that came and what was said."""
        names: dict[str, int] = {}
        stages: dict[str, None] = {}
        strikes.arm(lambda name, before: names.update({name: before + 1}), under=place.folder)

        def hear(event: events.Event) -> None:
            stages.setdefault(event.message.split(":")[0] + (f" {event.fields['done']}" if event.kind == "progress" else ""))

        with events.listen(hear):
            code = command(place.arguments())
        figures = {"points": list(names.items()), "stages": list(stages)}
        (place.folder / "recorded.json").write_text(json.dumps(figures))
        return code

    def _earlier(self) -> Path:
        """Return the folder of a finished bundle of another seed, and the SHA-256 of its files."""
        place = self.place()
        child = fork(lambda: command(place.arguments(seed=2)), home=place.folder / "home", log=place.folder / "log")
        assert wait(child) == 0
        return place.bundle

    # --- what must hold afterwards ---------------------------------------------------------------------------------

    def check(self, what: str, place: Place, *, over: bool, most: int = 1) -> None:
        """After a run was ended: what lies there is readable, and resuming it ends in the weights of the undisturbed run.

        The test says the same too. A run that was ended leaves at most one reading of the test part more than there were as
        it began (`most` in all), and so does the one that resumes it.
        """
        if not self._readable(what, place, over=over):
            return
        ended = self.readings(place)
        if ended > most:
            self.counts.lose(what, f"{ended} readings after it instead of {most}")
            return
        workers = WORKERS[self.number % 3]
        log = place.folder / "resumed.log"
        code = wait(fork(lambda: command(place.arguments(resume=True, workers=workers)), home=place.folder / "home", log=log))
        said = log.read_text()
        self.counts.continued += "resumed at step" in said or "trained already" in said
        self.counts.restarted += "holds no checkpoint" in said
        if code or not place.bundle.exists():
            self.counts.lose(what, f"resuming ended with {code}:\n{said}")
        elif weights(place.bundle) != self.reference:
            self.counts.lose(what, f"other weights:\n{said}")
        elif not (place.bundle / "report.html").is_file() or tested(place.bundle) != self.tested:
            self.counts.lose(what, "no report or other scores")
        elif self.readings(place) not in (max(1, ended), ended + 1):
            self.counts.lose(what, f"{ended} readings before it was resumed, {self.readings(place)} after it")
        else:
            left = {path.name for path in place.folder.iterdir()} - {"home", "log", "resumed.log", "m.beholder"}
            if left:
                self.counts.lose(what, f"left behind: {left}")
            shutil.rmtree(place.folder)

    def _readable(self, what: str, place: Place, *, over: bool) -> bool:
        """Return whether the bundle, if any, is whole; where there was one already (`over`) there must be one."""
        state = place.folder / "m.run" / "checkpoint"
        if place.bundle.exists() or over:
            try:
                beholder.load(place.bundle)
            except BeholderError as error:
                self.counts.unreadable.append(f"{what}: {error}")
                print(f"UNREADABLE: {what}: {error}", file=sys.stderr)
                return False
        if state.exists() and json.loads((state / "state.json").read_bytes())["sha256"] != file_sha256(
            state / "state.safetensors"
        ):
            self.counts.lose(what, "a damaged checkpoint")
            return False
        return True

    def readings(self, place: Place) -> int:
        """Return how often the test part was read by what lies at a place; 0 if that is not the run of the place.

        What was moved aside, and nothing took its place, is what lies there: so says every door that reads it.
        """
        adopt(place.bundle)
        ours = place.bundle.exists() and weights(place.bundle) == self.reference
        return len(beholder.load(place.bundle).readings) if ours else 0

    def begin(self) -> tuple[Place, bool]:
        """Return a place; in every second one an older bundle lies already."""
        place = self.place()
        over = self.number % 2 == 0
        if over:
            shutil.copytree(self.earlier, place.bundle)
        return place, over

    # --- the attempts ----------------------------------------------------------------------------------------------

    def points(self, step: int) -> None:
        """SIGKILL at each `step`-th named point once, at the middle one of the times that it comes."""
        for name, times in self.named[::step]:
            place, over = self.begin()

            def strike(at: str, before: int, name: str = name, times: int = times) -> None:
                if (at, before) == (name, times // 2):
                    os.kill(os.getpid(), signal.SIGKILL)

            def work(place: Place = place, strike: strikes.Strike = strike) -> int:
                strikes.arm(strike, under=place.folder)
                return command(place.arguments(workers=WORKERS[self.number % 3]))

            code = wait(fork(work, home=place.folder / "home", log=place.folder / "log"))
            self.counts.kills += code == -signal.SIGKILL
            self.counts.points += code == -signal.SIGKILL
            self.check(name, place, over=over)

    def random(self, number: int) -> None:
        """SIGKILL at random moments until `number` runs were hit, twice in a row in every fourth run."""
        rng = random.Random(0)
        hit = 0
        for _ in range(4 * number):  # a run may be over before its moment comes
            place, over = self.begin()
            moments = [rng.uniform(0, self.seconds) for _ in range(1 + (self.number % 4 == 0))]
            killed, before = False, 0
            for turn, moment in enumerate(moments):
                before = self.readings(place)
                words = place.arguments(resume=turn > 0, workers=WORKERS[self.number % 3])
                child = fork(lambda words=words: command(words), home=place.folder / "home", log=place.folder / "log")
                time.sleep(moment)
                os.kill(child, signal.SIGKILL)
                struck = wait(child) == -signal.SIGKILL
                self.counts.kills += struck
                killed |= struck
            self.check(f"random {moments}", place, over=over, most=before + 1)
            hit += killed
            if hit == number:
                return

    def signals(self, step: int) -> None:
        """Ctrl-C and SIGTERM as each thing is said, and inside each `step`-th point of writing."""
        said = [("said", stage, 0) for stage in self.stages]
        inside = [("point", name, times // 2) for name, times in self.named[::step]]
        for kind, name, count in [*said, *inside]:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._signal(kind, name, count, number)

    def _signal(self, kind: str, name: str, count: int, number: signal.Signals) -> None:
        place, over = self.begin()
        mark = place.folder / "asked"

        def ask() -> None:
            mark.touch()
            os.kill(os.getpid(), number)

        def hear(event: events.Event) -> None:
            words = event.message.split(":")[0] + (f" {event.fields['done']}" if event.kind == "progress" else "")
            if kind == "said" and words == name and not mark.exists():
                ask()

        def strike(at: str, before: int) -> None:
            if kind == "point" and (at, before) == (name, count):
                ask()

        def work() -> int:
            strikes.arm(strike, under=place.folder)
            with events.listen(hear):
                return command(place.arguments())

        code = wait(fork(work, home=place.folder / "home", log=place.folder / "log"))
        what = f"{number.name} at {name}"
        said = (place.folder / "log").read_text()
        if not mark.exists():
            self.counts.lose(what, f"the moment never came:\n{said}")
            return
        took = time.time() - mark.stat().st_mtime
        mark.unlink()
        self.counts.signals += 1
        self.counts.slowest_leave = max(self.counts.slowest_leave, took)
        left = [path.name for path in place.folder.iterdir() if path.name.startswith(".")]
        if code != 128 + number or "Traceback" in said or "error: " not in said or took > 5 or left:
            self.counts.lose(what, f"exit {code} after {took:.1f} s, left {left}:\n{said}")
        else:
            self.check(what, place, over=over, most=0)

    def disk(self, step: int) -> None:
        """ENOSPC and EIO at each `step`-th point but those after something, where the work is done already."""
        doors = ("write_bytes", "save", "fsync", "replace", "mkdir")
        for k, (name, times) in enumerate(self.named[::step]):
            when, door, _ = name.split(" ", 2)
            if when != "after" and door in doors:
                for number in (errno.ENOSPC, errno.EIO):
                    self._disk(name, times // 2, number, resume=(k + number) % 2 == 0)

    def _disk(self, name: str, before: int, number: int, *, resume: bool) -> None:
        place, over = self.begin()

        def work() -> int:
            strikes.arm(strikes.failing((name, before), number), under=place.folder)
            return command(place.arguments())

        code = wait(fork(work, home=place.folder / "home", log=place.folder / "log"))
        what = f"{errno.errorcode[number]} at {name}"
        said = (place.folder / "log").read_text()
        self.counts.disk += 1
        left = [path for path in place.folder.rglob(".*") if path.name.startswith(".") and path.name != ".cache"]
        clear = "the disk is full while writing" in said if number == errno.ENOSPC else "cannot write" in said
        # What is remembered may be forgotten (digests, readings), and what is deleted need not be renamed first.
        forgiven = code == 0 and ("warning: " in said or (" replace " in name and name.endswith(".tmp")))
        if code not in (0, 1) or "Traceback" in said or "internal" in said or not (clear or forgiven) or left:
            self.counts.lose(what, f"exit {code}, left {left}:\n{said}")
        elif resume:
            self.check(what, place, over=over)
        elif self._readable(what, place, over=over):
            shutil.rmtree(place.folder)


def weights(bundle: Path) -> str:
    """Return the SHA-256 of a bundle's weights."""
    return file_sha256(bundle / "model.safetensors")


def tested(bundle: Path) -> dict[str, object]:
    """Return what the test of a bundle said, but for its seconds and how often the part was read."""
    scores = beholder.load(bundle).scores
    sections = {name: section for name, section in scores.get("sections", {}).items() if name != "reuse"}
    return {"scores": scores.get("scores"), "classes": scores.get("classes"), "sections": sections}


def say(words: str) -> None:
    """Say something to the person who waits."""
    print(words, file=sys.stderr, flush=True)


def main(modes: list[str]) -> int:
    """Run the modes named; return 0 if nothing was lost."""
    torch.set_num_threads(1)
    memory = Path("/dev/shm")  # a SIGKILL asks nothing of the disk, and there an fsync costs nothing
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 64 << 20
    with (
        tempfile.TemporaryDirectory(prefix="beholder-kill-", dir=memory if roomy else None) as top,
        contextlib.suppress(KeyboardInterrupt),
    ):
        os.environ["HOME"] = str(Path(top) / "home")
        with events.listen(alone=True), Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            program = Program(Path(top).resolve(), boxes="boxes" in modes)
        for mode in (mode for mode in modes if mode != "boxes"):
            began = time.monotonic()
            name, _, number = mode.partition(":")
            work = {"points": program.points, "random": program.random, "signals": program.signals, "disk": program.disk}[name]
            work(int(number or 1))
            say(f"{mode}: {time.monotonic() - began:.0f} s")
    counts = program.counts
    say(f"kills {counts.kills}, lost runs {len(counts.lost)}, unreadable bundles {len(counts.unreadable)}")
    print(json.dumps(vars(counts)))
    return 1 if counts.lost or counts.unreadable else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["points", "random:500", "signals", "disk"]))
