"""Resuming a run: its parts, and a trained bundle that still lacks its test."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from beholder.base import events
from beholder.base.recipe import Recipe
from beholder.base.records import PARTS, Parts
from beholder.bundle.bundle import Bundle, load
from beholder.bundle.format import finished
from beholder.learn.checkpoint import RunFolder
from beholder.learn.finish import splits_of
from beholder.learn.resumed import comparable
from beholder.sources.digest import digested
from beholder.study.policy import Curated


def gone_on(curated: Curated, recipe: Recipe, out: Path) -> tuple[Curated, Bundle | None]:
    """Return the parts as the interrupted run of `out` had them, and its bundle where only the test may be missing.

    Under a budget there may have been no time to look at every picture; now that more are known, others look alike, and a split
    would tie others together. The run goes on with the parts that it had.
    """
    if finished(out):
        bundle = load(out, trust=True)
        known = [(bytes.fromhex(digest), part) for digest, part in bundle.splits]
        parts = regrouped(curated.parts, known) if recipe.train.minutes else curated.parts
        ours = dict(splits_of(parts))
        theirs = {digest: part for digest, part in bundle.splits if digest in ours or not recipe.data.unlabelled}
        if _same(bundle, recipe) and theirs == ours:
            events.note(
                f"{out} is trained already; " + ("it is tested again" if bundle.scores else "what it lacks is the test")
            )
            RunFolder.beside(out).discard()
            return dataclasses.replace(curated, parts=parts), bundle
        return curated, None
    sample = RunFolder.beside(out).kept("sample")
    if sample is None:
        return curated, None
    known = [(row.tobytes(), part) for part, digests in sample.items() for row in digests]
    return dataclasses.replace(curated, parts=regrouped(curated.parts, known, rest="test")), None


def _same(bundle: Bundle, recipe: Recipe) -> bool:
    """Return whether the bundle was made by this recipe, its net chosen where the recipe leaves it open."""
    net = bundle.recipe.net if recipe.net.name == "auto" else dataclasses.replace(recipe.net, width=bundle.recipe.net.width)
    return comparable(bundle.recipe) == comparable(dataclasses.replace(recipe, net=net))


def regrouped(parts: Parts, known: Sequence[tuple[bytes, str]], *, rest: str = "") -> Parts:
    """Return the parts with each picture in the part, and at the place, where its digest is `known`.

    known: (SHA-256, part) in the order of the pictures; others are left out, but for those that are in the part `rest` already
    """
    held = [digested(pictures) for _, pictures in parts.items()]
    digests = np.concatenate([pictures.digests for pictures in held if pictures.digests is not None])
    whole = dataclasses.replace(
        held[0],
        keys=[key for pictures in held for key in pictures.keys],
        targets=np.concatenate([pictures.targets for pictures in held]),
        parts=np.concatenate([pictures.parts for pictures in held]),
        groups=np.concatenate([pictures.groups for pictures in held]),
        digests=digests,
    )
    places: dict[bytes, deque[tuple[int, str]]] = {}
    for place, (digest, part) in enumerate(known):
        places.setdefault(digest, deque()).append((place, part))
    now = [name for name, pictures in parts.items() for _ in range(len(pictures))]
    found: dict[str, list[tuple[int, int]]] = {part: [] for part in PARTS}
    for row, (digest, name) in enumerate(zip(digests, now, strict=True)):
        if left := places.get(digest.tobytes()):
            place, part = left.popleft()
            found[part].append((place, row))
        elif name == rest:
            found[rest].append((len(known) + row, row))
    return Parts(*(whole.take(np.array([row for _, row in sorted(rows)], np.int64)) for rows in found.values()))
