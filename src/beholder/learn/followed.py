"""What the first rank tells the others of a run, and how they make their net and their batches of it.

The description is JSON and the bytes of tensors: a recipe's net, the task by name, where the decoded pixels lie. Ranks of
another version or of other sources are refused before the first step.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from beholder.base import registry
from beholder.base.errors import BeholderError, UsageError
from beholder.base.files import sha256
from beholder.base.recipe import Recipe
from beholder.data.augment import Augment
from beholder.data.loader import Batches, Readable
from beholder.data.shards import Shard
from beholder.data.subset import Subset
from beholder.data.windows import Windows, windows_of
from beholder.learn import rank_cache, rank_pixels
from beholder.learn.answers import Later
from beholder.learn.distil import distilled
from beholder.learn.material import Material
from beholder.learn.parallel import CLOSE, OPEN, Alone, Follower, Team, message
from beholder.learn.prepare import Prepared
from beholder.machine import launch as launching
from beholder.machine.device import device, free_memory, precision
from beholder.machine.launch import count, local
from beholder.machine.launch_ray import on_ray
from beholder.machine.ranks import ALONE, LEAVE, Group, LostRankError, asked, group, joined, regrouped
from beholder.nets.build import build
from beholder.nets.spec import NetSpec
from beholder.runtime.inference import Normal
from beholder.tasks import named


def team_of(prepared: Prepared, frozen: Sequence[nn.Module], batches: Batches, valid: Material | None = None) -> Alone:
    """Return those who compute along with a run: nobody, where there is one rank. valid: what they validate on, too.

    Raises `UsageError` for what several ranks cannot do, and where they are not of one version.
    """
    among = group()
    batches.ranks = ALONE if among is None else among.ranks
    if among is None:
        return Alone()
    prunes = batches.subset is not None and batches.subset.prunes
    _check_shared(among.ranks.world, prunes=prunes, batch=batches.batch)
    net = prepared.created.net

    def left() -> tuple[Alone, int]:
        among.lost = True
        return team_of(prepared, frozen, batches, valid), batches.ranks.world

    return Team(among, net, batches.batch, lambda: _open(among, prepared, frozen, batches, valid), left)


def _open(among: Group, prepared: Prepared, frozen: Sequence[nn.Module], batches: Batches, valid: Material | None) -> bool:
    """Have the others make the net and the batches of a run; return whether all of them can read `valid` from the cache."""
    among.tell(message(OPEN))
    among.spread_bytes(json.dumps(_described(prepared, frozen, batches, valid)).encode())
    pixels = prepared.train.pixels
    answers = among.gathered("")
    wrong = [f"process {rank}: {answer}" for rank, answer in enumerate(answers) if answer not in ("", LACKS, ALL)]
    validates = answers[1:] == [ALL] * (among.ranks.world - 1)
    among.tell(message(CLOSE if wrong else OPEN, LACKS in answers, validates))
    if wrong:
        hint = "give all of them the same installation and files"
        raise UsageError(f"the processes cannot train together: {wrong[0]}", code="ranks-differ", hint=hint)
    for values in _tensors(prepared, batches):
        among.spread(values)
    if LACKS in answers:
        for rows in rank_cache.pieces(len(pixels), pixels.shape):
            among.spread(torch.from_numpy(pixels.take(rows)))
    if valid is not None and validates:
        for values in rank_cache.places(valid.pixels):
            among.spread(values)
    return validates


LACKS, ALL = "pixels", "validation"
"""What a rank answers that cannot read the pixels from the cache, and one that can, those of the validation part too."""


def _described(prepared: Prepared, frozen: Sequence[nn.Module], batches: Batches, valid: Material | None) -> dict[str, Any]:
    recipe, plan, created, pixels = prepared.recipe, prepared.plan, prepared.created, prepared.train.pixels
    names = {id(module): name for name, module in created.net.named_modules()}
    return {
        "is": identity(created.spec.name, prepared.task_name),
        "net": created.spec.json(),
        "task": prepared.task_name,
        "classes": len(prepared.classes),
        "teacher": None if prepared.train.taught is None else [recipe.train.teacher_weight, recipe.train.temperature],
        "frozen": [names[id(module)] for module in frozen if id(module) in names],
        "fixed": [name for name, p in created.net.named_parameters() if not p.requires_grad],
        "pixels": rank_cache.where(pixels),
        "valid": None if valid is None or rank_pixels.partly(valid.pixels) else rank_cache.where(valid.pixels),
        "width": 0 if valid is None else prepared.task.width(valid.targets.shape[1]),
        "source": rank_pixels.told(prepared),
        "tars": batches.windows is not None,
        "targets": list(prepared.lessons.shape),
        "weights": 0 if prepared.weights is None else len(prepared.weights),
        "plan": dataclasses.asdict(plan.augment),
        "batch": batches.batch,
        "seed": recipe.seed,
        "mean": prepared.normal.mean,
        "std": prepared.normal.std,
        "memory": recipe.data.memory,
        "workers": recipe.data.workers,
        "subset": recipe.train.subset,
        "precision": prepared.precision.name,
        "smoothing": recipe.train.smoothing,
        "grow": plan.grow,
        "micro": recipe.train.micro,
    }


def _tensors(prepared: Prepared, batches: Batches) -> list[Tensor]:
    """Return what every rank is given beside the description: targets, class weights, where the pixels lie, in which tar."""
    weights = prepared.weights
    pixels = prepared.train.pixels
    return [
        prepared.lessons.float().cpu().contiguous(),
        *([] if weights is None else [weights.float().cpu()]),
        *rank_cache.places(pixels),
        *([] if batches.windows is None else [torch.from_numpy(batches.windows.units)]),
    ]


@contextmanager
def launched(launch: str) -> Iterator[None]:
    """Have the processes that `launch` asks for (local:N, ray, ray:N, or "") compute along with all training in the block.

    Raises `UsageError` for another word, for more processes than devices, and inside of what another launch started.
    """
    if count(launch) == 1:
        yield
        return
    launching.check_launch(launch)
    if group() is not None:
        raise UsageError("these processes were started together already", code="bad-launch", hint="leave --launch out")
    asked = launching.launched(launch)
    with local(asked.count) if asked.kind == "local" else on_ray(asked.count, follow_first):
        yield


def check_together(recipe: Recipe, launch: str) -> None:
    """Raise `UsageError` (one-rank, too-few-devices) where processes that were asked for or started cannot train by a recipe.

    Before a picture is decoded or a process started. Raises as `launching.check_launch` does, too.
    """
    launching.check_launch(launch)
    among = group()
    world = count(launch) if among is None else among.ranks.world
    _check_shared(world, prunes=recipe.train.subset.startswith("prune"), batch=recipe.train.batch or world)


def _check_shared(world: int, *, prunes: bool, batch: int) -> None:
    if prunes and world > 1:
        hint = "take train.subset=random:F, or one process"
        raise UsageError("train.subset=prune:F follows the losses of one process", code="one-rank", hint=hint)
    if batch < world:
        what = f"a batch of {batch} pictures cannot be shared by {world} processes"
        raise UsageError(what, code="one-rank", hint="use fewer processes, or a larger train.batch")


def one_process(launch: str = "", *, what: str = "a detector") -> None:
    """Raise `UsageError` (one-rank) where several processes are asked for or started, for what trains in one."""
    among = group()
    if count(launch) > 1 or among is not None:
        hint = "leave --launch out" if among is None else "start it once, without torchrun"
        raise UsageError(f"{what} is trained by one process", code="one-rank", hint=hint)


def follow_first() -> None:
    """Follow the first rank, as the one that the environment says."""
    joining(lambda: None)


def joining(work: Callable[[], None]) -> None:
    """Do `work` as the first of the ranks that torchrun started; as another one, follow it."""
    ranks = asked()
    launching.check_started()
    launching.end_with_first()
    if ranks.rank:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the first one saves, and tells when to leave
    with joined(ranks) as among:
        if ranks.rank:
            _followed(among)
        else:
            work()


def _followed(among: Group | None) -> None:
    """Follow the first rank to its end, with those who are left where one is lost."""
    while among is not None:
        try:
            follow(among)
        except LostRankError:
            among = regrouped()
        else:
            return


def follow(among: Group) -> None:
    """Compute along with the first rank until it has no more work. Raises `LostRankError` where one is gone."""
    while True:
        kind = among.tell(message(0))[0]
        if kind == LEAVE:
            return
        if kind == OPEN:
            follower = _opened(among, json.loads(among.spread_bytes(b"")))
            if follower is not None:
                follower.follow()


def _opened(among: Group, said: Mapping[str, Any]) -> Follower | None:
    """Return this rank as a follower of the run that is described; None where some rank cannot be one."""
    made, why = _made(said)
    pictures, lost = (None, "") if why else rank_pixels.found(said["source"])
    shards = rank_cache.mapped_of(said["pixels"])
    whole, later = rank_cache.here(shards), rank_cache.mapped_of(said["valid"])
    here = pictures is not None or len(whole) == len(shards)
    among.gathered(why or lost or (LACKS if not here else ALL if later and None not in later else ""))
    kind, lacking, validates, *_ = among.tell(message(0))
    if kind == CLOSE or made is None:
        return None
    n = said["pixels"]["n"]
    targets = among.spread(torch.empty(said["targets"]))
    weights = among.spread(torch.empty(said["weights"])) if said["weights"] else None
    where, digests = rank_cache.given(among, n)
    windows = Windows(among.spread(torch.empty(n, dtype=torch.int64)).numpy()) if said["tars"] else None
    if pictures is not None:
        alone = rank_pixels.own(pictures, shards, where, digests, said["source"])
        pixels: Readable = alone
        windows = windows and windows_of(alone.of(pictures), alone)
    else:
        own = said["pixels"]
        pixels = rank_cache.Sent(among, n, own["shape"]) if lacking else rank_cache.held(whole, where, digests, own)
    held = _later(among, said, rank_cache.here(later)) if validates else None
    return _follower(among, said, made, pixels, targets, weights, windows, held)


def _later(among: Group, said: Mapping[str, Any], shards: Sequence[Shard]) -> Later:
    """Return the validation pictures of the first rank, which this one reads from its cache."""
    where = said["valid"]
    pixels = rank_cache.held(shards, *rank_cache.given(among, where["n"]), where)
    return Later(pixels, said["width"], Normal(tuple(said["mean"]), tuple(said["std"]), device()))


def _made(said: Mapping[str, Any]) -> tuple[tuple[nn.Module, Any] | None, str]:
    """Return the net and the task, or None and why this rank cannot have them."""
    try:
        spec, task = NetSpec(**said["net"]), named(said["task"])
        own = identity(spec.name, said["task"])
        if own != said["is"]:
            other = [key for key, value in said["is"].items() if own.get(key) != value]
            return None, "; ".join(f"{key} is {own.get(key)}, not {said['is'][key]}" for key in other)
        net = build(spec, trust=True).to(device()).to(memory_format=torch.channels_last)
    except BeholderError as error:
        return None, error.message
    for name, p in net.named_parameters():
        p.requires_grad_(name not in said["fixed"])
    return (net, task), ""


def _follower(
    among: Group,
    said: Mapping[str, Any],
    made: tuple[nn.Module, Any],
    pixels: Readable,
    targets: Tensor,
    weights: Tensor | None,
    windows: Windows | None,
    later: Later | None,
) -> Follower:
    (net, task), on = made, device()
    modules = dict(net.named_modules())
    if said["teacher"]:
        weight, temperature = said["teacher"]
        task = distilled(task, weight=weight, temperature=temperature, classes=said["classes"])
    how: dict[str, Any] = {"batch": said["batch"], "seed": said["seed"], "device": on}
    batches = Batches(
        pixels,
        targets,
        **how,
        **{name: said[name] for name in ("mean", "std", "workers")},
        plan=Augment(**{**said["plan"], "erase_area": tuple(said["plan"]["erase_area"])}),
        memory=said["memory"] * 2**20 or free_memory(on) // (3 * among.ranks.world),
        subset=None if said["subset"] == "off" else Subset(said["subset"], len(pixels), **how),
        ranks=among.ranks,
        windows=windows,
    )
    return Follower(
        among,
        net,
        task.turns,
        batches,
        precision(on, said["precision"]),
        seed=said["seed"],
        grow=said["grow"],
        smoothing=said["smoothing"],
        micro=said["micro"],
        weights=None if weights is None else weights.to(on),
        frozen=[modules[name] for name in said["frozen"]],
        later=later,
    )


def identity(net: str, task: str) -> dict[str, str]:
    """Return what all ranks must have alike: versions, and the sources of Beholder and of what is a person's own."""
    found = {"beholder": version("beholder"), "torch": torch.__version__, "sources": _sources()}
    for kind, name in (("net", net), ("task", task)):
        if ":" in name and not name.startswith("timm:"):
            found[kind] = _source_of(name)
    return found


@functools.cache
def _sources() -> str:
    """Return a digest of Beholder's own files."""
    top = Path(__file__).parents[1]
    files = sorted(path.relative_to(top).as_posix() for path in top.rglob("*.py"))
    return sha256("".join(f"{name} {sha256((top / name).read_bytes())}\n" for name in files).encode())[:16]


def _source_of(name: str) -> str:
    """Return a digest of the file of a net or task of one's own, module:function."""
    found = registry.attribute(name)
    path = (
        inspect.getsourcefile(inspect.unwrap(found))
        if callable(found)
        else getattr(sys.modules[name.partition(":")[0]], "__file__", None)
    )
    return sha256(Path(path).read_bytes())[:16] if path else ""
