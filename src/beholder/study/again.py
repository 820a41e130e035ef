"""Resuming a run: its parts, and a trained bundle that still lacks its test."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from beholder.base import events
from beholder.base.recipe import Recipe
from beholder.base.records import PARTS, Parts
from beholder.bundle.bundle import Bundle, load
from beholder.bundle.format import finished
from beholder.data.lost import without_classes
from beholder.learn.account import as_decided, decided
from beholder.learn.checkpoint import RunFolder
from beholder.learn.finish import splits_of
from beholder.learn.resumed import comparable
from beholder.quality.audit import applied
from beholder.sources.digest import digested
from beholder.study.policy import Curated
from beholder.study.replayed import replayed, rows_of


def gone_on(curated: Curated, recipe: Recipe, out: Path, *, climbs: bool) -> tuple[Curated, Bundle | None]:
    """Return the parts as the interrupted run of `out` had them, and its bundle where only the test may be missing.

    climbs: whether, under a budget, its first rungs (`study.ladder`) choose what the recipe leaves open
    Under a budget there may have been no time to look at every picture; now that more are known, others look alike, a split
    would tie others together, and others would be left out. The run goes on with the parts that it had.
    """
    if finished(out):
        bundle = load(out, trust=True)
        parts = regrouped(curated, bundle.splits) if recipe.train.minutes else curated.parts
        ours = dict(splits_of(parts))
        theirs = {digest: part for digest, part in bundle.splits if digest in ours or not recipe.data.unlabelled}
        if _same(bundle, recipe, climbs=climbs) and theirs == ours:
            events.note(
                f"{out} is trained already; " + ("it is tested again" if bundle.scores else "what it lacks is the test")
            )
            RunFolder.beside(out).discard()
            return dataclasses.replace(curated, parts=parts), bundle
        return curated, None
    before = RunFolder.beside(out).kept("parts")
    return (curated if before is None else replayed(curated, before)), None


def _same(bundle: Bundle, recipe: Recipe, *, climbs: bool) -> bool:
    """Return whether the bundle was made by this recipe, with what was chosen where the recipe leaves it open."""
    made = bundle.recipe
    if climbs and recipe.train.minutes and made.train.minutes:
        recipe = as_decided(recipe, decided(made, ()))
    name = made.net.name if recipe.net.name == "auto" else recipe.net.name
    net = dataclasses.replace(recipe.net, name=name, width=recipe.net.width or made.net.width)
    return comparable(made) == comparable(dataclasses.replace(recipe, net=net))


def regrouped(curated: Curated, splits: Sequence[tuple[str, str]]) -> Parts:
    """Return the parts with each picture in the part, and at the place, where `splits`, (SHA-256, part), have it.

    Others are left out. A picture that is left out of the parts now, but was not then, is taken from the source again.
    """
    if curated.findings is None:
        return curated.parts
    relabelled = {key: what for key, what in curated.done.items() if what.startswith("relabel:")}
    labelled = applied(digested(curated.findings.pictures), relabelled)
    gone = np.array([name not in curated.parts.train.classes for name in labelled.classes], bool)
    carried = labelled.targets[:, gone].any(axis=1) if labelled.multi else gone[labelled.targets]
    labelled = without_classes(labelled.take(np.flatnonzero(~carried)), gone)
    digests = np.frombuffer(bytes.fromhex("".join(digest for digest, _ in splits)), np.uint8).reshape(-1, 32)
    rows, part = rows_of(labelled, digests), np.array([PARTS.index(name) for _, name in splits], np.int8)
    return Parts(*(labelled.take(rows[(rows >= 0) & (part == k)]) for k in range(len(PARTS))))
