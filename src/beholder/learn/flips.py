"""Which flips leave a picture its class: measured, along each axis and for each class, by heads that were fitted without flips.

A linear head is fitted on training pictures as they are, and asked about validation pictures as they are and mirrored. A net
that was trained with flips would always pass, so the head is fitted for this alone: on edges and colours by place, which cost
next to nothing and see every direction; and where these cannot tell, on features of the backbone that comes with the install,
which know things from either side, so that shoes that all point to the left are not taken for another thing when they point to
the right. Where a head cannot be asked (few pictures, classes that it cannot tell), names and custom decide, and that is said.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from beholder.base import events, memo
from beholder.base.deadline import Deadline
from beholder.base.errors import MachineError
from beholder.base.fields import NetRecipe
from beholder.base.files import sha256
from beholder.base.order import numbered
from beholder.base.recipe import Recipe
from beholder.base.records import Pictures
from beholder.base.spans import span
from beholder.data.cache import Pixels
from beholder.machine.folders import cache_folder
from beholder.machine.pace import slowness
from beholder.measure.comparison import holm, mcnemar
from beholder.nets.head import fit
from beholder.tasks.multi import MULTI
from beholder.tasks.single import SINGLE

TRAIN, VALID, FEW, LEAST = 240, 160, 60, 24
"""Pictures that a head is fitted on and asked about, of all classes together. With FEW validation pictures training ones are
asked about too, by heads that were fitted without them; below LEAST in all nothing is measured."""

LOST, ALL_LOST, SURE = 0.15, 0.05, 0.01
"""Share of a class, and of all pictures, that has to be lost for a flip to change it; with a p of 0.05 for the worst class
(Holm) and of SURE for all pictures, by McNemar's test of the pictures before and after."""

KNOWN = 0.75
"""Accuracy from which on edges and colours alone may say that a flip changes nothing."""

GRID, BINS, SIDE = 6, 8, 48
"""Edges are counted in 6 × 6 cells by 8 directions, in pictures of 48 × 48."""

PENALTY = 50.0
"""Strength of the L2 penalty of a head beside the sum of its losses: strong, for there are few pictures."""

DEEP = 96
"""Side in pixels of the pictures that the backbone is shown."""

AXES = {"horizontal": 3, "vertical": 2}
"""Axis of (N, C, H, W) that a flip turns round."""

VERSION = 3

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]
Labels = npt.NDArray[np.integer]
Features = Callable[[U8], F32]
Turn = tuple[I64, I64]


@dataclass(frozen=True)
class Flips:
    """Along which axes pictures may be flipped; None = not measured. why: what was measured, as a sentence.

    whole: False where there was no time to ask all that could be asked
    """

    horizontal: bool | None = None
    vertical: bool = False
    why: str = ""
    whole: bool = True


def as_before(axes: str) -> Flips:
    """Return the flips of a run that is resumed, from the names of the axes along which its pictures were flipped."""
    return Flips("horizontal" in axes.split(), "vertical" in axes.split(), "as before the run was resumed")


Part = tuple[Pictures, Pixels]
"""The pictures of a part, with digests, and their pixels."""

SHARE, COSTS = 0.05, 1.5
"""Of the time that is left, what measuring may take; and the seconds that it takes on an idle machine without the backbone."""

NEVER = Deadline()


def wanted(recipe: Recipe, train: Part, valid: Part, *, until: Deadline = NEVER) -> Flips | None:
    """Return which flips keep the classes, from a sample of both parts; None where the recipe leaves nothing to be decided.

    The same parts give the same answer, which is remembered. until: when the whole run should be over
    """
    asked = recipe.data
    if asked.flip != "auto" or asked.augment == "none" or not asked.strength:
        return None
    content = [f"{VERSION} {train[1].shape}".encode(), *(name.encode("utf-8", "replace") for name in train[0].classes)]
    for pictures, _ in (train, valid):
        assert pictures.digests is not None
        content += [pictures.digests.tobytes(), np.ascontiguousarray(pictures.targets).tobytes()]
    path = cache_folder() / "flips" / f"{sha256(b' '.join(content))[:32]}.json"
    try:
        return Flips(**json.loads(memo.read(path) or b""))
    except (ValueError, TypeError):
        pass
    if not until.none and SHARE * until.left < COSTS * slowness():
        return Flips(False, why="there is no time to measure what a flip changes", whole=False)
    with span("augment"):
        found = measured(train, valid, seconds=0.0 if until.none else SHARE * until.left)
    if found.whole:
        memo.keep(path, json.dumps(vars(found)).encode(), what="measured flips")
    return found


def measured(train: Part, valid: Part, *, seconds: float = 0.0) -> Flips:
    """Return which flips keep the classes. seconds: what the backbone may take (0: as long as it needs)."""
    classes, targets, truth = train[0].classes, train[0].targets, valid[0].targets
    fitted, asked = _sample(targets, TRAIN), _sample(truth, VALID)
    images = np.concatenate([train[1].take(fitted), valid[1].take(asked)])
    labels = np.concatenate([targets[fitted], truth[asked]])
    turns = _turns(labels, len(fitted))
    if sum(len(ask) for _, ask in turns) < LEAST or len(classes) < 2:
        return Flips(why=f"{len(labels)} pictures are too few to measure what a flip changes")
    edges = _Asked(edges_and_colours, images, labels, turns, classes)
    changed = {axis: edges.swapped(axis) or edges.halved(axis) for axis in AXES}
    if (edges.accuracy >= KNOWN and (changed["horizontal"] or edges.kept("horizontal"))) or all(changed.values()):
        return _said(edges, changed, "edges and colours", deep=None)
    features = backbone(seconds, len(images) + 2 * len(edges.truth))
    deep = None if features is None else _Asked(features, images, labels, turns, classes)
    ended = deep is not None and deep.ended
    deep = None if ended else deep
    if deep is not None and deep.tells:
        changed = {axis: changed[axis] or deep.lost(axis) for axis in AXES}
        return _said(edges, changed, "features of the backbone", deep=deep)
    if not edges.tells and not changed["horizontal"]:
        late = " and there was no time for the backbone" if ended else ""
        return Flips(why=f"a linear head cannot tell the classes{late}, so what a flip changes is not known", whole=not ended)
    return replace(_said(edges, changed, "edges and colours", deep=None), whole=not ended)


def _said(edges: _Asked, changed: dict[str, str], on: str, *, deep: _Asked | None) -> Flips:
    """Return the answer with its reason; pictures are turned upside down only where no head that was asked minds at all."""
    asked = deep or edges
    upside = not changed["vertical"] and edges.kept("vertical") and (deep is None or deep.kept("vertical"))
    if changed["horizontal"]:
        return Flips(False, upside, f"measured: mirrored pictures change their class ({changed['horizontal']})")
    loss = asked.accuracy - asked.mirrored("horizontal")
    words = f"measured: of {len(asked.truth)} held-out pictures a head on {on} knows {asked.accuracy:.0%}, mirrored "
    return Flips(True, upside, words + f"{asked.mirrored('horizontal'):.0%}" + ("" if loss > 0 else ", no fewer"))


class _Asked:
    """A head fitted on pictures as they are, and what it says of others as they are and flipped along each axis."""

    def __init__(self, features: Features, images: U8, labels: Labels, turns: list[Turn], classes: tuple[str, ...]) -> None:
        self.classes, self.ended = classes, False
        rows = np.concatenate([ask for _, ask in turns])
        truth = self.truth = labels[rows]
        try:
            plain = features(images)
            seen = {"": plain} | {axis: features(np.flip(images[rows], place).copy()) for axis, place in AXES.items()}
        except TimeoutError:
            self.ended = True
            return
        said: dict[str, list[Labels]] = {axis: [] for axis in seen}
        ends = np.cumsum([len(ask) for _, ask in turns])
        for (mine, ask), end in zip(turns, ends.tolist(), strict=True):
            head = _head(plain[mine], labels[mine])
            for axis, found in seen.items():
                said[axis].append(head(found[ask] if not axis else found[end - len(ask) : end]))
        self.said = {axis: np.concatenate(parts) for axis, parts in said.items()}
        several = truth.ndim == 2
        self.right = {axis: np.asarray(answers == truth) for axis, answers in self.said.items()}
        self.kinds = [np.flatnonzero(truth[:, k] > 0 if several else truth == k) for k in range(len(classes))]
        counts = np.array([len(rows) for rows in self.kinds])
        self.chance = 0.5 if several else float(counts.max() / max(len(truth), 1))

    @property
    def accuracy(self) -> float:
        """Return the share that is right of pictures as they are."""
        return float(self.right[""].mean())

    def mirrored(self, axis: str) -> float:
        """Return the share that is right of flipped pictures."""
        return float(self.right[axis].mean())

    @property
    def tells(self) -> bool:
        """Return whether the head surely knows more than the commonest class."""
        error = (self.chance * (1 - self.chance) / max(len(self.truth), 1)) ** 0.5
        return bool(self.accuracy > self.chance + max(3 * error, 0.1))

    def _change(self, axis: str, rows: I64, label: int | None = None) -> tuple[int, int, float]:
        """Return how many of the pictures at `rows` are right only before and only after a flip, and the share lost."""
        before, after = self.right[""][rows], self.right[axis][rows]
        if label is not None and before.ndim == 2:
            before, after = before[:, label], after[:, label]
        lost, won = int((before & ~after).sum()), int((~before & after).sum())
        return lost, won, (lost - won) / max(before.size, 1)

    def lost(self, axis: str) -> str:
        """Return the class that a flip surely changes, with figures; or "" where chance explains what is lost."""
        changes = [self._change(axis, rows, k) for k, rows in enumerate(self.kinds)]
        p = holm([float(mcnemar(lost, won)) for lost, won, _ in changes])
        sure = [k for k, change in enumerate(changes) if change[2] >= LOST and p[k] < 0.05]
        if sure:
            worst = max(sure, key=lambda k: changes[k][2])
            return f"'{self.classes[worst]}' loses {changes[worst][0]} of {len(self.kinds[worst])}"
        lost, won, share = self._change(axis, np.arange(len(self.truth)))
        return f"{lost} of {len(self.truth)} are lost" if share >= ALL_LOST and float(mcnemar(lost, won)) < SURE else ""

    def kept(self, axis: str) -> bool:
        """Return whether hardly anything can be lost: at most ALL_LOST of all pictures, with a one-sided 95 % interval."""
        lost, won, share = self._change(axis, np.arange(len(self.truth)))
        return not self.lost(axis) and bool(share + 1.645 * (lost + won) ** 0.5 / self.right[""].size <= ALL_LOST)

    def halved(self, axis: str) -> str:
        """Return words where the head knows of flipped pictures less than half of what it knows beyond chance."""
        lost, won, _ = self._change(axis, np.arange(len(self.truth)))
        known, left = self.accuracy - self.chance, self.mirrored(axis) - self.chance
        if not self.tells or left > known / 2 or float(mcnemar(lost, won)) >= SURE:
            return ""
        return f"a head on edges and colours knows {self.accuracy:.0%} of them, and {self.mirrored(axis):.0%} once flipped"

    def swapped(self, axis: str) -> str:
        """Return two classes that a flip exchanges, as most pictures of each become the other; or ""."""
        if self.truth.ndim == 2:
            return ""
        k = len(self.classes)
        cells = np.bincount(self.truth * k + self.said[axis], minlength=k * k).reshape(k, k)
        counts = np.maximum(cells.sum(axis=1), 1)
        most = cells / counts[:, None] > 0.5
        knows = np.array([len(rows) > 0 and self.right[""][rows].mean() > 0.5 for rows in self.kinds])
        for a, b in np.argwhere(most & most.T & knows & knows[:, None]).tolist():
            lost, won, _ = self._change(axis, np.concatenate([self.kinds[a], self.kinds[b]]))
            if a < b and float(mcnemar(lost, won)) < SURE:
                return f"'{self.classes[a]}' becomes '{self.classes[b]}' and the other way round"
        return ""


def _turns(labels: Labels, fitted: int) -> list[Turn]:
    """Return which rows a head is fitted on, and which it is asked about: the training ones, which come first, and the others.

    Where those are few, all are asked about in two turns, each time by a head that was fitted on the other half.
    """
    n = len(labels)
    if n - fitted >= FEW:
        return [(np.arange(fitted), np.arange(fitted, n))]
    order = np.lexsort((np.random.default_rng(0).permutation(n), numbered(labels)))
    halves = np.sort(order[::2]), np.sort(order[1::2])
    return [halves, halves[::-1]]


def _sample(targets: Labels, most: int) -> I64:
    """Return rows, as many of each class as there can be of `most` in all, and at least four: int64 (M,), rising."""
    kind = numbered(targets)
    order = np.random.default_rng(0).permutation(len(kind))
    order = order[np.argsort(kind[order], kind="stable")]
    starts = np.searchsorted(kind[order], np.arange(kind.max(initial=-1) + 1))
    rank = np.arange(len(order)) - np.repeat(starts, np.bincount(kind))
    each = max(4, most // max(len(starts), 1))
    return np.sort(order[rank < each]) if len(order) > most else np.arange(len(order))


def _head(x: F32, y: Labels) -> Callable[[F32], Labels]:
    """Return what says the classes of features: fitted on x float32 (N, F) and y int (N,), or multi-hot (N, K)."""
    goal = torch.from_numpy(y).float() if y.ndim == 2 else F.one_hot(torch.from_numpy(y).long()).float()
    several, positive = y.ndim == 2, goal.sum(0).clamp(min=1)
    weights = ((len(y) - positive) / positive).clamp(min=1e-2) if several else None
    decay = PENALTY / (len(y) * (goal.shape[1] if several else 1))
    weight, bias = fit(torch.from_numpy(x), goal, task=MULTI if several else SINGLE, decay=decay, weights=weights)

    def said(seen: F32) -> Labels:
        logits = (torch.from_numpy(seen) @ weight.T + bias).numpy()
        return np.asarray(logits > 0, y.dtype) if several else logits.argmax(axis=1)

    return said


def edges_and_colours(pictures: U8) -> F32:
    """Return how strong edges of 8 directions are in 6 × 6 cells, and the means of 4 × 4: uint8 (N, C, H, W) → (N, F).

    The directions are signed, so a step from dark to light is another than from light to dark (after Dalal & Triggs 2005).
    """
    images = torch.from_numpy(pictures).float()
    luma = F.interpolate(images.mean(1, keepdim=True), (SIDE, SIDE), mode="bilinear", antialias=True)[:, 0].numpy()
    down, right = np.gradient(luma, axis=(1, 2))
    strength, place = np.hypot(down, right), np.arctan2(down, right) % (2 * np.pi) / (2 * np.pi) * BINS
    low = np.floor(place).astype(np.int64)
    edges = np.zeros((len(luma), BINS, SIDE, SIDE), np.float32)
    for bins, weight in ((low % BINS, 1 - (place - low)), ((low + 1) % BINS, place - low)):
        part = np.zeros_like(edges)
        np.put_along_axis(part, bins[:, None], (strength * weight)[:, None], axis=1)
        edges += part
    cell = SIDE // GRID
    cells = edges.reshape(len(luma), BINS, GRID, cell, GRID, cell).sum(axis=(3, 5))
    cells /= np.sqrt(np.square(cells).sum(axis=1, keepdims=True).mean(axis=(2, 3), keepdims=True)) + 5
    means = F.adaptive_avg_pool2d(images / 255, 4).numpy()
    return np.concatenate([np.sqrt(cells).reshape(len(luma), -1), means.reshape(len(luma), -1)], axis=1).astype(np.float32)


def backbone(seconds: float, total: int) -> Features | None:
    """Return the features of the backbone that comes with the install, None where it does not.

    What it returns raises `TimeoutError` once `total` pictures are bound to take longer than `seconds` (0: never).
    """
    from beholder.nets import onboard
    from beholder.nets.build import create
    from beholder.nets.features import features

    try:
        recipe = NetRecipe(name=f"timm:{onboard.USUAL}")
        with events.only("error"):
            net = create(recipe, channels=3, size=(DEEP, DEEP), classes=2).net.eval()
    except MachineError:
        return None
    began, done = time.monotonic(), 0

    def seen(pictures: U8) -> F32:
        nonlocal done
        rows = []
        for at in range(0, len(pictures), 32):
            images = torch.from_numpy(pictures[at : at + 32]).float()
            images = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
            images = F.interpolate(images, (DEEP, DEEP), mode="bilinear", antialias=True) / 127.5 - 1
            with torch.inference_mode():
                rows.append(features(net, images).numpy())
            done += len(images)
            if seconds and (time.monotonic() - began) / done * total > seconds:
                raise TimeoutError
            events.progress("what a flip changes", done, total)
        return np.concatenate(rows)

    return seen
