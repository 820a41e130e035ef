"""What a dry run measures: seconds a picture, by a few that are read and a few steps that are timed, and memory at the peak."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from beholder.base.errors import DataError, PictureError
from beholder.base.recipe import Recipe
from beholder.base.records import PARTS, Parts, Pictures, PixelPolicy
from beholder.duplicates.facts import FACTS, fingerprinted
from beholder.image import load
from beholder.learn.checkpoint import RunFolder
from beholder.machine.chip import settled
from beholder.machine.memory import peak_memory
from beholder.machine.pace import slowness
from beholder.nets import backbones
from beholder.nets.choose import photos
from beholder.nets.pretrained import absent
from beholder.study.dryrun import DryRun, Step, size

SAMPLE = 48
"""Pictures that are read, and decoded, to know how long all of them take."""

LOOKS = 8
"""Pictures at a time of which the net's time is taken."""

STATES = 5
"""Copies of the weights that training holds: themselves, gradients, the optimiser's two, the average."""


@dataclass(frozen=True)
class Run:
    """What was asked for.

    out: the bundle; minutes: the budget; workers: trials at a time, of tune; processes: how many train one net
    """

    verb: str
    recipe: Recipe
    out: Path | None = None
    minutes: float = 0.0
    workers: int = 1
    processes: int = 1


@dataclass(frozen=True)
class Costs:
    """What a look at a few pictures says: seconds a picture.

    read: to open, hash and look at it; decode: to make pixels of it; look: the net's answer; learn: a step of training
    memory: bytes at the peak of a step of a batch, 0 where it is not known; weights: parameters of the net
    """

    read: float
    decode: float
    look: float
    learn: float
    memory: int
    weights: int


def whole(pictures: Pictures | Parts) -> Pictures:
    """Return the pictures to look at: those of the training part, where parts are given."""
    return pictures.train if isinstance(pictures, Parts) else pictures


def counted(pictures: Pictures | Parts, recipe: Recipe) -> dict[str, int]:
    """Return part → pictures: of given parts, else by the source's own and the recipe's shares. Raises `DataError`."""
    if isinstance(pictures, Parts):
        return {name: len(part) for name, part in pictures.items()}
    n = len(pictures)
    given = {name: int((pictures.parts == k).sum()) for k, name in enumerate(PARTS)}
    free = int((pictures.parts < 0).sum()) or given["train"]
    val, test = (given[name] or round(share * free) for name, share in (("valid", recipe.data.val), ("test", recipe.data.test)))
    counts = {"train": n - val - test, "valid": val, "test": test}
    if min(counts.values()) < 1:
        hint = "give three pictures of each class at least, one for each part; dozens, for a result that means something"
        raise DataError(f"{n:,} pictures are too few to divide into 3 parts", code="too-few-pictures", hint=hint)
    return counts


def some(pictures: Pictures, count: int = SAMPLE) -> Pictures:
    """Return a seeded sample of pictures."""
    return pictures.take(np.sort(np.random.default_rng(0).permutation(len(pictures))[:count]))


def reading(pictures: Pictures) -> float:
    """Return the seconds that a picture takes to be opened, hashed and looked at."""
    few = some(pictures)
    fingerprinted(some(pictures, 2))  # starts what decodes
    began = time.perf_counter()
    fingerprinted(few)
    return (time.perf_counter() - began) / len(few)


def decoding(pictures: Pictures, policy: PixelPolicy, workers: int) -> float:
    """Return the seconds that a picture takes to become pixels, in as many threads as a run has. Raises `DataError`."""
    few = some(pictures)

    def one(key: str) -> int:
        try:
            load(pictures.store.read(key), policy)
        except PictureError:
            return 0
        return 1

    with ThreadPoolExecutor(workers or None) as pool:
        began = time.perf_counter()
        read = sum(pool.map(one, few.keys))
    if not read:
        raise DataError(f"none of {len(few):,} pictures looked at can be read", code="all-unreadable", hint="open one of them")
    return (time.perf_counter() - began) / len(few)


def computing(on: torch.device) -> tuple[Callable[[], float], float]:
    """Return a clock for work on a device, and by what its seconds are to be multiplied.

    On a CPU it is the time that this thread computes: of a few steps the least wall time is one without other work on the
    machine, however busy that is; the factor says how much longer work takes at this moment.
    """
    if on.type == "cpu" and time.get_clock_info("thread_time").resolution < FINE:
        return time.thread_time, slowness(SPIN)
    return time.perf_counter, 1.0


FINE, SPIN = 1e-4, 0.1
"""Seconds: the resolution that a clock needs, and how long the pace of the machine is measured."""


def looking(work: Callable[[], object], on: torch.device) -> float:
    """Return the seconds that a net takes for a batch, as `work` gives it one: the least of three."""
    took = []
    clock, factor = computing(on)
    settled(on)
    with torch.inference_mode():
        for _ in range(3):
            began = clock()
            work()
            settled(on)
            took.append(clock() - began)
    return factor * min(took)


def noise(policy: PixelPolicy, count: int, on: torch.device) -> Tensor:
    """Return images float32 (count, C, H, W) of noise."""
    images = torch.rand(count, policy.channels, policy.height, policy.width, device=on)
    return images.contiguous(memory_format=torch.channels_last)


def peak(step: Callable[[], object], weights: int, batch: int, on: torch.device) -> int:
    """Return the bytes in use at the peak of steps of `batch` pictures, by one of `LOOKS`; 0 where the system does not say."""
    found = peak_memory(step, on)
    if found is None:
        return 0
    total, added = found
    return total + round(added * max(0.0, batch / LOOKS - 1)) + 4 * weights * (STATES - 1)


def disk_of(policy: PixelPolicy, n: int) -> dict[str, int]:
    """Return the bytes that a run keeps of so many pictures in the cache folder, by what they are."""
    return {"pixels in the cache": policy.channels * policy.height * policy.width * n, "facts in the cache": FACTS.itemsize * n}


def chosen(recipe: Recipe, on: torch.device) -> tuple[Recipe, list[str]]:
    """Return the recipe, where it leaves the choice with a net whose weights are on this machine, and what is to be said."""
    if (recipe.net.name, recipe.net.weights) != ("auto", "auto"):
        return recipe, []
    name, best = photos(on.type, fetch=False)[0], f"timm:{backbones.default('gpu').name}"
    asks = on.type != "cpu" and name != best
    return recipe.set(net=name), [f"on a GPU a run asks the hub for {best}, and takes it where it can be had"] if asks else []


def stand_in(recipe: Recipe) -> tuple[Recipe, bool]:
    """Return the recipe with random weights for published ones that would have to be fetched, and whether they would.

    A net takes as long with the ones as with the others.
    """
    if not absent(recipe.net.name, recipe.net.weights):
        return recipe, False
    return replace(recipe, net=replace(recipe.net, weights="none", init="auto")), True


def unfetched(name: str, weights: int) -> list[str]:
    """Return what is to be said of a net of so many weights that are not on this machine."""
    return [f"the weights of {name} are not on this machine: a run fetches them, about {size(4 * weights)}"]


def uncounted(run: Run) -> list[str]:
    """Return what a run does that is not in the times of its steps, in sentences."""
    data, said = run.recipe.data, []
    judged = "and to find out whether they help"
    if data.unlabelled:
        said.append(f"to read the pictures without labels in {data.unlabelled}, {judged}")
    if data.synthetic:
        made = "to make pictures" if data.synthetic == "auto" else f"to read the made pictures in {data.synthetic}"
        said.append(f"{made}, {judged}")
    if run.recipe.train.teacher:
        said.append(f"to ask the teacher {run.recipe.train.teacher} about the training pictures")
    within = ", though it is within the minutes given" if run.minutes else ""
    notes = [f"not in these times{within}: {what}" for what in said]
    shared = "each with its share of every batch"
    return [*notes, f"these times are of one process; {run.processes} would train, {shared}"] if run.processes > 1 else notes


def assembled(
    run: Run,
    source: str,
    counts: Mapping[str, int],
    net: str,
    policy: PixelPolicy,
    steps: Sequence[Step],
    *,
    memory: int,
    weights: int,
    home: Path,
    notes: Sequence[str] = (),
) -> DryRun:
    """Return the dry run of what was foreseen; weights: how many the net has; home: the cache folder."""
    n = sum(counts.values())
    disk = {**disk_of(policy, n), "bundle": 4 * weights} if run.out is not None else disk_of(policy, n)
    writes = [f"{home} (what can be made again)"]
    if run.out is not None:
        files = "config.json, model.safetensors, recipe.toml, scores.json, splits.csv, README.md, report.html"
        own = [f"{run.out} ({files})", f"{RunFolder.beside(run.out).path} (only while it runs)"]
        study = run.out.with_name(run.out.name.removesuffix(".beholder") + ".tune")
        writes = [*own, *([f"{study}.jsonl and {study}/ (the study)"] if run.verb == "tune" else []), *writes]
    colour = {1: "grey", 3: "colour"}.get(policy.channels, f"{policy.channels} channels")
    pixels = f"{policy.width} × {policy.height}, {colour}, {policy.fit}"
    told = (*notes, *uncounted(run), "nothing is taken as remembered: a second run takes less")
    return DryRun(run.verb, source, dict(counts), net, pixels, run.minutes, tuple(steps), memory, disk, tuple(writes), told)
