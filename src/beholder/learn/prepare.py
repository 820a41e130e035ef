"""Everything that happens before the first step: which net, which pixels, decoded, normalised, initialised, checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from beholder.base import events
from beholder.base.brief import shown
from beholder.base.deadline import Deadline
from beholder.base.errors import DataError, UsageError
from beholder.base.limits import allow_as
from beholder.base.recipe import Recipe
from beholder.base.records import Parts, Pictures, PixelPolicy
from beholder.base.spans import span
from beholder.data.cache import Pixels
from beholder.data.loader import Batches, plain, statistics
from beholder.data.lost import nothing_left
from beholder.data.subset import Subset
from beholder.data.survey import Survey, choose_policy, survey
from beholder.data.windows import windows_of
from beholder.learn.calibrate import check
from beholder.learn.decide import Plan, plan
from beholder.learn.dial import dialled
from beholder.learn.distil import check_teacher, distilled, lesson, taught_by
from beholder.learn.flips import Flips, as_before, wanted
from beholder.learn.material import Beside, Material, Said, both_decoded
from beholder.machine.device import Precision, device, free_memory, precision
from beholder.machine.placement import moved
from beholder.machine.ranks import ALONE, group
from beholder.nets.build import Created, create, known, wants
from beholder.nets.choose import DIALLED, choose, dial
from beholder.nets.features import head
from beholder.nets.init import scales, warnings_of
from beholder.nets.spec import Wants
from beholder.runtime.inference import Normal
from beholder.sources.held import Held
from beholder.sources.listing import some
from beholder.tasks import asked, named
from beholder.tasks.objectives import aim
from beholder.tasks.targets import arranged
from beholder.tasks.task import Task

Bytes = npt.NDArray[np.uint8]

NEVER = Deadline()


@dataclass(frozen=True, eq=False)
class Before:
    """What a run that is resumed had chosen by measuring: it goes on with the same.

    sample: part → digests, uint8 (M, 32), of the pictures that it takes; None: all; width: of its net; batch: its largest
    flips: the axes along which its pictures are flipped, or "none"; "": not known
    taught: "digests" uint8 (M, 32) and "logits" float32 (M, V) of its training pictures by its teacher; None: nothing is known
    """

    sample: Mapping[str, Bytes] | None
    width: float
    batch: int
    flips: str = ""
    taught: Mapping[str, npt.NDArray[Any]] | None = None


@dataclass(frozen=True, eq=False)
class Prepared:
    """A run before its first step. `recipe` is the one asked for with its net filled in; own: as `Beside` has it."""

    recipe: Recipe
    task_name: str
    policy: PixelPolicy
    train: Material
    valid: Material
    normal: Normal
    created: Created
    plan: Plan
    precision: Precision
    said: Said
    own: int | None = None
    paced: bool = False
    """Whether the threads to train with were tried when the net's width was chosen."""

    __repr__ = shown

    @property
    def task(self) -> Task:
        """Return what is learnt, with the objective that the recipe names."""
        return aim(self.recipe, named(self.task_name), self.classes)

    @property
    def learnt(self) -> Task:
        """Return the task with the loss of training, whose targets are `lessons`: with a teacher, that of distillation."""
        train = self.recipe.train
        if self.train.taught is None:
            return self.task
        return distilled(self.task, weight=train.teacher_weight, temperature=train.temperature, classes=len(self.classes))

    @property
    def lessons(self) -> Tensor:
        """Return the targets of training, float32 (M, K); with a teacher (M, 2K): labels, then its softened probabilities."""
        taught = self.train.taught
        return self.train.targets if taught is None else torch.cat([taught.labels, taught.soft], dim=1)

    @property
    def mixed(self) -> Tensor:
        """Return the targets of a head on frozen features, float32 (M, K): with a teacher, its mean with the labels."""
        taught, share = self.train.taught, self.recipe.train.teacher_weight
        return self.train.targets if taught is None else torch.lerp(taught.labels, taught.plain, share)

    @property
    def weights(self) -> Tensor | None:
        """Return class weights float32 (K,) on the device; None where there are none."""
        if self.recipe.train.class_weights != "balanced":
            return None
        counts = self.train.pictures.counts()
        return torch.from_numpy(self.task.balance(counts, len(self.train.pixels))).float().to(self.normal.device)

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the class names."""
        return self.train.pictures.classes

    def batches(self) -> Batches:
        """Return the batches of the training part, resident on the device where they fit."""
        memory = self.recipe.data.memory * 2**20 or free_memory(self.normal.device) // 3
        among = group()
        n, batch, asked = len(self.train.pixels), self.plan.batch, self.recipe.train.subset
        how: dict[str, Any] = {"batch": batch, "seed": self.recipe.seed, "device": self.normal.device}
        return Batches(
            self.train.pixels,
            self.lessons,
            **how,
            mean=self.normal.mean,
            std=self.normal.std,
            plan=self.plan.augment,
            memory=memory,
            workers=self.recipe.data.workers,
            subset=None if asked == "off" else Subset(asked, n, **how),
            ranks=ALONE if among is None else among.ranks,
            windows=windows_of(self.train.pictures, self.train.pixels),
        )


def prepare(
    parts: Parts, recipe: Recipe, *, until: Deadline = NEVER, before: Before | None = None, beside: Beside | None = None
) -> Prepared:
    """Return what a run needs, decided and decoded. Reads the training and the validation part, never the test part.

    until: when the whole run should be over; before: what a run that is resumed had chosen; beside: what is learnt from besides
    Raises `DataError` when too little is left to learn from, `UsageError` for a net or weights that cannot be had.
    """
    said, on = Said(), device()
    parts, recipe, name, beside = _checked(parts, recipe, beside or Beside(), said)
    held = Held(parts.train.store)
    with span("decode"):
        looked = survey(parts.train.take(np.arange(beside.own)) if beside.own is not None else parts.train, held=held)
    wished, (recipe, policy, why) = recipe.net.width, pixels_of(recipe, looked, parts.train, on, said)
    want = wants(recipe.net)
    said(f"pixels: {why}")
    train, valid = _decoded(parts, held, policy, recipe, said, until=until, before=before)
    train = lesson(beside, train, named(name), recipe, said, until=until, before=before.taught if before else None)
    normal = _normal(want, train.pixels, on)
    exact = precision(on, recipe.train.precision)
    recipe, most = _dialled(recipe, policy, train, on, exact, said, wished=wished or 0.0, until=until, before=before)
    what = f"{recipe.net.name} for {policy.width}×{policy.height} pixels and {len(parts.train.classes)} classes"
    events.step(2, "model building", what)
    created = _created(recipe, policy, train, normal, said, named(name))
    flips = _flips(recipe, train, valid, until, before)
    chosen = _planned(recipe, policy, train, created, flips, most)
    paced = most > 0 and before is None
    return Prepared(recipe, name, policy, train, valid, normal, created, chosen, exact, said, beside.own, paced)


def _planned(recipe: Recipe, policy: PixelPolicy, train: Material, created: Created, flips: Flips | None, most: int) -> Plan:
    """Return the plan of training; most: its largest batch, 0: any."""
    return plan(
        recipe,
        n=len(train.pixels),
        classes=train.pictures.classes,
        net=recipe.net.name,
        built=created.net,
        pretrained=created.pretrained,
        size=(policy.height, policy.width),
        device=next(created.net.parameters()).device.type,
        flips=flips,
        most=most,
    )


def _checked(parts: Parts, recipe: Recipe, beside: Beside, said: Said) -> tuple[Parts, Recipe, str, Beside]:
    """Return the parts as the task learns them, the recipe with a net that is known, the name of the task, and the teacher.

    Raises `UsageError` for what is no parts, or where the two do not fit, and what `check_teacher` raises.
    """
    if not isinstance(parts, Parts):
        hint = "beholder.split(beholder.scan(source)) makes them; beholder.steps takes the source itself"
        raise UsageError(f"there are no parts in {type(parts).__name__}", code="no-parts", hint=hint)
    name = asked(recipe.task, parts.train.with_labels())
    parts = arranged(parts, named(name), order=recipe.data.order)
    check(recipe, parts.train.classes, named(name))
    allow_as(recipe.data)
    recipe, beside = taught_by(recipe, beside=beside)
    if beside.teacher is not None:
        check_teacher(beside.teacher, parts, named(name), said)
    return parts, dataclasses.replace(recipe, net=known(recipe.net)), name, beside


def _flips(recipe: Recipe, train: Material, valid: Material, until: Deadline, before: Before | None) -> Flips | None:
    """Return what is known of flips: what a run that is resumed had found, or what is measured now; None where nothing is."""
    if before and before.flips:
        return as_before(before.flips)
    return wanted(recipe, (train.pictures, train.pixels), (valid.pictures, valid.pixels), until=until)


def _decoded(
    parts: Parts, held: Held, policy: PixelPolicy, recipe: Recipe, said: Said, *, until: Deadline, before: Before | None
) -> tuple[Material, Material]:
    """Return the training and the validation part, decoded; `held` is cleared."""
    opened = dataclasses.replace(parts, train=dataclasses.replace(parts.train, store=held))
    train, valid = both_decoded(opened, policy, recipe, said, until=until, only=before.sample if before else None)
    train = dataclasses.replace(train, pictures=dataclasses.replace(train.pictures, store=parts.train.store))
    held.clear()
    _check_learnable(parts, train, valid)
    return train, valid


def pixels_of(
    recipe: Recipe, looked: Survey, train: Pictures, on: torch.device, said: Callable[[str], None]
) -> tuple[Recipe, PixelPolicy, str]:
    """Return the recipe with its net named, the pixel policy of training, and why it is that.

    looked: the survey of the training pictures `train`; said: is told what is decided on the way
    """
    recipe, side = _with_net(recipe, looked, train, on, said)
    want = wants(recipe.net)
    return recipe, *choose_policy(looked, recipe.data, size=_size(want, recipe, on, said) or side, channels=want.channels)


TRAINING = 0.6
"""Share of the time left that is counted on for training, when a net is made as wide as it may be."""


def _dialled(
    recipe: Recipe,
    policy: PixelPolicy,
    train: Material,
    on: torch.device,
    exact: Precision,
    said: Said,
    *,
    wished: float,
    until: Deadline,
    before: Before | None,
) -> tuple[Recipe, int]:
    """Return the recipe with the width of its net, and the largest batch (0: any): measured where there is a budget."""
    if before is not None:
        width = wished or before.width or recipe.net.width
        return dataclasses.replace(recipe, net=dataclasses.replace(recipe.net, width=width)), before.batch
    if until.none or recipe.net.name not in DIALLED:
        return recipe, 0
    found = dialled(
        recipe.net,
        policy,
        n=len(train.pixels),
        classes=len(train.pictures.classes),
        asked=wished,
        seconds=TRAINING * until.left,
        on=on,
        precision=exact,
    )
    said(f"net: {found.why}")
    return dataclasses.replace(recipe, net=dataclasses.replace(recipe.net, width=found.width)), found.batch


def check_scales(net: nn.Module, prepared: Prepared) -> None:
    """Say the scales of activations and gradients at the first step, and warn where they vanish or explode."""
    count = min(len(prepared.train.pixels), 16 if prepared.recipe.train.minutes else 64)
    images, targets = sample(prepared.train, prepared.normal, count)

    def loss(logits: Tensor) -> Tensor:
        return prepared.task.loss(logits, targets.to(logits.device))

    found = scales(net, images, loss)
    slopes = [scale.gradient for scale in found if scale.gradient is not None]
    if found and slopes:
        activations = _span([scale.activation for scale in found])
        prepared.said(f"first step: activations {activations}, gradients {_span(slopes)} (RMS, smallest to largest layer)")
    for warning in warnings_of(found):
        events.warn(warning, hint="try another --set net.init=…, a lower train.lr, or --set train.clip=1")


def _span(values: Iterable[float]) -> str:
    ordered = sorted(values)
    return f"{ordered[0]:.2g} to {ordered[-1]:.2g}"


def _size(want: Wants, recipe: Recipe, on: torch.device, said: Callable[[str], None]) -> tuple[int, int] | None:
    """Return the size for the pictures, as the net wants them on this device."""
    size = want.size if recipe.data.size else want.size_on(on.type)
    if size is not None and want.size is not None and size != want.size:
        theirs = f"{want.size[1]} × {want.size[0]}"
        said(f"pixels: {size[1]} × {size[0]} instead of the {theirs} of the weights: a CPU trains a third faster on them")
    return size


def _with_net(
    recipe: Recipe, looked: Survey, train: Pictures, on: torch.device, said: Callable[[str], None]
) -> tuple[Recipe, tuple[int, int] | None]:
    n = len(train)
    if recipe.net.name != "auto":
        width = recipe.net.width or dial(recipe.net.name, n=n, device=on.type)
        return dataclasses.replace(recipe, net=dataclasses.replace(recipe.net, width=width)), None
    choice = choose(
        n=n,
        classes=len(train.classes),
        height=looked.height,
        width=looked.width,
        weights=recipe.net.weights,
        device=on.type,
    )
    said(f"net: {choice.name}: {choice.reason}")
    net = dataclasses.replace(recipe.net, name=choice.name, width=recipe.net.width or choice.width)
    return dataclasses.replace(recipe, net=net), (choice.size, choice.size) if choice.size else None


def _check_learnable(parts: Parts, train: Material, valid: Material) -> None:
    if not train.pictures.multi and int((train.pictures.counts() > 0).sum()) < 2:
        raise DataError(
            "the training part has readable pictures of one class only",
            code="one-class",
            hint="give readable pictures of at least two classes",
        )
    gone = nothing_left((parts.train, train.pixels.bad), (parts.valid, valid.pixels.bad))
    if gone:
        raise DataError(
            f"not one picture of {some(gone)} can be read: nothing can learn what it looks like",
            code="lost-class",
            hint="fetch the pictures again, or leave the class out of the source; beholder audit says why they cannot be read",
        )
    if not len(valid.pixels):
        raise DataError(
            "the validation part has no readable pictures", code="no-valid", hint="give more pictures, or a larger data.val"
        )


def _normal(want: Wants, pixels: Pixels, on: torch.device) -> Normal:
    mean, std = want.normalisation(pixels.shape[0]) or statistics(pixels)
    return Normal(mean, std, on)


_SAMPLED = 200_000
"""About so many pixels of training pictures are shown to the initialisation: more patches change a covariance little."""


def created(prepared: Prepared, seed: int) -> Created:
    """Return a net like that of a run, from other random weights."""
    on = prepared.train, prepared.normal, Said(), prepared.task
    return _created(prepared.recipe.set(seed=seed), prepared.policy, *on)


def _created(recipe: Recipe, policy: PixelPolicy, train: Material, normal: Normal, said: Said, task: Task) -> Created:
    images, _ = sample(train, normal, min(1024, max(16, _SAMPLED // (policy.height * policy.width))))
    created = create(
        recipe.net,
        channels=policy.channels,
        size=(policy.height, policy.width),
        classes=task.width(len(train.pictures.classes)),
        sample=images.cpu(),
        seed=recipe.seed,
    )
    parameters = sum(p.numel() for p in created.net.parameters())
    said(f"{created.spec.name} has {parameters:,} parameters")
    events.step(3, "parameter initialisation")
    for words in created.notes:
        said(words)
    last = head(created.net)
    if task.bias is not None and last is not None and last.bias is not None:
        with torch.no_grad():
            last.bias.copy_(torch.from_numpy(task.bias(train.pictures.counts())))
    moved(created.net, normal.device).to(memory_format=torch.channels_last)
    return created


def sample(material: Material, normal: Normal, count: int) -> tuple[Tensor, Tensor]:
    """Return a few training pictures, spread evenly: normalised images float32 (count, C, H, W) and their targets."""
    positions = torch.linspace(0, len(material.pixels) - 1, min(count, len(material.pixels))).long()
    some = material.pixels.subset(positions.numpy())
    images = torch.cat(list(plain(some, batch=count, device=normal.device, mean=normal.mean, std=normal.std)))
    return images, material.targets[positions]
