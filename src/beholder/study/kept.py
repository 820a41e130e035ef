"""Accuracy against the share of the training pictures that is kept: one way of choosing them beside chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from beholder.base import events
from beholder.base.arrays import F64, I64
from beholder.base.deadline import Deadline
from beholder.base.recipe import Recipe
from beholder.base.records import Pictures, Score
from beholder.data.select import SCORED, Ground, select, strata_of
from beholder.data.survey import survey
from beholder.duplicates.near import Twins
from beholder.learn.material import targets_of
from beholder.measure.jackknife import covariance, left_out
from beholder.study.difficulty import Looks, duplicates_of, featured, hardness
from beholder.study.evidence import at_hand
from beholder.study.growth import Fits
from beholder.study.judge import Judge
from beholder.study.setting import Setting
from beholder.tasks.objectives import name_of

SHARES = (0.1, 0.3, 0.5, 0.7)
"""Shares of the pictures to learn from that are kept; and all of them."""

DRAWS = 3
"""Selections of each share and way, each with a seed of its own."""

Drawn = dict[tuple[str, float], list[F64]]
"""(way, share) → the judge's replicates (R,) of each draw."""


@dataclass(frozen=True)
class Point:
    """One share: so many pictures, the score by the way of choosing, that by chance, and by how much the first is above."""

    share: float
    pictures: int
    score: Score
    random: Score
    gain: Score
    draws: int


@dataclass(frozen=True, eq=False)
class Kept:
    """A curve: the name of the score, what was fitted, on what it was scored, a point per share, and the score of all."""

    measure: str
    by: str
    way: str
    scored: str
    points: tuple[Point, ...]
    whole: Score
    pictures: int
    notes: tuple[str, ...]

    def rows(self) -> list[dict[str, Any]]:
        """Return a row per share, as a table."""
        found = [
            {
                "kept": f"{100 * p.share:.0f} %",
                "pictures": p.pictures,
                f"{self.measure}, {self.by}": p.score.short(),
                "random": p.random.short(),
                "gain": f"{p.gain.value:+.3f} [{p.gain.low:+.3f}, {p.gain.high:+.3f}]",
            }
            for p in self.points
        ]
        last = {"kept": "100 %", "pictures": self.pictures, f"{self.measure}, {self.by}": self.whole.short()}
        return [*found, {**last, "random": self.whole.short(), "gain": ""}]

    def json(self) -> dict[str, Any]:
        """Return the curve as plain JSON values; a score is {"value", "low", "high", "n"}."""
        return {
            "measure": self.measure,
            "way": self.way,
            "scored": self.scored,
            "points": [
                {
                    "share": p.share,
                    "pictures": p.pictures,
                    **{name: getattr(p, name).json() for name in ("score", "random", "gain")},
                    "draws": p.draws,
                }
                for p in self.points
            ],
            "whole": {"pictures": self.pictures, "score": self.whole.json()},
            "notes": list(self.notes),
        }

    def sentences(self) -> list[str]:
        """Return what the curve says, in sentences."""
        said = [f"All {self.pictures:,} pictures give {self.measure} {self.whole.short()}: {self.way}; {self.scored}."]
        better = [p for p in self.points if p.gain.low > 0]
        worse = [p for p in self.points if p.gain.high < 0]
        for name, some in (("better", better), ("worse", worse)):
            if some:
                said.append(f"{self.by} is {name} than chance at {_shares(some)}.")
        if not better and not worse and self.by != "random" and self.points:
            said.append(f"No share shows a difference between {self.by} and chance.")
        return [*said, *self.notes]

    def save(self, path: Path) -> Path:
        """Write the curve as one HTML page with its plot; return its path. Raises `MachineError` where it cannot be written."""
        from beholder.reporting.kept import kept_page

        return kept_page(path, self.json(), by=self.by, said=self.sentences())


def _shares(points: list[Point]) -> str:
    return ", ".join(f"{100 * p.share:.0f} % ({p.gain.value:+.3f} [{p.gain.low:+.3f}, {p.gain.high:+.3f}])" for p in points)


def kept(
    at: Setting,
    by: str,
    looks: Looks | None,
    trained: Pictures,
    twins: Twins | None,
    recipe: Recipe,
    until: Deadline,
    *,
    balanced: bool,
) -> Kept:
    """Return the curve of what is chosen `by` scores or features inside each round of `at`; the scored pictures are not seen.

    looks: what is known of the pictures `trained`; where there is one round it holds these, and they are not looked at again
    twins: duplicates among the pictures of `at`
    """
    grounds, scored = at.grounds, at.grounds.scored
    weights = left_out(grounds.units[scored], at.pictures.targets[scored], seed=recipe.seed)
    judge = Judge(at.task, targets_of(at.pictures).numpy()[scored], weights)
    units = duplicates_of(at.pictures, twins)
    choose = {"random": [_ground(at, units, turn, None) for turn in range(len(grounds.rounds))]}
    if looks is not None:
        choose[by] = _looked_at(at, units, by, looks, trained, twins, recipe)
    events.note(f"accuracy against the share kept: {name_of(at.task) or 'objective'} of {at.way}, {at.scored}")
    least = max(len(np.unique(ground.strata)) for ground in choose["random"])
    shares = [share for share in SHARES if round(share * grounds.largest) >= least]
    drawn = _draws(Fits(at.learn, grounds, until), judge, choose, shares, recipe.seed, balanced)
    done = [share for share in shares if ("random", share) in drawn and (by, share) in drawn]
    points = tuple(_point(drawn, by, share, round(share * grounds.largest), len(scored)) for share in done)
    notes = [at.note] * bool(at.note)
    if len(done) < len(shares):
        notes.append(f"There was no time for {len(shares) - len(done)} of {len(shares)} shares: give more --minutes.")
    if len(shares) < len(SHARES):
        notes.append(f"Shares of fewer than {least:,} pictures, one of each class, are left out.")
    if any(p.draws < 2 for p in points):
        notes.append("Of some shares there was time for one draw: their intervals leave out how draws differ.")
    whole = _score([drawn["random", 1.0][0]], len(scored))
    return Kept(name_of(at.task) or "objective", by, at.way, at.scored, points, whole, grounds.largest, tuple(notes))


def _ground(at: Setting, units: I64, turn: int, looks: Looks | None) -> Ground:
    """Return what is chosen from in a round, with what is known of these pictures."""
    rows = at.grounds.rounds[turn][0]
    strata = strata_of(at.pictures.targets[rows])
    if looks is None:
        return Ground(strata, units[rows])
    return Ground(strata, units[rows], looks.scores, looks.directions)


def _looked_at(
    at: Setting, units: I64, by: str, looks: Looks, trained: Pictures, twins: Twins | None, recipe: Recipe
) -> list[Ground]:
    """Return for each round its pictures with scores or features, by what is known of them or by a new look."""
    rounds = at.grounds.rounds
    if len(rounds) == 1:
        place = {key: row for row, key in enumerate(trained.take(looks.rows).keys)}
        mine = np.array([place.get(at.pictures.keys[row], -1) for row in rounds[0][0].tolist()], np.int64)
        if (mine >= 0).all():
            scores = None if looks.scores is None else looks.scores[mine]
            return [_ground(at, units, 0, Looks(np.arange(len(mine)), looks.features[mine], scores, looks.way))]
    seen = survey(trained)
    backbone = at_hand(recipe.net, seen, small=True)
    assert backbone is not None  # the heads that are fitted here are on its features
    features, found = featured(at.pictures, backbone, recipe, seen, Deadline()), []
    for turn, (rows, _) in enumerate(rounds):
        theirs = None if twins is None else twins.among(rows)
        scores = hardness(features[rows], at.pictures.take(rows), theirs, recipe.seed) if by in SCORED else None
        found.append(_ground(at, units, turn, Looks(rows, features[rows], scores, "")))
    return found


def _draws(
    fits: Fits, judge: Judge, choose: Mapping[str, list[Ground]], shares: list[float], seed: int, balanced: bool
) -> Drawn:
    """Return the replicates of each way, share and draw: all pictures first, then one draw of each share after another."""
    found: Drawn = {("random", 1.0): [judge(fits(lambda turn: fits.grounds.rounds[turn][0]))]}
    for draw, share in ((draw, share) for draw in range(DRAWS) for share in shares):
        for way in choose:
            if not fits.fits(round(share * fits.grounds.largest)):
                return found
            subset = partial(_subset, fits.grounds.rounds, choose[way], way, share, seed + draw, balanced)
            found.setdefault((way, share), []).append(judge(fits(subset)))
    return found


def _subset(rounds: Any, grounds: list[Ground], way: str, share: float, seed: int, balanced: bool, turn: int) -> I64:
    rows = rounds[turn][0]
    found: I64 = rows[select(way, grounds[turn], round(share * len(rows)), seed=seed, balanced=balanced)]
    return found


def _point(drawn: Drawn, by: str, share: float, pictures: int, n: int) -> Point:
    ours, chance = drawn[by, share], drawn["random", share]
    pairs = [one - other for one, other in zip(ours, chance, strict=False)]
    return Point(share, pictures, _score(ours, n), _score(chance, n), _score(pairs, n, most=math.inf), len(pairs))


def _score(draws: list[F64], n: int, *, most: float = 1.0) -> Score:
    """Return the mean over draws with its interval: by the scored pictures (a jackknife), and by how draws differ."""
    mean: Callable[..., Any] = np.mean
    values = np.asarray(mean(draws, axis=0), np.float64)
    among = float(np.var([draw[0] for draw in draws], ddof=1)) / len(draws) if len(draws) > 1 else 0.0
    half = 1.96 * math.sqrt(float(covariance(values[:, None])[0, 0]) + among)
    return Score(float(values[0]), float(values[0] - half), min(most, float(values[0] + half)), n)
