"""What the audit needs a net for: features of every picture, and out-of-fold probabilities of its labels.

From a pretrained net where one is at hand (`net.weights`, or the hub's cache; nothing is downloaded), else from small nets that
are trained in folds; from both where pictures are small and many. Features of pretrained nets, and what the nets in folds said,
are remembered in the cache folder.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from beholder.base import events
from beholder.base.files import sha256
from beholder.base.recipe import NetRecipe, Recipe, load
from beholder.base.records import Pictures, PixelPolicy
from beholder.data.cache import cached
from beholder.data.checks import Evidence
from beholder.data.folds import folds
from beholder.data.survey import Survey, choose_policy, survey
from beholder.data.vectors import recalled, remember
from beholder.learn.folded import heads, nets, pooled
from beholder.learn.prepare import targets_of
from beholder.learn.probe import Normal, embed, features_name, runner
from beholder.machine.device import device, precision
from beholder.nets.build import create, wants
from beholder.nets.choose import CPU_PHOTOS, GPU_PHOTOS, choose, pretrained_at_hand
from beholder.nets.engine import Run
from beholder.nets.features import Enlarged
from beholder.nets.pretrained import weights_hash

I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]

ENLARGED = 128
"""Side in pixels to which smaller pictures are enlarged for a pretrained net: at 96 its guesses are 5 points worse."""

LEAST, MANY = 20, 100
"""Pictures below which no net is asked about them: one that is pretrained, and one that has to be trained on them."""

FOLDS = 5
NETS = 3
"""How many folds: of heads on features, which cost seconds, and of nets that have to be trained."""

SEEN = 200_000
"""Pictures that a net in a fold sees, at least 6 times and at most 40 times each: nets learn what is right before they learn
wrong labels by heart."""

MANY_STEPS = 10_000
"""Pictures from which on the net in a fold is half as wide and takes the large steps of the recipe `sprint`."""


SMALL = 64
"""Side in pixels up to which nets in folds are asked beside a pretrained net: of such pictures they see what it does not."""

BOTH = 15_000
"""Pictures from which on they are: of fewer they learn too little."""

LEFT = 1.0
"""Minutes that must be left for them when the pretrained net is done."""


@dataclass(frozen=True)
class Backbone:
    """A pretrained net that is at hand: how it is built, and the hash of its weights."""

    net: NetRecipe
    digest: str


def gathered(
    evidence: Evidence, recipe: Recipe, *, needed: Collection[str], minutes: float, from_scratch: bool = True
) -> Evidence:
    """Return the evidence with features and, where they are `needed`, out-of-fold probabilities; without where it cannot be.

    minutes: about what the nets may take (0: as long as they need)
    from_scratch: train nets in folds where no pretrained one is at hand, or where they see what it does not
    """
    pictures, facts = evidence.pictures, evidence.facts
    backbone = at_hand(recipe.net)
    rows = np.flatnonzero(evidence.readable)
    if len(rows) < (LEAST if backbone else MANY) or not (backbone or from_scratch):
        return evidence
    some = pictures.take(rows)
    looked = survey(some)
    twins = None if evidence.twins is None else evidence.twins.among(rows)
    fold = folds(some, count=FOLDS if backbone else NETS, seed=recipe.seed, same=facts["pixels"][rows], twins=twins)
    probabilities: F32 | None = None
    if backbone is None:
        probabilities, features = _trained(some, fold, recipe, minutes)
    else:
        began = time.monotonic()
        features = _features(some, backbone, recipe, looked, minutes)
        if "probabilities" in needed:
            probabilities = _headed(some, features, fold)
            left = minutes - (time.monotonic() - began) / 60
            small = max(looked.height, looked.width) <= SMALL and len(some) >= BOTH
            if small and from_scratch and (not minutes or left >= LEFT):
                fold = folds(some, count=NETS, seed=recipe.seed, same=facts["pixels"][rows], twins=twins)
                others = _trained(some, fold, recipe, minutes, left=left, both=True)[0]
                probabilities = pooled([probabilities, others], targets_of(some).numpy(), multi=some.multi)
    return dataclasses.replace(
        evidence,
        features=_spread(features, rows, len(pictures)),
        probabilities=None if probabilities is None else _spread(probabilities, rows, len(pictures)),
    )


def at_hand(net: NetRecipe) -> Backbone | None:
    """Return the pretrained net that is on this machine already, None where there is none. Touches no network.

    Raises `UsageError` for weights that are not there.
    """
    if net.weights == "none":
        return None
    usual = CPU_PHOTOS if device().type == "cpu" else GPU_PHOTOS
    name = net.name if net.name.startswith("timm:") else usual
    if net.weights != "auto":
        name = net.name if net.name != "auto" else _of(net.weights)
    elif not pretrained_at_hand(name):
        return None
    digest = weights_hash(name, net.weights)
    return Backbone(dataclasses.replace(net, name=name), digest) if digest else None


def _of(weights: str) -> str:
    return choose(n=0, classes=0, height=0, width=0, weights=weights, device="cpu").name


def _features(pictures: Pictures, backbone: Backbone, recipe: Recipe, looked: Survey, minutes: float) -> F32:
    """Return the features of a pretrained net, float32 (N, F); those of the cache are not computed again."""
    policy, side = _pixels(backbone, recipe, looked)
    name = features_name(backbone.net, backbone.digest, policy, precision(device(), recipe.train.precision), side=side)
    assert pictures.digests is not None
    known = recalled(name, pictures.digests)
    missing = np.flatnonzero(np.isnan(known[:, 0])) if known.shape[1] else np.arange(len(pictures))
    if not len(missing):
        events.note(f"features of {len(pictures):,} pictures: remembered")
        return known.astype(np.float32)
    limit = f"at most {minutes:g} min" if minutes else "as long as it needs"
    events.note(f"the labels are judged by features of {backbone.net.name}, of {len(missing):,} pictures: {limit}")
    run, normal = _running(backbone, pictures, policy, side, recipe.train.precision)
    began, late = time.monotonic(), 60 * minutes
    missing = missing[np.random.default_rng(0).permutation(len(missing))]
    for at in range(0, len(missing), _STEP):
        rows = np.sort(missing[at : at + _STEP])
        if late and time.monotonic() - began > late:
            events.warn(
                f"{len(missing) - at:,} pictures had no time for a look by the net: their labels are not checked",
                hint=f"give more than {minutes:g} minutes; what was computed is remembered",
            )
            break
        part = pictures.take(rows)
        with events.only("warn"):
            found = embed(run, cached(part, policy), normal).half().numpy()
        remember(name, part.digests, found)  # type: ignore[arg-type]
        done = min(at + _STEP, len(missing))
        left = (time.monotonic() - began) / done * (len(missing) - done)
        events.progress("features of the pretrained net", done, len(missing), left=f"{left:.0f} s")
    return recalled(name, pictures.digests).astype(np.float32)


_STEP = 2048


def _pixels(backbone: Backbone, recipe: Recipe, looked: Survey) -> tuple[PixelPolicy, int]:
    """Return the pixel policy, and the side to which the net's pictures are enlarged (0: not)."""
    want = wants(backbone.net)
    if want.size is not None and want.flexible and max(looked.height, looked.width) < ENLARGED:
        return choose_policy(looked, recipe.data, channels=want.channels or 3)[0], ENLARGED
    return choose_policy(looked, recipe.data, size=want.size_on(device().type), channels=want.channels or 3)[0], 0


def _running(backbone: Backbone, pictures: Pictures, policy: PixelPolicy, side: int, asked: str) -> tuple[Run, Normal]:
    """Return the fastest verified way to the features, and how pictures are normalised for it."""
    on = device()
    mean, std = wants(backbone.net).normalisation(policy.channels) or ((0.5,) * policy.channels, (0.25,) * policy.channels)
    classes = max(2, len(pictures.classes))
    net: nn.Module = create(backbone.net, channels=policy.channels, size=(policy.height, policy.width), classes=classes).net
    net = (Enlarged(net, side) if side else net).to(on, memory_format=torch.channels_last)  # type: ignore[call-overload]
    normal = Normal(mean, std, on)
    sample = cached(pictures.take(np.arange(min(256, len(pictures)))), policy)
    return runner(net, sample, normal, precision(on, asked)), normal


def _headed(pictures: Pictures, features: F32, fold: I64) -> F32:
    """Return out-of-fold probabilities of linear heads, rows of NaN where there are no features."""
    known = np.flatnonzero(np.isfinite(features).all(axis=1))
    targets = targets_of(pictures).numpy()
    found = np.full(targets.shape, np.nan, np.float32)
    found[known] = heads(
        features[known],
        targets[known],
        fold[known],
        multi=pictures.multi,
        progress=lambda done, total: events.progress("labels of one fold judged by the others", done, total),
    )
    return found


def _trained(
    pictures: Pictures, fold: I64, recipe: Recipe, minutes: float, *, left: float | None = None, both: bool = False
) -> tuple[F32, F32]:
    """Return (probabilities (N, K), features (N, F)) of nets trained in folds; what the cache holds is not trained again.

    minutes: what was asked for; left: what is left of it (None: all); both: they are asked beside a pretrained net
    """
    left = minutes if left is None or not minutes else left
    assert pictures.digests is not None
    asked = _small(recipe, len(pictures) * (NETS - 1) // NETS)
    told = [asked.essence().toml(), list(pictures.classes), minutes]
    content = pictures.digests.tobytes() + pictures.targets.tobytes() + fold.tobytes() + json.dumps(told).encode()
    name = f"folds-{sha256(content)[:16]}"
    known, features = _judged_before(name, pictures)
    if np.isfinite(known).all():
        events.note("what nets trained in folds say of the labels: remembered")
        return known, features
    limit = f"at most {left:.2g} min" if minutes else "as long as it needs"
    why = "the pictures are small and many" if both else "no pretrained net is at hand"
    events.note(
        f"{why}: {NETS} nets ({asked.net.name}) learn from two thirds of them each and judge the labels of the rest; {limit}"
    )

    digests = pictures.digests

    def done(rows: I64, said: F32, found: F32 | None) -> None:
        nonlocal features
        if found is not None:
            features = found
            remember(f"{name}-features", digests, found.astype(np.float16))
        known[rows] = said
        remember(name, digests[rows], said.astype(np.float16))

    nets(pictures, fold, asked, minutes=left, known=known.copy(), done=done)
    return known, features


def _judged_before(name: str, pictures: Pictures) -> tuple[F32, F32]:
    """Return what is remembered of nets in folds: probabilities (N, K), rows of NaN for folds not judged yet, and features."""
    assert pictures.digests is not None
    known, features = (recalled(each, pictures.digests).astype(np.float32) for each in (name, f"{name}-features"))
    if known.shape[1] == len(pictures.classes) and features.shape[1] and np.isfinite(features).all():
        return known, features
    return np.full((len(pictures), len(pictures.classes)), np.nan, np.float32), features


def _small(recipe: Recipe, n: int) -> Recipe:
    """Return the recipe of the nets in folds: a small fast net for a few epochs, with what the person set of the pixels."""
    many = n >= MANY_STEPS
    epochs = max(6, min(40, round(SEEN / n)))
    net = NetRecipe(name="fastnet", weights="none", width=0.25 if many else 0.5)
    base = load("sprint" if many else "quick")
    train = dataclasses.replace(base.train, epochs=epochs, precision=recipe.train.precision)
    data = dataclasses.replace(recipe.data, augment="light", strength=0.5, grow=0.6)
    return dataclasses.replace(recipe, net=net, train=train, data=data)


def _spread(found: F32, rows: npt.NDArray[np.int64], n: int) -> F32:
    whole = np.full((n, found.shape[1]), np.nan, np.float32)
    whole[rows] = found
    return whole
