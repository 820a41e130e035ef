"""Training of nets that make pictures: the same loop, checkpoint, clock and precision as for recognisers."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from beholder.base import events
from beholder.base.arrays import U8
from beholder.base.deadline import Deadline
from beholder.base.errors import DataError, UsageError
from beholder.base.files import followed, sha256
from beholder.base.limits import allow_as
from beholder.base.locks import alone
from beholder.base.recipe import Recipe
from beholder.base.records import Parts, PixelPolicy
from beholder.base.spans import span
from beholder.base.used import changed
from beholder.bundle.format import CONFIG, makes_pictures
from beholder.bundle.generator import LARGEST, Config, Generator, Shape, built
from beholder.data.loader import Batches, plain
from beholder.data.survey import choose_policy, survey
from beholder.learn import bounds
from beholder.learn.bounds import MEAN, STD, affordable, bounded, targets_of
from beholder.learn.budget import tell_little
from beholder.learn.checkpoint import RunFolder, Saves, check_out
from beholder.learn.clock import Clock
from beholder.learn.finish import splits_of
from beholder.learn.loop import Run, Settings
from beholder.learn.material import Material, Said, both_decoded
from beholder.learn.monitors import Average, Best, Guard, NotFiniteError, Player, Validation
from beholder.learn.optim import constant, trapezoid
from beholder.learn.resumed import comparable
from beholder.learn.train import saved_cut
from beholder.machine import devices
from beholder.machine.device import Precision, autocast, device, free_memory, precision, scaler, telling_memory
from beholder.machine.info import machine
from beholder.machine.pace import calm, contended, quickest, restored
from beholder.machine.stop import Stop, stopping
from beholder.nets.gan import patch_of
from beholder.nets.vae import Vae
from beholder.tasks.generate import adversarial, reconstruct
from beholder.tasks.task import Turns

FEWEST, FEW = 20, 20_000
"""Training pictures without which nothing is learnt, and below which a GAN's are varied before they are judged."""


@dataclass(frozen=True)
class Kind:
    """How a kind of generator learns.

    turns: of a batch; players: the parts of the net that learn in turns, by name, "" the whole; averaged: of which the averaged
    weights are kept; maps, batch, lr: where the recipe says nothing; right: what the share in a turn is called
    """

    turns: Turns
    players: tuple[tuple[str, str], ...]
    averaged: str
    maps: int
    batch: int
    lr: float
    betas: tuple[float, float]
    schedule: Callable[[float], float]
    right: str


KINDS = {
    "vae": Kind(reconstruct, (("net", ""),), "net", 48, 64, 1e-3, (0.9, 0.99), trapezoid, "divergence"),
    "gan": Kind(
        adversarial,
        (("generator", "generator"), ("discriminator", "discriminator")),
        "generator",
        *(16, 64, 1e-3, (0.0, 0.99), constant, "told"),
    ),
}
"""By the name in the recipe's field generate.kind."""


def generate(
    parts: Parts,
    *,
    recipe: Recipe | str = "quick",
    out: str | Path | None = None,
    resume: bool = False,
    began: float | None = None,
    after: float = 0.0,
    **fields: Any,
) -> Generator:
    """Train a net that makes pictures like those of `parts.train` and return it; `parts.test` is not read.

    recipe, fields: as `train` takes them: kind="gan", minutes=15, size=32, seed=1, …; see the section `generate`
    out, resume, began: as of `train`; after: seconds of the budget that the caller needs afterwards
    Raises `UsageError` for a field that is wrong or not used here, `DataError` for pictures that nothing can be learnt from,
    and `Interrupted` after Ctrl-C, when what was learnt so far has been saved to `out`.
    """
    began = time.monotonic() if began is None else began
    asked = changed(recipe, fields, verb="generate")
    _check_parts(parts)
    if (path := None if out is None else followed(Path(out))) is not None:
        check_free_of_models(path)
    until = Deadline.of(began, asked.train.minutes)
    with stopping() as stop, alone(path), calm(), restored():
        folder = None if path is None else RunFolder.beside(path)
        made = _made(parts, asked, until, only=folder.kept("sample") if folder is not None and resume else None)
        run = _run(made, folder, stop, resume=resume, until=until, after=after)
        try:
            with telling_memory(run.batches.batch), stop.held():
                run.go()
            stop.check()
        except (KeyboardInterrupt, NotFiniteError) as error:
            with stop.held():
                run.keep()
                raise saved_cut(error, _finished(made, parts, run, cut=True), run, path) from error
        found = _finished(made, parts, run)
        with stop.held():
            if path is not None and folder is not None:
                found.save(path)
                folder.discard()
    return found


def check_free_of_models(path: Path) -> None:
    """Raise as `check_out` does, and `UsageError` (place-taken) where a model that recognises lies at `path`: it stays."""
    check_out(path)
    if (path / CONFIG).is_file() and not makes_pictures(path):
        hint = "choose another name with --out, such as leaves.made.beholder"
        raise UsageError(f"{path} is no generator, and stays as it is", code="place-taken", hint=hint)


def _check_parts(parts: object) -> None:
    if not isinstance(parts, Parts):
        hint = "beholder.split(beholder.scan(source)) makes them"
        raise UsageError(f"there are no parts in {type(parts).__name__}", code="no-parts", hint=hint)


@dataclass(frozen=True, eq=False)
class Made:
    """What is learnt from, and the net before its first step."""

    recipe: Recipe
    kind: Kind
    config: Config
    train: Material
    valid: Material
    net: nn.Module
    precision: Precision
    on: torch.device
    said: Said


def _made(parts: Parts, recipe: Recipe, until: Deadline, *, only: Mapping[str, U8] | None) -> Made:
    """Return what is learnt from; only: part → digests of the pictures that a run which is resumed had taken."""
    said, on = Said(), device()
    allow_as(recipe.data)
    policy = policy_of(parts, recipe, said)
    with span("decode"):
        train, valid = both_decoded(parts, policy, recipe, said, until=until, only=only)
    if len(train.pixels) < FEWEST:
        what = f"{len(train.pixels)} readable training pictures are too few to make others like them"
        raise DataError(what, code="too-few-pictures", hint=f"give {FEWEST} at least; hundreds of each class to see more")
    kind = KINDS[recipe.generate.kind]
    counts = train.pictures.counts() if train.pictures.labelled else np.zeros(0)
    shares = tuple((counts / max(1, counts.sum())).tolist())
    vary = recipe.generate.vary == "yes" or (recipe.generate.vary == "auto" and len(train.pixels) < FEW)
    wished = recipe.generate
    patch = patch_of((policy.height, policy.width)) if wished.kind == "gan" else 1
    maps = wished.maps or kind.maps * patch
    shape = Shape(wished.kind, maps, wished.likelihood, wished.beta, wished.penalty, vary, patch)
    several = train.pictures.multi and train.pictures.labelled
    config = Config(classes=train.pictures.classes, several=several, shares=shares, pixels=policy, shape=shape)
    torch.manual_seed(recipe.seed)
    net = built(config).to(on).to(memory_format=torch.channels_last)
    said(f"{recipe.generate.kind} with {sum(p.numel() for p in net.parameters()):,} parameters")
    return Made(recipe, kind, config, train, valid, net, precision(on, recipe.train.precision), on, said)


def policy_of(parts: Parts, recipe: Recipe, said: Callable[[str], None]) -> PixelPolicy:
    """Return the pixels of the pictures that are made: their own size up to 64, or what the recipe asks, which is said.

    Raises `UsageError` (bad-size) for a size that cannot be made.
    """
    size = recipe.data.size
    if size and not 8 <= size <= LARGEST:
        hint = f"--size 8 to {LARGEST}: larger pictures take more than a laptop has"
        raise UsageError(f"pictures of {size} pixels cannot be made", code="bad-size", hint=hint)
    looked = survey(parts.train)
    longest = max(looked.height, looked.width)
    own = looked.same and longest <= LARGEST and min(looked.height, looked.width) >= 8
    side = max(8, min(LARGEST, 4 * round(looked.short / 4)))
    policy, why = choose_policy(looked, recipe.data, size=(looked.height, looked.width) if own else (side, side))
    more = f": made at {LARGEST} pixels, of which there can be no more" if longest > LARGEST and not size else ""
    said(f"pixels: {why.replace('as the net asks', 'their own size') if own else why}{more}")
    return policy


def _run(made: Made, folder: RunFolder | None, stop: Stop, *, resume: bool, until: Deadline, after: float) -> Run:
    """Return the run before its first step, or where its checkpoint left it."""
    going_on = folder is not None and folder.begin(_identity(made), resume=resume, machine=_machine(made))
    if folder is not None and not going_on and not until.none:
        parts = (("train", made.train), ("valid", made.valid))
        folder.keep("sample", {name: part.pictures.digests for name, part in parts if part.pictures.digests is not None})
    _settle(made, folder, going_on=going_on, left=until.left - after)
    recipe, batches = made.recipe, _batches(made)
    events.figures("recipe", values=recipe.flat())
    every = max(1, round(bounds.SAID_ABOUT / max(1, len(made.train.pixels))))
    count, took = _scoring(made, folder, until, after, going_on=going_on)
    clock = Clock(
        steps_per_epoch=len(batches),
        epochs=recipe.train.epochs or epochs_for(len(batches), budget=not until.none),
        seconds=0.0 if until.none else max(0.02 * 60 * recipe.train.minutes, until.left),
        every=every,
        validation=took,
        after=after,
    )
    scored = bounded(made.net, made.valid, made.precision, made.on, recipe.seed, most=count)
    run = Run(
        net=made.net,
        model=made.net,
        scaler=scaler(made.on, made.precision),
        turns=made.kind.turns,
        players=_players(made),
        batches=batches,
        validation=Validation(scored, every, 0),
        clock=clock,
        settings=_settings(made),
        saves=Saves(folder),
        stop=stop,
        guard=Guard(made.train.pictures.keys, eager=not devices.kind(made.on).apart),
    )
    if going_on and folder is not None:
        run.resume(folder)
    return run


def _scoring(made: Made, folder: RunFolder | None, until: Deadline, after: float, *, going_on: bool) -> tuple[int, float]:
    """Return by how many validation pictures it is scored while it learns, as a resumed run was, and how long that takes."""
    whole = 60 * made.recipe.train.minutes
    seconds = 0.0 if until.none else max(0.02 * whole, until.left - after)
    tell_little(seconds, seconds=whole, after=after)
    count, each = affordable(made.net, made.valid, made.precision, made.on, seconds, time.monotonic)
    if folder is not None and going_on and (known := folder.kept("validation")) is not None:
        count = int(known["count"])
    elif folder is not None:
        folder.keep("validation", {"count": np.array(count)})
    return count, count * each


def _batches(made: Made) -> Batches:
    data, channels = made.recipe.data, made.config.pixels.channels
    return Batches(
        made.train.pixels,
        targets_of(made.train),
        batch=made.recipe.train.batch or made.kind.batch,
        seed=made.recipe.seed,
        device=made.on,
        mean=(MEAN,) * channels,
        std=(STD,) * channels,
        memory=data.memory * 2**20 or free_memory(made.on) // 3,
        workers=data.workers,
    )


def _settings(made: Made) -> Settings:
    recipe = made.recipe
    return Settings(
        schedule=made.kind.schedule,
        precision=made.precision,
        smoothing=0.0,
        weights=None,
        clip=recipe.train.clip or (1.0 if recipe.generate.kind == "vae" else 0.0),
        seed=recipe.seed,
        right=made.kind.right,
    )


TRIAL = 60.0
"""Seconds of training below which numbers of threads are not tried: on a busy machine the trial takes several of them."""


def _settle(made: Made, folder: RunFolder | None, *, going_on: bool, left: float) -> None:
    """Compute with the threads of the run that is resumed; on a busy machine a new one takes those that are quickest now.

    left: seconds of training
    """
    if going_on and folder is not None:
        torch.set_num_threads(int(folder.chosen().get("threads") or torch.get_num_threads()))
        return
    most = torch.get_num_threads()
    if made.on.type == "cpu" and most > 1 and left >= TRIAL and contended():
        count = quickest(_step_of(made), most=most)
        if count < most:
            made.said(f"training with {count} of {most} threads, which is quicker at this moment")
    if folder is not None:
        folder.renew(_machine(made))


def _step_of(made: Made) -> Callable[[], None]:
    """Return a step of all turns on 8 pictures without its optimisers. It changes no weight."""
    net, channels = copy.deepcopy(made.net).train(), made.config.pixels.channels
    some = made.train.pixels.subset(np.arange(min(8, len(made.train.pixels))))
    (images,) = plain(some, batch=8, device=made.on, mean=(MEAN,) * channels, std=(STD,) * channels)
    images, targets = images.contiguous(memory_format=torch.channels_last), targets_of(made.train)[: len(images)].to(made.on)

    def step() -> None:
        turns = made.kind.turns(net, images, targets, smoothing=0.0, weights=None)
        while True:
            with autocast(made.on, made.precision):
                turn = next(turns, None)
            if turn is None:
                return
            part = dict(made.kind.players)[turn.who]
            turn.loss.backward(inputs=list((getattr(net, part) if part else net).parameters()))  # type: ignore[no-untyped-call]
            net.zero_grad(set_to_none=True)

    return step


STEPS, MOST = 6_000, 1_000_000
"""Steps of a run that is given neither epochs nor minutes, and the most of one with a budget."""


def epochs_for(steps: int, *, budget: bool) -> int:
    """Return for how many epochs of so many steps a generator learns where nobody says."""
    return max(1, math.ceil((MOST if budget else STEPS) / max(1, steps)))


def _players(made: Made) -> dict[str, Player]:
    kind, asked = made.kind, made.recipe.train
    found = {}
    for who, name in kind.players:
        module = getattr(made.net, name) if name else made.net
        lr = asked.lr or kind.lr
        adam = torch.optim.Adam(module.parameters(), lr=lr, betas=kind.betas, eps=1e-8, fused=devices.kind(made.on).fused)
        average = Average(module, asked.averaging) if who == kind.averaged and asked.averaging > 0 else None
        found[who] = Player(module, [adam], average, Best() if isinstance(made.net, Vae) else None)
    return found


def _finished(made: Made, parts: Parts, run: Run, *, cut: bool = False) -> Generator:
    """Return the generator with the averaged weights, of a VAE the best on validation, on the CPU."""
    net = copy.deepcopy(made.net)
    name = dict(made.kind.players)[made.kind.averaged]
    player = run.players[made.kind.averaged]
    weights = player.best.weights if player.best is not None and player.best.weights else player.scored.state_dict()
    (getattr(net, name) if name else net).load_state_dict(weights)
    config = dataclasses.replace(
        made.config,
        plan={
            **{"batch": run.batches.batch, "steps": run.clock.step, "epochs": round(run.clock.step / len(run.batches), 2)},
            **{"lr": made.recipe.train.lr or made.kind.lr, "averaging": made.recipe.train.averaging},
        },
        precision=made.precision.name,
        parameters=sum(p.numel() for p in net.parameters()),
        seconds=round(run.clock.spent, 2),
        machine=machine(),
        parts={name: len(part) for name, part in parts.items()},
        notes=(*parts.train.notes, *made.said.notes),
        interrupted=cut,
    )
    read = Parts(made.train.pixels.seen(parts.train), made.valid.pixels.seen(parts.valid), parts.test)
    plain_net = net.to("cpu").eval().to(memory_format=torch.contiguous_format)
    return Generator(config, plain_net, made.recipe, run.at.history, {}, splits_of(read))


def _identity(made: Made) -> dict[str, Any]:
    parts = {"train": made.train, "valid": made.valid}
    digests = {name: part.pictures.digests for name, part in parts.items()}
    return {
        "recipe": comparable(made.recipe).toml(),
        "shape": json_of(made.config),
        **{name: sha256(b"" if rows is None else rows.tobytes()) for name, rows in digests.items()},
        "labels": sha256(b"".join(targets_of(part).numpy().tobytes() for part in parts.values())),
    }


def json_of(config: Config) -> dict[str, Any]:
    """Return what a run must not have changed of its config: net, pixels, classes."""
    said = config.json()
    return {name: said[name] for name in ("classes", "several", "pixels", "shape")}


def _machine(made: Made) -> dict[str, str]:
    facts = machine()
    return {
        **{name: facts[name] for name in ("device_name", "torch")},
        "threads": str(torch.get_num_threads()),
        "precision": made.precision.name,
    }
