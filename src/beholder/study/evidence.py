"""Evidence that needs a net: features of every picture, and out-of-fold probabilities of its labels.

From a pretrained net (that of `net.weights`, or one that is on this machine; nothing is downloaded), or with `net.weights=none`
from small nets that are trained in folds; from both where pictures are small and many. Features of pretrained nets, and what
the nets in folds said, are remembered in the cache folder.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from beholder.base import events
from beholder.base.deadline import Deadline
from beholder.base.fields import NetRecipe
from beholder.base.files import sha256
from beholder.base.recipe import Recipe, load
from beholder.base.records import Pictures, PixelPolicy
from beholder.data.cache import missing, pace
from beholder.data.folds import folds
from beholder.data.survey import Survey, choose_policy, survey
from beholder.data.vectors import recalled, remember
from beholder.learn.material import targets_of
from beholder.learn.prepare import pixels_of
from beholder.learn.probe import features_name, seen
from beholder.machine.chip import settled
from beholder.machine.device import device, precision
from beholder.machine.pace import restored
from beholder.machine.placement import moved
from beholder.nets.build import create, wants
from beholder.nets.choose import SMALL, choose, photos
from beholder.nets.pretrained import initial, weights_hash
from beholder.quality.checks import Evidence
from beholder.runtime.inference import Normal, runner
from beholder.study.folded import heads, nets, pooled
from beholder.tasks import asked, named

I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]

ENLARGED = 128
"""Side in pixels to which smaller pictures are enlarged for a pretrained net: at 96 its predictions are 5 points worse."""

LEAST, MANY = 20, 100
"""Pictures below which no net is asked about them: one that is pretrained, and one that has to be trained on them."""

TIMED = 8
"""Pictures of noise on which the speed of a net is measured beforehand."""

FITTING = 0.5
"""Share of the minutes that heads in folds may take beside the features."""

FOLDS = 5
NETS = 3
"""How many folds: of heads on features, which cost seconds, and of nets that have to be trained."""

SEEN = 200_000
"""Pictures that a net in a fold sees, at least 6 times and at most 40 times each: nets learn what is right before they learn
wrong labels by heart."""

MANY_STEPS = 10_000
"""Pictures from which on the net in a fold is half as wide and takes the large steps of the recipe `sprint`."""


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
    evidence: Evidence,
    recipe: Recipe,
    *,
    needed: Collection[str],
    minutes: float,
    from_scratch: bool = True,
    like: Pictures | None = None,
) -> Evidence:
    """Return the evidence with features and, where they are `needed`, out-of-fold probabilities; without where it cannot be.

    minutes: about what the nets may take (0: as long as they need)
    from_scratch: train nets in folds where no pretrained one is at hand, or where they see what it does not
    like: the pictures by which training will decide about pixels, so that both look at the same; None: these
    """
    pictures, facts = evidence.pictures, evidence.facts
    rows = np.flatnonzero(evidence.readable)
    if len(rows) < LEAST:
        return evidence
    some = pictures.take(rows)
    looked = survey(some if like is None else like)
    backbone = at_hand(recipe.net, looked, small=from_scratch and len(rows) >= MANY)
    if backbone is None and (len(rows) < MANY or not from_scratch):
        return evidence
    twins = None if evidence.twins is None else evidence.twins.among(rows)

    def fold(count: int) -> I64:
        return folds(some, count=count, seed=recipe.seed, same=facts["pixels"][rows], twins=twins)

    probabilities: F32 | None
    if backbone is None:
        probabilities, features = _trained(some, fold(NETS), recipe, minutes)
    else:
        both = from_scratch and max(looked.height, looked.width) <= SMALL and len(some) >= BOTH
        how = {"judged": "probabilities" in needed, "both": both}
        probabilities, features = _pretrained(some, fold, backbone, recipe, looked, minutes, like, **how)
    return dataclasses.replace(
        evidence,
        features=_spread(features, rows, len(pictures)),
        probabilities=None if probabilities is None else _spread(probabilities, rows, len(pictures)),
    )


def _pretrained(
    pictures: Pictures,
    fold: Callable[[int], I64],
    backbone: Backbone,
    recipe: Recipe,
    looked: Survey,
    minutes: float,
    like: Pictures | None,
    *,
    judged: bool,
    both: bool,
) -> tuple[F32 | None, F32]:
    """Return (probabilities (N, K), features (N, F)) of a pretrained net: of heads on it and, for `both`, of nets in folds too.

    fold: int64 (N,) for a count of folds; judged: whether probabilities are wanted
    """
    began = time.monotonic()
    if (initially := initial(backbone.net.name, backbone.net.weights)) is not None:
        events.note(f"{backbone.net.name} judges labels and outliers; pretrained weights: {initially}")
    features = features_of(pictures, backbone, recipe, looked, minutes, like=like, what="the labels are judged by features")
    if silent := int(np.isnan(features).any(axis=1).sum()):
        events.warn(
            f"{silent:,} pictures had no time for a look by the net: their labels are not checked",
            hint=f"it had {60 * minutes:.0f} s; what it said is remembered: an audit with more --minutes goes on from there",
        )
    if not judged:
        return None, features
    probabilities = _headed(pictures, features, fold(FOLDS), Deadline.of(began, (1 + FITTING) * minutes))
    left = minutes - (time.monotonic() - began) / 60
    if both and (not minutes or left >= LEFT):
        others = _trained(pictures, fold(NETS), recipe, minutes, left=left, both=True)[0]
        probabilities = pooled([probabilities, others], targets_of(pictures).numpy(), task=named(asked("auto", pictures)))
    return probabilities, features


def at_hand(net: NetRecipe, looked: Survey, *, small: bool) -> Backbone | None:
    """Return the pretrained net that judges such pictures, None where none is wanted. Touches no network.

    It is the one that the recipe names, else one that is on this machine; with `small` also for pictures of few pixels, of
    which it sees less than of photos, but as a rule more than a net that learns from some thousand of them (docs/LOG.md).
    Raises `UsageError` for weights that are not there.
    """
    if net.weights == "none":
        return None
    name = net.name
    if net.weights != "auto":
        name = name if name != "auto" else choose(n=0, classes=0, height=0, width=0, weights=net.weights, device="cpu").name
    elif not name.startswith("timm:"):
        if max(looked.height, looked.width) <= SMALL and not small:
            return None
        name = photos(device().type, fetch=False)[0]
    digest = weights_hash(name, net.weights)
    return Backbone(dataclasses.replace(net, name=name), digest) if digest else None


def features_of(
    pictures: Pictures,
    backbone: Backbone,
    recipe: Recipe,
    looked: Survey,
    minutes: float,
    *,
    like: Pictures | None = None,
    what: str = "features",
) -> F32:
    """Return the features of a pretrained net, float32 (N, F); those of the cache are not computed again.

    minutes: what it may take (0: as long as it needs); rows of NaN are those it had no time for, or that cannot be read
    like: the pictures by which training decides about pixels, which are decoded for it at once; what: how its work is called
    """
    policy, backbone = seen_by(backbone, recipe, looked)
    exact, side = precision(device(), recipe.train.precision), backbone.net.enlarge
    name = features_name(backbone.net, backbone.digest, policy, exact, side=side)
    assert pictures.digests is not None
    known = recalled(name, pictures.digests)
    left = np.flatnonzero(np.isnan(known[:, 0])) if known.shape[1] else np.arange(len(pictures))
    if not len(left):
        events.note(f"features of {len(pictures):,} pictures: remembered")
        return known.astype(np.float32)
    limit = f"at most {60 * minutes:.0f} s" if minutes else "as long as it needs"
    events.note(f"{what} of {backbone.net.name}, of {len(left):,} pictures: {limit}")
    on, end = device(), Deadline.of(time.monotonic(), minutes)
    normal, make = _running(backbone, pictures, policy, on)
    rows, found = seen(
        pictures,
        policy,
        lambda pixels: runner(make(), pixels, normal, exact.dtype, pictures=len(left), seconds=end.left),
        normal,
        name=name,
        least=LEAST,
        enough=lambda: end.passed,
        also=None if like is None else pixels_of(recipe, looked, like, on, lambda _: None)[1],
    )
    return _spread(np.asarray(found.numpy()), rows, len(pictures))


def seconds_of(pictures: Pictures, backbone: Backbone, recipe: Recipe, looked: Survey) -> float:
    """Return about how many seconds the features of so many pictures take, decoding included; measured on a few of noise."""
    policy, backbone = seen_by(backbone, recipe, looked)
    normal, make = _running(backbone, pictures, policy, device())
    net, took = make(), []
    images = torch.rand(TIMED, policy.channels, policy.height, policy.width, device=normal.device)
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), restored():
        for threads in sorted({1, torch.get_num_threads()}, reverse=True):  # on a busy machine one is quicker than several
            torch.set_num_threads(threads)
            for _ in range(3):
                began = time.perf_counter()
                net(images)
                settled(normal.device)
                took.append(time.perf_counter() - began)
    return min(took) / TIMED * len(pictures) + missing(pictures, policy) * pace(policy)


def seen_by(backbone: Backbone, recipe: Recipe, looked: Survey) -> tuple[PixelPolicy, Backbone]:
    """Return the pixel policy, and the backbone, which enlarges small pictures if it can.

    Where this net is the one that will be trained, it is the policy of that, so that features serve both.
    """
    net = backbone.net
    if recipe.net.name == "auto" and max(looked.height, looked.width) <= SMALL and wants(net).flexible:
        net = dataclasses.replace(net, enlarge=ENLARGED)
    want = wants(net)
    policy, _ = choose_policy(looked, recipe.data, size=want.size_on(device().type), channels=want.channels)
    return policy, dataclasses.replace(backbone, net=net)


def _running(
    backbone: Backbone, pictures: Pictures, policy: PixelPolicy, on: torch.device
) -> tuple[Normal, Callable[[], nn.Module]]:
    """Return how pictures are normalised for the backbone, and what makes it."""
    mean, std = wants(backbone.net).normalisation(policy.channels) or ((0.5,) * policy.channels, (0.25,) * policy.channels)
    classes = max(2, len(pictures.classes))

    def make() -> nn.Module:
        net = create(backbone.net, channels=policy.channels, size=(policy.height, policy.width), classes=classes).net
        return moved(net, on).eval().to(memory_format=torch.channels_last)

    return Normal(mean, std, on), make


def _headed(pictures: Pictures, features: F32, fold: I64, end: Deadline) -> F32:
    """Return out-of-fold probabilities of linear heads, rows of NaN where there are no features."""
    known = np.flatnonzero(np.isfinite(features).all(axis=1))
    targets = targets_of(pictures).numpy()
    found = np.full(targets.shape, np.nan, np.float32)
    found[known] = heads(
        features[known],
        targets[known],
        fold[known],
        task=named(asked("auto", pictures)),
        progress=lambda done, total: events.progress("labels of one fold judged by the others", done, total),
        enough=lambda: end.passed,
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
