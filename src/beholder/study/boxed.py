"""Evidence about boxes: what detectors find that learnt from other pictures, and which boxes show the same in two parts."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np

from beholder import image
from beholder.base import events, memo
from beholder.base.arrays import F64, I64, Bools
from beholder.base.boxes import Boxes
from beholder.base.errors import DataError, PictureError, UsageError
from beholder.base.files import sha256
from beholder.base.recipe import Recipe, load
from beholder.base.records import Parts, Pictures
from beholder.bundle.detector import Detector
from beholder.bundle.finder import Looked
from beholder.data.folds import folds
from beholder.duplicates.facts import Thumbnails, fingerprinted
from beholder.duplicates.near import LIKE, Twins, twins
from beholder.learn.detect import train
from beholder.machine.device import device
from beholder.machine.folders import cache_folder
from beholder.measure.detections import Detected, Found, nothing_found
from beholder.nets.choose import photos
from beholder.quality.checks import Alike, Evidence
from beholder.quality.checks.boxes import frames
from beholder.sources.crops import CropStore

FOLDS = 3
"""Detectors that are trained, each on two thirds of the pictures, of which a sixth chooses its weights."""

FEWEST = 30
"""Readable pictures without which no detector learns enough of them."""

MINUTES = 3.0
"""Minutes without which the detectors of all folds learn too little to judge anything."""

LEAST_SIDE, MOST_CROPS = 32, 20_000
"""Pixels of a box's shorter side below which it shows too little to be the same as another; boxes that are compared at most."""

VERSION = 1
"""Counts the versions of how detectors are trained here: raise it when the same pictures would get others."""


def boxed(evidence: Evidence, recipe: Recipe, *, needed: Collection[str], minutes: float, spent: float = 0.0) -> Evidence:
    """Return the evidence with what is `needed` of "found" and "crops", where the pictures have boxes and it can be had.

    minutes: of the whole audit (0: as long as it needs); spent: of these what other nets took
    """
    if evidence.boxes is None:
        return evidence
    if "crops" in needed:
        evidence = replace(evidence, crops=alike(evidence.pictures, evidence.boxes))
    if "found" in needed:
        evidence = replace(evidence, found=found_by_others(evidence, recipe, minutes, spent))
    return evidence


# --- detectors of other pictures ---


def found_by_others(evidence: Evidence, recipe: Recipe, minutes: float, spent: float = 0.0) -> Found | None:
    """Return what detectors find that learnt from the other folds, calibrated, in the pixels in which the boxes are drawn.

    None, with a note, where there are too few pictures or minutes. What they found is remembered in the cache folder.
    """
    rows = np.flatnonzero(evidence.readable)
    if len(rows) < FEWEST:
        return None
    path, left = _place(evidence.pictures, recipe, minutes), minutes and max(0.01, minutes - spent)
    if (before := _remembered(path, len(evidence.pictures))) is not None:
        events.note("what detectors of other pictures find: remembered")
        return before
    if 0 < left < MINUTES:
        enough = f"that takes {MINUTES:g} minutes at least (--minutes {2 * MINUTES:g})"
        events.note(f"boxes are not compared with what detectors find: {enough}")
        return None
    limit = f"about {left:.1f} min" if left else "as long as they need"
    events.note(f"{FOLDS} detectors learn from two thirds of the pictures each and look for boxes in the rest: {limit}")
    found = [nothing_found() for _ in range(len(evidence.pictures))]
    sizes, frame = _upright(evidence), frames(evidence, _boxes(evidence))
    fold = folds(evidence.pictures, count=3 * FOLDS, seed=recipe.seed, twins=evidence.twins)
    for k in range(FOLDS):
        events.progress("boxes of one fold looked for by a detector of the others", k, FOLDS)
        try:
            detector = _trained(evidence.pictures, rows, fold, k, recipe, left / FOLDS)
        except (DataError, UsageError) as error:
            events.note(f"boxes are not compared with what detectors find: {error.message}")
            return None
        for row in rows[fold[rows] % FOLDS == k].tolist():
            found[row] = _in(detector, evidence.pictures, row, sizes[row], frame[row])
    events.progress("boxes of one fold looked for by a detector of the others", FOLDS, FOLDS)
    made = Found.of(found)
    columns = {name: getattr(made, name).tolist() for name in ("corners", "classes", "scores", "starts")}
    memo.keep_record(path, columns, what="what detectors found")
    return made


def _trained(pictures: Pictures, rows: I64, fold: I64, k: int, recipe: Recipe, minutes: float) -> Detector:
    """Return a detector that has not learnt from the pictures whose fold is k modulo `FOLDS`. It runs as a detail: unheard."""
    base = load("quick")
    name = photos(device(), fetch=False)[0] if recipe.net.name == "auto" and recipe.net.weights == "auto" else recipe.net.name
    ours = replace(
        base,
        seed=recipe.seed,
        net=replace(recipe.net, name=name),
        data=replace(base.data, memory=recipe.data.memory, workers=recipe.data.workers),
        train=replace(base.train, minutes=minutes, precision=recipe.train.precision),
    )
    held, choosing = fold[rows] % FOLDS == k, fold[rows] == (k + 1) % FOLDS
    took = {"train": rows[~held & ~choosing], "valid": rows[choosing], "test": rows[held]}
    with events.only():
        return train(Parts(**{name: pictures.take(part) for name, part in took.items()}), recipe=ours, began=time.monotonic())


def _in(detector: Detector, pictures: Pictures, row: int, size: I64, frame: I64) -> Detected:
    """Return what a detector finds in one picture. size, frame: its (width, height), and those in which its boxes are drawn."""
    try:
        pixels = image.load(pictures.store.read(pictures.keys[row]), detector.policy)
    except PictureError:
        return nothing_found()
    looked = Looked(pixels, (int(size[0]), int(size[1])))
    own = detector.own(detector.found(looked.pixels[None])[0], looked.size)
    places = np.array([pictures.classes.index(name) for name in detector.classes], np.int64)
    scale = np.tile(frame / np.maximum(size, 1), 2)
    return Detected(own.corners * scale, places[own.classes], np.asarray(detector.calibrated(own.scores), np.float64))


def _boxes(evidence: Evidence) -> Boxes:
    assert evidence.boxes is not None
    return evidence.boxes


def _upright(evidence: Evidence) -> I64:
    return np.stack([evidence.facts["width"], evidence.facts["height"]], axis=1).astype(np.int64)


def _place(pictures: Pictures, recipe: Recipe, minutes: float) -> Path:
    boxes, digests = pictures.boxes, pictures.digests
    assert boxes is not None
    assert digests is not None
    told = f"{VERSION} {recipe.essence().toml()} {pictures.classes} {minutes}".encode()
    held = b"".join(column.tobytes() for column in (digests, boxes.corners, boxes.classes, boxes.crowd, boxes.starts))
    return cache_folder() / "findings" / f"boxes-{sha256(told + held)[:32]}.json"


def _remembered(path: Path, n: int) -> Found | None:
    held = memo.record(path)
    try:
        corners, scores = np.array(held["corners"], np.float64).reshape(-1, 4), np.array(held["scores"], np.float64)
        found = Found(corners, np.array(held["classes"], np.int64), scores, np.array(held["starts"], np.int64))
    except (KeyError, TypeError, ValueError):
        return None
    return found if len(found) == n else None


# --- the same object in two parts ---


def alike(pictures: Pictures, boxes: Boxes) -> Alike | None:
    """Return the pairs of boxes in different given parts that show the same; None where fewer than two parts are given."""
    of = boxes.pictures
    parts = pictures.parts[of]
    sides = (boxes.corners[:, 2:] - boxes.corners[:, :2]).min(axis=1)
    able: Bools = ~boxes.crowd & (parts >= 0) & (sides >= LEAST_SIDE)
    if len(np.unique(parts[able])) < 2:
        return None
    rows = np.flatnonzero(able)
    if len(rows) > MOST_CROPS:
        events.note(f"of {len(rows):,} boxes in given parts the first {MOST_CROPS:,} are compared")
        rows = rows[:MOST_CROPS]
    crops = _crops(pictures, boxes, rows)
    small = Thumbnails()
    crops, measured = fingerprinted(crops, small=small)
    first, second, scores = _pairs(twins(crops, measured, near=True, small=small).binding(crops.targets))
    apart = (parts[rows[first]] != parts[rows[second]]) & (measured["error"][first] == b"") & (measured["error"][second] == b"")
    return Alike(rows[first[apart]], rows[second[apart]], scores[apart])


def _crops(pictures: Pictures, boxes: Boxes, rows: I64) -> Pictures:
    """Return what the boxes at `rows` show, as pictures of their own."""
    of = boxes.pictures[rows]
    sizes = {pictures.keys[k]: (w, h) for k, (w, h) in enumerate(boxes.sizes.tolist()) if w and h}
    keys = []
    for k, corners in zip(of.tolist(), boxes.corners[rows].tolist(), strict=True):
        left, top, right, bottom = (round(v) for v in corners)
        keys.append(f"{pictures.keys[k]}#{left},{top},{right},{bottom}")
    store = CropStore(pictures.store, sizes)
    return Pictures(store, keys, boxes.classes[rows], pictures.classes, pictures.parts[of], np.full(len(rows), -1, np.int64))


def _pairs(same: Twins) -> tuple[I64, I64, F64]:
    """Return rows and scores of all pairs that are the same: exact copies, 1, and near ones; one of a kind stands for it."""
    names, first, which = np.unique(same.kinds, return_index=True, return_inverse=True)
    copies = np.flatnonzero(first[which] != np.arange(len(same.kinds)))
    place, here = same.placed(names)
    here &= same.scores >= LIKE
    a, b = first[place[here, 0]], first[place[here, 1]]
    rows = np.concatenate([first[which[copies]], a]), np.concatenate([copies, b])
    return rows[0], rows[1], np.concatenate([np.ones(len(copies)), same.scores[here]])
