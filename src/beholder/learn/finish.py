"""From the end of training to a bundle: its config, what is fitted on the validation part, and what the clock did."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from beholder.base import events
from beholder.base.deadline import Deadline
from beholder.base.order import stratified
from beholder.base.records import Parts
from beholder.base.spans import current
from beholder.bundle.bundle import Bundle
from beholder.bundle.config import Config
from beholder.data.known import remembered
from beholder.learn import calibrate
from beholder.learn.budget import Budget
from beholder.learn.decide import STRETCH
from beholder.learn.loop import Run
from beholder.learn.material import Material
from beholder.learn.prepare import Prepared
from beholder.learn.probe import Head
from beholder.learn.profile import step_flop, summary
from beholder.machine.info import machine
from beholder.machine.pace import calm
from beholder.machine.peak import peak
from beholder.runtime.inference import outputs
from beholder.sources.digest import digested
from beholder.tasks.objectives import name_of

I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]

SETTLING, GRACE = 0.3, 0.5
"""Share of the time left in which the outputs of the validation part are taken, and seconds that there are for them however
little is left; of a part that takes longer, a sample is taken."""


@dataclass(frozen=True)
class Tempo:
    """How fast fine-tuning is.

    each: seconds of a step per picture, 0 where it was not measured; epochs: that there is time for
    left_out: there is time for too few, so the floor stays
    """

    each: float = 0.0
    epochs: float = math.inf
    left_out: bool = False


@dataclass(frozen=True)
class Clock:
    """What the clock did: a sentence, "" where it cut nothing, and the minutes that would have been needed, 0 if none."""

    words: str = ""
    minutes: float = 0.0


def clock(prepared: Prepared, parts: Parts, run: Run, tempo: Tempo, limits: Budget, *, head: Head | None) -> Clock:
    """Return what the clock did to training."""
    if not limits.seconds:
        return Clock()
    n, whole = len(prepared.train.pixels), len(parts.train)
    plan, per_epoch = prepared.plan, len(run.batches)
    asked = prepared.recipe.train
    wanted = plan.epochs if asked.epochs else max(1, round(plan.epochs / STRETCH))
    each = tempo.each or (run.clock.spent / max(1, run.clock.taken * run.batches.batch))
    cuts = []
    if n < 0.98 * whole:
        cuts.append(f"{n:,} of {whole:,} training pictures were decoded")
    if head is not None and head.trained < n:
        cuts.append(f"the head was fitted on {head.trained:,} of {n:,} pictures")
    varies = run.batches.subset is not None and run.batches.subset.prunes
    done = float(run.at.epoch) if varies else run.clock.step / per_epoch
    if tempo.left_out:
        what = "training" if head is None else "fine-tuning"
        for_what = f"{tempo.epochs:.1f} of {wanted} epochs" if tempo.epochs >= 0.1 else f"hardly a step of {wanted} epochs"
        cuts.append(f"{what} was left out: there was time for {for_what}")
    elif done < wanted and not run.gave_up:
        cuts.append(f"training ended after {done:.1f} of {wanted} epochs")
    if not cuts:
        return Clock()
    spent = 0.0 if tempo.left_out else run.clock.spent
    training = each * wanted * whole + limits.validation * min(wanted, 40)
    needed = (limits.seconds - limits.left() - spent + limits.after + training) / 60
    minutes = math.ceil(2 * max(needed, 1.2 * asked.minutes)) / 2
    about = "1 minute" if minutes == 1 else f"{minutes:g} minutes"
    return Clock(f"the clock cut this run: {'; '.join(cuts)}. About {about} would be needed", minutes)


def config_of(prepared: Prepared, **more: Any) -> Config:
    """Return what config.json says of the net and the pixels, and `more` of its fields."""
    return Config(
        task=prepared.task_name,
        classes=tuple(prepared.classes),
        pixels=prepared.policy,
        mean=tuple(prepared.normal.mean),
        std=tuple(prepared.normal.std),
        net=prepared.created.spec,
        mirror=prepared.plan.mirror,
        thresholds=(0.5,) * len(prepared.classes),
        **more,
    )


def bundle_of(prepared: Prepared, parts: Parts, run: Run, *, more: dict[str, Any], cut: bool = False) -> Bundle:
    """Return the bundle with the best weights on validation, on the CPU.

    more: what else its config says; cut: somebody asked it to stop
    """
    net = prepared.created.net
    if run.best.weights:
        net.load_state_dict(run.best.weights)
    config = config_of(
        prepared,
        machine=machine(),
        plan=prepared.plan.json(),
        precision=prepared.precision.name,
        parameters=sum(p.numel() for p in net.parameters()),
        initial_weights=prepared.created.initial,
        parts={name: len(pictures) for name, pictures in parts.items()},
        objective=name_of(prepared.task),
        valid_score=run.best.score if math.isfinite(run.best.score) else None,
        interrupted=cut,
        notes=(*parts.train.notes, *prepared.said.notes),
        profile=_profile(prepared, run),
        **more,
    )
    read = Parts(prepared.train.pixels.seen(parts.train), prepared.valid.pixels.seen(parts.valid), parts.test)
    return Bundle(
        config,
        net.to("cpu").eval().requires_grad_(True),
        prepared.recipe,
        history=run.at.history,
        splits=splits_of(read),
        hashes=remembered(prepared.train.pixels, prepared.valid.pixels),
    )


def calibrated(bundle: Bundle, prepared: Prepared, until: Deadline, *, head: Head | None = None) -> None:
    """Fit on the validation part what the bundle carries beside its weights; its notes go with those of the run.

    head: what the bundle consists of where the head on frozen features was kept: it may have learnt from the validation part,
    so what it says of that is taken from heads that have not
    """
    valid = prepared.valid
    if head is not None and head.features is not None:
        rows, logits, features = head.rows, head.logits.numpy(), head.features.numpy()
    else:
        rows, logits, features = _validated(bundle, valid, until)
    if head is not None and head.features is None:
        among = np.isin(rows, head.rows)
        rows, features = rows[among], features[among]
        logits = head.logits[torch.from_numpy(np.searchsorted(head.rows, rows))].numpy()
    if len(rows) < len(valid.pixels):
        events.note(f"calibrated on {len(rows):,} of {len(valid.pixels):,} validation pictures: there is no time for more")
    targets = valid.targets.numpy()[rows]
    groups = valid.pictures.groups[rows] if (valid.pictures.groups >= 0).any() else None
    truth = prepared.task.targets(targets)
    with calm():
        calibrate.fit(bundle, logits, features, truth, groups=groups)


def _validated(bundle: Bundle, valid: Material, until: Deadline) -> tuple[I64, F32, F32]:
    """Return rows of the validation part, with logits and features there: all of them, or a stratified sample in time."""
    rows = np.arange(len(valid.pixels))
    late = Deadline() if until.none else until.within(SETTLING * until.left).at_least(GRACE)
    if not late.none:
        rows = stratified(valid.pictures.targets)
    logits, features = outputs(
        bundle, valid.pixels.subset(rows), enough=lambda: late.passed, seconds=late.left, label="validation"
    )
    return rows[: len(logits)], logits, features


def _profile(prepared: Prepared, run: Run) -> dict[str, Any] | None:
    ledger = current()
    if ledger is None:
        return None
    shape, pictures = prepared.train.pixels.shape, run.clock.taken * run.batches.batch
    share = run.meter.pixels / max(1, pictures * shape[1] * shape[2])  # below 1 where pictures grew
    return summary(
        ledger,
        pictures=pictures,
        flop=round((step_flop(run.net, shape) or 0) * share),
        peak=peak(prepared.normal.device, prepared.precision.dtype),
        precision=prepared.precision.name,
    )


def splits_of(parts: Parts) -> list[tuple[str, str]]:
    """Return (SHA-256 as hexadecimal digits, part name) of every picture: the manifest that a bundle carries."""
    return [(row, name) for name, pictures in parts.items() for row in digested(pictures).hexdigests]
