"""Decodes mutated pictures by the hundred thousand and proves that none does harm. Run it by `make fuzz`, or as

    python -m tests.fuzz.program [COUNT] [--from SEED] [--out FOLDER] [--workers N]

Each of N processes decodes every N-th seed, as `image` does and within the memory that one picture may take. An offender
is a file that ends the process (crash), keeps it for more than ten seconds (hang), is refused without a reason code (reason),
gives other pixels than the reference, Pillow, does (differs), gives pixels that the reference refuses (admitted), or gives
other pixels than the whole file although nothing was done but to end it early (truncated). Offenders are saved in FOLDER, and
so is the next seed: without --from a run goes on where the last one ended. A line of JSON tells of every 20,000 files;
the exit code is 1 where there was an offender.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

PATIENCE = 10.0
COMMAND = (sys.executable, "-W", "ignore", "-m", "tests.fuzz.program", "--work")
COMPARED = 30_000_000
"""Values above which a picture is not compared with the reference, which would take longer than decoding it."""
REASONS = frozenset(
    {
        "empty", "not-a-picture", "truncated", "damaged", "too-many-pixels", "too-many-bytes", "not-finite", "no-decoder",
        "no-pixels", "out-of-memory",
    }
)  # fmt: skip


def judged(seed: int) -> tuple[str, str]:
    """Return what became of a seed: the reason code or "pixels", and the offence or ""."""
    import numpy as np
    from tests.fuzz.mutate import mutated, samples
    from tests.fuzz.reference import reference

    from beholder import image
    from beholder.base.errors import PictureError

    mutant = mutated(seed)
    with contextlib.suppress(PictureError):
        image.header(mutant.data)
    try:
        ours = image.decode(mutant.data, channels=3)
    except PictureError as error:
        return error.code, "" if error.code in REASONS and error.hint else "reason"
    if mutant.cut and not np.array_equal(ours, image.decode(samples()[mutant.sample], channels=3)):
        return "pixels", "truncated"
    if ours.size > COMPARED:
        return "pixels", ""
    theirs = reference(mutant.data)
    if theirs is None:
        return "pixels", "admitted"
    tolerance, pixels = theirs
    same = ours.shape == pixels.shape and np.abs(ours - pixels).max() <= tolerance
    return "pixels", "" if same else "differs"


def work(first: int, last: int, step: int) -> None:
    """Judge seeds; say each before it begins, and at the end what became of them."""
    from beholder import image
    from beholder.base.limits import LIMITS
    from beholder.image import child, sandbox

    def here(data: bytes, channels: int, background: tuple[int, int, int], limits: Any, bits: int = 0) -> Any:
        question = {"wants": "pixels", "channels": channels, "background": background, "limits": limits.__dict__, "bits": bits}
        said, pixels = child.answer(question, data)
        if pixels is None:
            raise sandbox.PictureError(said["error"].pop("message"), **said["error"])
        return pixels

    def header_here(data: bytes, limits: Any) -> None:
        child.answer({"wants": "header", "limits": limits.__dict__}, data)

    sandbox.decode, sandbox.header = here, header_here  # type: ignore[assignment]  # this process is the child
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    child._calm()
    base, plain = child._address_space(), image.decode
    peak, slowest = 0, (0.0, 0)

    def bounded(data: bytes, *, channels: int) -> Any:
        """As `image.decode`, within the memory of one picture; what the reference takes does not count."""
        nonlocal peak, slowest
        began = time.perf_counter()
        Path("/proc/self/clear_refs").write_text("5")
        child._bound(base + LIMITS.memory)
        try:
            return plain(data, channels=channels)
        finally:
            child._bound(-1)
            slowest = max(slowest, (round(time.perf_counter() - began, 2), seed))
            peak = max(peak, _peak())

    image.decode = bounded  # type: ignore[assignment]
    kinds: Counter[str] = Counter()
    for seed in range(first, last, step):
        answers.write(f"{seed}\n")
        found, offence = judged(seed)
        kinds[found] += 1
        if offence:
            answers.write(json.dumps({"offence": offence, "seed": seed}) + "\n")
    answers.write(json.dumps({"kinds": kinds, "slowest": slowest, "peak": peak}) + "\n")


def _peak() -> int:
    """Return the most MiB that were resident since the mark was cleared."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


class Worker:
    """One process and the seed it is at."""

    def __init__(self, first: int, last: int, step: int) -> None:
        self.at, self.last, self.step = first, last, step
        self.since = time.monotonic() + 30  # it has to start
        command = [*COMMAND, str(first), str(last), str(step)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        self.rest = b""
        self.done = False

    def lines(self) -> list[str]:
        assert self.process.stdout is not None
        data = self.rest + (os.read(self.process.stdout.fileno(), 1 << 16) or b"")
        *whole, self.rest = data.split(b"\n")
        if whole:
            self.since = time.monotonic()
        return [line.decode() for line in whole]


class Run:
    """All seeds from `first` to `last`, their outcomes and the offenders."""

    def __init__(self, first: int, last: int, out: Path, workers: int) -> None:
        self.out, self.last, self.workers = out, last, workers
        self.kinds: Counter[str] = Counter()
        self.offenders: list[tuple[int, str]] = []
        self.slowest, self.peak = (0.0, 0), 0
        self.selector = selectors.DefaultSelector()
        self.alive: set[Worker] = set()
        for k in range(workers):
            self.start(first + k)

    def start(self, seed: int) -> None:
        if seed < self.last:
            worker = Worker(seed, self.last, self.workers)
            self.alive.add(worker)
            self.selector.register(worker.process.stdout, selectors.EVENT_READ, worker)

    def offence(self, seed: int, what: str) -> None:
        from tests.fuzz.mutate import mutated

        self.offenders.append((seed, what))
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / f"{what}-{seed}.bin").write_bytes(mutated(seed).data)

    def hear(self, worker: Worker) -> None:
        lines = worker.lines()
        if not lines and worker.process.poll() is not None:
            self.end(worker, "" if worker.done else "crash")
        for line in lines:
            if not line.startswith("{"):
                worker.at = int(line)
                continue
            said = json.loads(line)
            if "offence" in said:
                self.offence(said["seed"], said["offence"])
            else:
                worker.done = True
                self.kinds += Counter(said["kinds"])
                self.slowest, self.peak = max(self.slowest, tuple(said["slowest"])), max(self.peak, said["peak"])

    def end(self, worker: Worker, what: str) -> None:
        worker.process.kill()
        status = worker.process.wait()
        self.selector.unregister(worker.process.stdout)
        worker.process.stdout.close()  # type: ignore[union-attr]
        self.alive.discard(worker)
        if what:
            self.offence(worker.at, what if what == "hang" else f"crash{-status}")
            self.start(worker.at + worker.step)

    def go(self) -> None:
        try:
            while self.alive:
                for key, _ in self.selector.select(timeout=0.5):
                    self.hear(key.data)
                for worker in list(self.alive):
                    if time.monotonic() - worker.since > PATIENCE:
                        self.end(worker, "hang")
        finally:
            for worker in list(self.alive):
                self.end(worker, "")


def fuzz(count: int, first: int, out: Path, workers: int) -> dict[str, Any]:
    """Judge `count` seeds from `first` on; return the figures."""
    began = time.monotonic()
    run = Run(first, first + count, out, workers)
    run.go()
    return {
        "files": count,
        "first": first,
        "seconds": round(time.monotonic() - began, 1),
        "outcomes": dict(run.kinds.most_common()),
        "offenders": sorted(run.offenders),
        "slowest": run.slowest,
        "peak_mib": run.peak,
    }


def main(words: list[str]) -> int:
    if words[:1] == ["--work"]:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        work(*map(int, words[1:4]))
        return 0
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("count", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--from", dest="first", type=int, default=-1)
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args(words)
    state = asked.out / "next"
    first = asked.first if asked.first >= 0 else int(state.read_text()) if state.exists() else 0
    offenders, end, step = 0, first + asked.count, 20_000
    while first < end:
        found = fuzz(min(step, end - first), first, asked.out, asked.workers)
        offenders += len(found["offenders"])
        first += found["files"]
        asked.out.mkdir(parents=True, exist_ok=True)
        state.write_text(str(first))
        print(json.dumps(found), flush=True)
    return 1 if offenders else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
