"""Grey pictures among coloured ones, and pictures stored in another colour mode than the rest."""

from __future__ import annotations

import numpy as np

from beholder.quality.checks import Check, Evidence, Marks

TINT = 12 / 255
"""Colour that scanners and JPEG put into a grey picture; `beholder.data.survey` uses the same."""

MOSTLY = 0.8
"""Share of the pictures that have to agree before the others are odd."""


def grey(evidence: Evidence) -> Marks:
    """Score 1 for a grey picture where most are coloured, scaled by how sure the others are."""
    readable = evidence.readable
    coloured = evidence.facts["tint"][:, 1] > TINT
    share = float(coloured[readable].mean()) if readable.any() else 0.0
    odd = ~coloured if share >= MOSTLY else np.zeros(len(coloured), bool)
    return Marks(np.where(readable, odd * share, np.nan))


def mode(evidence: Evidence) -> Marks:
    """Score the share of the pictures that are stored in another way (grey, colour, with transparency)."""
    readable, channels = evidence.readable, evidence.facts["channels"]
    counts = np.bincount(channels[readable], minlength=5) if readable.any() else np.ones(5, np.int64)
    share = counts / max(1, counts.sum())
    scores = np.where(share[channels] < 1 - MOSTLY, 1 - share[channels], 0.0)
    names = {1: "grey", 3: "colour", 4: "with transparency"}
    usual = names.get(int(counts.argmax()), "another mode")
    rows = np.flatnonzero(readable & (scores > 0)).tolist()
    words = {row: f"stored as {names.get(int(channels[row]), '?')}, the others as {usual}" for row in rows}
    return Marks(np.where(readable, scores, np.nan), words=words)


GREY = Check(
    grey,
    limit=MOSTLY,
    sentence="it is grey, and the others are coloured",
    hint="check whether it belongs here; a model may learn the lack of colour",
    group="colour",
)
COLOUR_MODE = Check(
    mode,
    limit=MOSTLY,
    sentence="it is stored in another colour mode than the others",
    hint="harmless in itself; where the mode goes with a class, a model may learn it",
    group="colour",
)
