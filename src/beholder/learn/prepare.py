"""Everything that happens before the first step: which net, which pixels, decoded, normalised, initialised, checked."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.base import events
from beholder.base.errors import DataError
from beholder.base.recipe import Recipe
from beholder.base.records import Parts, Pictures, PixelPolicy
from beholder.base.spans import span
from beholder.data.cache import Pixels, cached
from beholder.data.digest import digested
from beholder.data.loader import Batches, plain, statistics
from beholder.data.survey import Survey, choose_policy, survey
from beholder.learn.decide import Plan, plan
from beholder.learn.probe import Normal
from beholder.learn.tasks import balance
from beholder.machine.device import Precision, device, free_memory, precision
from beholder.nets.build import Created, create, wants
from beholder.nets.choose import choose, dial
from beholder.nets.init import scales, warnings_of
from beholder.nets.spec import Wants


@dataclass
class Said:
    """Decisions and findings, said aloud as they are made and kept for the bundle."""

    notes: list[str] = field(default_factory=list)

    def __call__(self, note: str) -> None:
        """Say and keep one note."""
        events.note(note)
        self.notes.append(note)


@dataclass(frozen=True, eq=False)
class Material:
    """One part, decoded: the pictures that could be read, their pixels, and targets float32 (M, K)."""

    pictures: Pictures
    pixels: Pixels
    targets: Tensor


@dataclass(frozen=True, eq=False)
class Prepared:
    """A run before its first step. `recipe` is the one asked for with its net filled in."""

    recipe: Recipe
    policy: PixelPolicy
    train: Material
    valid: Material
    normal: Normal
    created: Created
    plan: Plan
    precision: Precision
    weights: Tensor | None
    said: Said
    decoding: float = 0.0
    """Seconds that decoding one picture took; 0 where the cache had them."""

    @property
    def multi(self) -> bool:
        """Return True where a picture may carry several labels."""
        return self.train.pictures.multi

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the class names."""
        return self.train.pictures.classes

    def batches(self) -> Batches:
        """Return the batches of the training part, resident on the device where they fit."""
        memory = self.recipe.data.memory * 2**20 or free_memory(self.normal.device) // 3
        return Batches(
            self.train.pixels,
            self.train.targets,
            batch=self.plan.batch,
            seed=self.recipe.seed,
            device=self.normal.device,
            mean=self.normal.mean,
            std=self.normal.std,
            plan=self.plan.augment,
            memory=memory,
            workers=self.recipe.data.workers,
        )


def prepare(parts: Parts, recipe: Recipe) -> Prepared:
    """Return what a run needs, decided and decoded. Reads the training and the validation part, never the test part.

    Raises `DataError` when too little is left to learn from, `UsageError` for a net or weights that cannot be had.
    """
    said = Said()
    on = device()
    with span("decode"):
        looked = survey(parts.train)
    recipe, side = _with_net(recipe, looked, parts, on, said)
    want = wants(recipe.net)
    policy, why = choose_policy(looked, recipe.data, size=_size(want, recipe, on, said) or side, channels=want.channels)
    said(f"pixels: {why}")
    began = time.monotonic()
    train, valid = (_decoded(pictures, policy, recipe, said) for pictures in (parts.train, parts.valid))
    decoded = train.pixels.decoded + valid.pixels.decoded
    decoding = (time.monotonic() - began) / decoded if decoded else 0.0
    _check_learnable(train, valid)
    normal = _normal(want, train.pixels, on)
    events.step(
        2,
        "model building",
        f"{recipe.net.name} for {policy.width}×{policy.height} pixels and {len(parts.train.classes)} classes",
    )
    created = _created(recipe, policy, train, normal, said)
    size = (policy.height, policy.width)
    n = len(train.pixels)
    chosen = plan(
        recipe,
        n=n,
        classes=parts.train.classes,
        net=recipe.net.name,
        built=created.net,
        pretrained=created.pretrained,
        size=size,
        device=on.type,
    )
    exact = precision(on, recipe.train.precision)
    weights = None
    if recipe.train.class_weights == "balanced":
        weights = balance(torch.from_numpy(train.pictures.counts()), multi_label=train.pictures.multi, n=n).to(on)
    return Prepared(recipe, policy, train, valid, normal, created, chosen, exact, weights, said, decoding)


def check_scales(net: nn.Module, prepared: Prepared) -> None:
    """Say the scales of activations and gradients at the first step, and warn where they vanish or explode."""
    count = min(len(prepared.train.pixels), 64)
    images, targets = _sample(prepared.train, prepared.normal, count)

    def loss(logits: Tensor) -> Tensor:
        goal = targets.to(logits.device)
        return F.binary_cross_entropy_with_logits(logits, goal) if prepared.multi else F.cross_entropy(logits, goal)

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


def _size(want: Wants, recipe: Recipe, on: torch.device, said: Said) -> tuple[int, int] | None:
    """Return the size for the pictures, as the net wants them on this device."""
    size = want.size if recipe.data.size else want.size_on(on.type)
    if size is not None and want.size is not None and size != want.size:
        theirs = f"{want.size[1]} × {want.size[0]}"
        said(f"pixels: {size[1]} × {size[0]} instead of the {theirs} of the weights: a CPU trains a third faster on them")
    return size


def _with_net(
    recipe: Recipe, looked: Survey, parts: Parts, on: torch.device, said: Said
) -> tuple[Recipe, tuple[int, int] | None]:
    n = len(parts.train)
    if recipe.net.name != "auto":
        width = recipe.net.width or dial(recipe.net.name, n=n, device=on.type, minutes=recipe.train.minutes)
        return dataclasses.replace(recipe, net=dataclasses.replace(recipe.net, width=width)), None
    choice = choose(
        n=n,
        classes=len(parts.train.classes),
        height=looked.height,
        width=looked.width,
        weights=recipe.net.weights,
        device=on.type,
    )
    said(f"net: {choice.name}: {choice.reason}")
    net = dataclasses.replace(recipe.net, name=choice.name, width=recipe.net.width or choice.width)
    return dataclasses.replace(recipe, net=net), (choice.size, choice.size) if choice.size else None


def _decoded(pictures: Pictures, policy: PixelPolicy, recipe: Recipe, said: Said) -> Material:
    pictures = digested(pictures)
    pixels = cached(pictures, policy, on_bad=recipe.data.on_bad, workers=recipe.data.workers)
    if pixels.bad:
        said.notes.append(
            f"{len(pixels.bad)} pictures could not be read and were left out: {', '.join(bad.key for bad in pixels.bad[:5])}"
        )
    return Material(pictures.take(pixels.rows), pixels, targets_of(pictures.take(pixels.rows)))


def targets_of(pictures: Pictures) -> Tensor:
    """Return float32 (N, K): one-hot rows, or multi-hot ones."""
    targets = torch.from_numpy(pictures.targets)
    return targets.float() if pictures.multi else F.one_hot(targets.long(), len(pictures.classes)).float()


def _check_learnable(train: Material, valid: Material) -> None:
    if not train.pictures.multi and int((train.pictures.counts() > 0).sum()) < 2:
        raise DataError(
            "the training part has readable pictures of one class only",
            code="one-class",
            hint="give readable pictures of at least two classes",
        )
    if not len(valid.pixels):
        raise DataError(
            "the validation part has no readable pictures", code="no-valid", hint="give more pictures, or a larger data.valid"
        )


def _normal(want: Wants, pixels: Pixels, on: torch.device) -> Normal:
    mean, std = want.normalisation(pixels.shape[0]) or statistics(pixels)
    return Normal(mean, std, on)


_SAMPLED = 200_000
"""About so many pixels of training pictures are shown to the initialisation: more patches change a covariance little."""


def _created(recipe: Recipe, policy: PixelPolicy, train: Material, normal: Normal, said: Said) -> Created:
    images, _ = _sample(train, normal, min(1024, max(16, _SAMPLED // (policy.height * policy.width))))
    created = create(
        recipe.net,
        channels=policy.channels,
        size=(policy.height, policy.width),
        classes=len(train.pictures.classes),
        sample=images.cpu(),
        seed=recipe.seed,
    )
    parameters = sum(p.numel() for p in created.net.parameters())
    said(f"{created.spec.name} has {parameters:,} parameters")
    events.step(3, "parameter initialisation")
    for words in created.notes:
        said(words)
    created.net.to(normal.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return created


def _sample(material: Material, normal: Normal, count: int) -> tuple[Tensor, Tensor]:
    positions = torch.linspace(0, len(material.pixels) - 1, min(count, len(material.pixels))).long()
    some = material.pixels.subset(positions.numpy())
    images = torch.cat(list(plain(some, batch=count, device=normal.device, mean=normal.mean, std=normal.std)))
    return images, material.targets[positions]
