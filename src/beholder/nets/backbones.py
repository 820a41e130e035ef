"""Pretrained backbones: quality as published, cost, licence of the weights, and which of them are on this machine."""

from __future__ import annotations

import csv
import dataclasses
import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from beholder.base.fields import NetRecipe
from beholder.nets import hub, onboard, pretrained
from beholder.nets.licences import allowed, permissive

SOURCES = {
    "": "",
    "timm": "huggingface/pytorch-image-models, commit aa4b5850, results/results-imagenet.csv",
    "facebookresearch/dinov2": "facebookresearch/dinov2, README.md, pretrained models",
}
"""Where the published figures of quality are from, by the words of the column `source`."""


MACHINES = {"cpu": ("i7", "i9", "zen4"), "gpu": ("rtx4090",)}
"""Kinds of machines, and the columns of those whose speeds are known."""

LONGEST = 2.0
"""How many times as long as the backbone on board the default may take for a picture."""

NEAR = 0.5
"""Points of published quality that are no difference: the faster is taken."""


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A row of backbones.csv.

    name: timm's, with the tag of the weights          parameters: of the net with its own head
    gmac: thousand millions of multiply–adds of a picture of `side` × `side` pixels, the size of pretraining
    quality: percent of ImageNet's validation pictures, None where no such figure is published; figure: top-1 | linear (of a
    linear head on frozen features); source: of `SOURCES`
    head: linear, where the last layer is one linear layer, to which a head on frozen features can be fitted; other
    licence: of the weights, SPDX where there is one
    i7, i9, rtx4090: pictures/s that timm publishes (None: not): one at a time in fp32 on a Core i7-12700H and a Core i9-10940X,
    batches under AMP on an RTX 4090; zen4: per second of processor time, by bench/backbones.py (docs/LOG.md). Only ratios in a
    column say anything.
    """

    name: str
    parameters: int
    gmac: float
    side: int
    quality: float | None
    figure: str
    source: str
    head: str
    licence: str
    i7: float | None
    i9: float | None
    rtx4090: float | None
    zen4: float | None

    @property
    def megabytes(self) -> float:
        """Return the size of its weights in float32, in millions of bytes."""
        return 4 * self.parameters / 1e6


@cache
def backbones() -> tuple[Backbone, ...]:
    """Return the table, in the order of backbones.csv: those that come with the install first."""
    text = (files("beholder.nets") / "backbones.csv").read_text("utf-8")
    return tuple(_row(row) for row in csv.DictReader(text.splitlines()))


def _row(row: dict[str, str]) -> Backbone:
    words = {name: row[name] for name in ("name", "figure", "source", "head", "licence")}
    rates = {name: float(row[name]) if row[name] else None for name in ("quality", "i7", "i9", "rtx4090", "zen4")}
    counts = {"parameters": int(row["parameters"]), "gmac": float(row["gmac"]), "side": int(row["side"])}
    values: dict[str, Any] = {**words, **rates, **counts}
    return Backbone(**values)


def _usual() -> Backbone:
    return next(row for row in backbones() if onboard.named(row.name) == onboard.USUAL)


def cost(row: Backbone, kind: str) -> float | None:
    """Return the time of a picture relative to the backbone on board: the largest ratio of the machines that have run it.

    kind: of `MACHINES`; None where none of them has
    """
    unit = _usual()
    return max((getattr(unit, name) / rate for name in MACHINES[kind] if (rate := getattr(row, name))), default=None)


def default(kind: str) -> Backbone:
    """Return the backbone that photos start from on a kind of machine, cpu or gpu, where its weights can be had.

    Of those with a permissive licence, a linear head and a published figure that take at most `LONGEST` times as long as the
    one on board on every machine that has run them, it is the fastest within `NEAR` points of the best figure.
    """
    fit = [(row, each) for row in backbones() if row.head == "linear" and permissive(row.licence) and (each := cost(row, kind))]
    fast = [(row, each) for row, each in fit if row.quality and each <= LONGEST]
    best = max(row.quality or 0.0 for row, _ in fast)
    return min(((each, row.name, row) for row, each in fast if (row.quality or 0.0) >= best - NEAR))[2]


def best_first() -> list[Backbone]:
    """Return the table by published quality, the best first; those without a figure last."""
    return sorted(backbones(), key=lambda row: -(row.quality or 0.0))


def products(net: NetRecipe) -> float:
    """Return the multiply–adds of a picture, in thousand millions, of a net of the table; infinity for others."""
    name = net.name.removeprefix("timm:")
    return next((row.gmac for row in backbones() if name in (row.name, _short(row.name))), math.inf)


def at_hand(net: NetRecipe) -> tuple[NetRecipe, ...]:
    """Return the pretrained backbones on this machine that a recipe allows, best first; touches no network, reads no weights.

    First what `net.weights` names; then, by the quality that is published, those that come with the install, and those of the
    table in the cache of the hub. A net that is named is the only one; of weights=none there is none. With
    net.licence=permissive those of another licence are left out. Each is the recipe with `name` and `weights` filled in.
    Raises `UsageError` for weights that are not there or do not say of which net they are.
    """
    if net.weights == "none":
        return ()
    named = net.name.removeprefix("timm:") if net.name.startswith("timm:") else ""
    if net.weights != "auto":
        return _given(net, named) + (() if net.name != "auto" else at_hand(dataclasses.replace(net, weights="auto")))
    if net.name != "auto":
        found = [named] if named and _here(named) else []
    else:
        found = [_short(row.name) for row in best_first() if allowed(row.licence, net.licence) and _here(row.name)]
    return tuple(dataclasses.replace(net, name=f"timm:{name}") for name in found)


def licences_at_hand() -> dict[str, str]:
    """Return the pretrained backbones on this machine, best first, each with the licence of its weights, "" if not stated."""
    found = at_hand(NetRecipe(licence="any"))
    return {net.name: pretrained.source(net.name.removeprefix("timm:"), "auto").licence for net in found}


def _given(net: NetRecipe, named: str) -> tuple[NetRecipe, ...]:
    """Return the recipe with the net that the weights at a path are of; nothing where these are of no net of timm."""
    if named or net.name != "auto":
        return (net,) if named else ()
    return (dataclasses.replace(net, name=f"timm:{pretrained.architecture(net.weights)}"),)


def _short(name: str) -> str:
    """Return the name without its tag where that is of the weights on board, as these are named everywhere."""
    return onboard.named(name) or name


def _here(name: str) -> bool:
    """Return whether the weights of a net of timm are on this machine."""
    if ours := onboard.named(name):
        return onboard.installed(ours)
    return not hub.empty() and hub.cached(pretrained.published(name)) is not None
