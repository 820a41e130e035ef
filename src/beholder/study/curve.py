"""The verb `curve`: how the score grows with the pictures that are learnt from, what more would give, and of which class."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from beholder.base import events
from beholder.base.brief import within
from beholder.base.deadline import Deadline
from beholder.base.errors import DataError, UsageError
from beholder.base.limits import allow_as
from beholder.base.recipe import Recipe
from beholder.base.records import Pictures, Score
from beholder.base.used import changed
from beholder.learn.material import targets_of
from beholder.machine.pace import calm
from beholder.machine.stop import stopping
from beholder.measure.jackknife import left_out
from beholder.study.gains import NOTHING, Ahead, ClassGain, Point, ahead, band, by_class, gain_of, measured, more_of
from beholder.study.growth import Fits, grown, halved
from beholder.study.judge import Judge
from beholder.study.setting import Setting, setting
from beholder.study.steps import check_net, preprocess
from beholder.tasks.objectives import name_of

MINUTES = 5.0
"""What a curve may take, where nobody says otherwise."""

CURVE = 0.5
"""Share of the time left when there are features that the curve may take beyond its first subsets; classes get the rest."""


@dataclass(frozen=True, eq=False)
class Curve:
    """A learning curve: what was measured, what more pictures are expected to give, and of which class.

    measure: the name of the score; way: what was fitted; scored: on what it was scored
    points, ahead, classes: measured, expected of more pictures of all classes, and of `more` pictures of one
    evenly: the gain expected of `more` pictures in the shares that the classes have
    band: (pictures, value, low, high) along the fitted law
    """

    measure: str
    way: str
    scored: str
    points: tuple[Point, ...]
    ahead: tuple[Ahead, ...]
    classes: tuple[ClassGain, ...]
    more: int
    evenly: Score
    band: tuple[tuple[float, float, float, float], ...]
    notes: tuple[str, ...]
    seconds: float

    def __repr__(self) -> str:
        return within("Curve", [f"{self.measure} {self.points[-1].score.short()}", f"{self.points[-1].pictures:,} pictures"])

    def rows(self) -> list[dict[str, Any]]:
        """Return a row per size: pictures, the score with its interval, the gain over now; those beyond now are expected."""
        now = [_row("measured", point.pictures, self.measure, point.score) for point in self.points]
        return now + [_row("expected", one.pictures, self.measure, one.score, one.gain) for one in self.ahead]

    def class_rows(self) -> list[dict[str, Any]]:
        """Return a row per class: its pictures, what half of them is worth, and what more are expected to gain."""
        return [
            {
                "class": row.name,
                "pictures": row.pictures,
                "drop without half": row.drop.short(),
                "own drop": row.own.short(),
                f"gain of {self.more} more": row.gain.short(),
                "verdict": row.verdict,
            }
            for row in self.classes
        ]

    def csv_rows(self) -> list[dict[str, Any]]:
        """Return the rows of both tables with the same columns: kind is measured | expected | class."""
        sizes = [{"kind": row["kind"], "class": "", **row, "verdict": ""} for row in self.rows()]
        blank = dict.fromkeys(sizes[0], "")
        more = [
            {**blank, "kind": "class", "class": row.name, "pictures": row.pictures, **_gain(row.gain), "verdict": row.verdict}
            for row in self.classes
        ]
        return sizes + more

    def json(self) -> dict[str, Any]:
        """Return the curve as plain JSON values; a score is {"value", "low", "high", "n"}."""
        return {
            "measure": self.measure,
            "way": self.way,
            "scored": self.scored,
            "points": [{"pictures": p.pictures, "subsets": p.subsets, "score": p.score.json()} for p in self.points],
            "expected": [
                {"times": a.times, "pictures": a.pictures, "score": a.score.json(), "gain": a.gain.json()} for a in self.ahead
            ],
            "more": self.more,
            "evenly": self.evenly.json(),
            "classes": [
                {
                    "class": row.name,
                    "pictures": row.pictures,
                    **{name: getattr(row, name).json() for name in ("drop", "own", "gain")},
                    "verdict": row.verdict,
                }
                for row in self.classes
            ],
            "notes": list(self.notes),
            "seconds": round(self.seconds, 2),
        }

    def sentences(self) -> list[str]:
        """Return what the curve says, in sentences."""
        last = self.points[-1]
        said = [
            f"{self.measure} {last.score.short()} with {last.pictures:,} pictures to learn from: {self.way}; {self.scored}."
        ]
        for one in self.ahead:
            how = {2: "Twice", 4: "Four times"}.get(one.times, f"{one.times} times")
            none = ", perhaps nothing" if one.gain.low <= 0 else ""
            gain = f"along the fitted law a gain of {_signed(one.gain)}{none}"
            said.append(f"{how} as many ({one.pictures:,}) are expected to give {one.score.short()}, {gain}.")
        return [*said, *_of_classes(self)]

    def __str__(self) -> str:
        return "\n".join([*self.sentences(), *self.notes])

    def save(self, path: str | Path) -> Path:
        """Write the curve as one HTML page with its plot; return its path. Raises `MachineError` where it cannot be written."""
        from beholder.reporting.growth import growth

        return growth(Path(path), self.json(), said=self.sentences(), band=self.band)


def _row(kind: str, pictures: int, measure: str, score: Score, gain: Score | None = None) -> dict[str, Any]:
    ends = {measure: round(score.value, 4), "low": round(score.low, 4), "high": round(score.high, 4)}
    return {"kind": kind, "pictures": pictures, **ends, **_gain(gain)}


def _gain(gain: Score | None) -> dict[str, float | None]:
    names = {"gain": "value", "gain low": "low", "gain high": "high"}
    return {name: None if gain is None else round(getattr(gain, end), 4) for name, end in names.items()}


def _signed(gain: Score) -> str:
    return f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"


SHOWN = 5
"""Classes that a sentence names."""


def _of_classes(curve: Curve) -> list[str]:
    """Return of which class more pictures would gain, of which nothing, and of which that cannot be told."""
    if not curve.classes:
        return []
    of = {verdict: [row for row in curve.classes if row.verdict == verdict] for verdict in ("gains", "nothing", "unclear")}
    m, said = curve.more, []
    if of["gains"]:
        best, *rest = of["gains"]
        most = ", the most of all classes" if not rest or best.gain.low > rest[0].gain.value else ""
        others = "".join(f"; of {row.name} {_signed(row.gain)}" for row in rest[: SHOWN - 1])
        said.append(f"{m} more pictures of {best.name} would gain {_signed(best.gain)}{most}{others}.")
        said.append(f"As many of all classes, in the shares that they have, would gain {_signed(curve.evenly)}.")
    if of["nothing"]:
        said.append(f"{m} more pictures of {_names(of['nothing'])} would gain less than {NOTHING}.")
    if of["unclear"]:
        n = of["unclear"][0].gain.n
        said.append(f"What {m} more pictures of {_names(of['unclear'])} would gain cannot be told from {n:,} scored pictures.")
    return said


def _names(rows: Sequence[ClassGain]) -> str:
    names = [row.name for row in rows[:SHOWN]]
    beyond = f" and {len(rows) - SHOWN} others" if len(rows) > SHOWN else ""
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 and not beyond else [", ".join(names)]) + beyond


def curve(
    source: str | Path | tuple[Any, Any] | Pictures,
    *,
    recipe: Recipe | str = "quick",
    train: bool = False,
    minutes: float = MINUTES,
    began: float | None = None,
    allow_download: bool = False,
    **fields: Any,
) -> Curve:
    """Return how the score grows with the pictures that are learnt from, what more would give, and of which class.

    source: what `scan` takes, or Pictures; it is split as `train` splits it, and the test part is not read
    recipe, fields: as `steps` takes them: seed=1, objective="macro_f1", net="timm:…", task="ordinal", …
    train: train a net for each subset, as the recipe says; else a linear head is fitted on frozen features
    minutes: what all of it may take (0: as long as it needs); what there is no time for is said
    began: `time.monotonic()` from which they count; default now; allow_download: fetch a source that is not on this machine

    Raises what `scan` and `split` raise, `UsageError` (no-features) where no pretrained net is on this machine, and `DataError`
    (too-few-pictures).
    """
    began = time.monotonic() if began is None else began
    if minutes < 0:
        raise UsageError(f"curve cannot take {minutes:g} minutes", code="bad-minutes", hint="0 is as long as it needs")
    asked = check_net(changed(recipe, fields, verb="curve --train" if train else "curve"))
    allow_as(asked.data)
    until = Deadline.of(began, minutes)
    with stopping(), calm():
        found = preprocess(source, asked, allow_download=allow_download, until=until)
        return replace(_drawn(setting(found, asked, train=train, until=until), asked, until), seconds=time.monotonic() - began)


def _drawn(at: Setting, recipe: Recipe, until: Deadline) -> Curve:
    """Return the curve of fits at growing sizes, as many as there is time for. Raises `DataError` (too-few-pictures)."""
    grounds, scored, names = at.grounds, at.grounds.scored, at.pictures.classes
    weights = left_out(grounds.units[scored], at.pictures.targets[scored], seed=recipe.seed)
    judge, fits = Judge(at.task, targets_of(at.pictures).numpy()[scored], weights), Fits(at.learn, grounds, until)
    sizes, measure = grounds.sizes(len(names)), name_of(at.task) or "objective"
    events.note(f"learning curve: {measure} of {at.way}, {at.scored}")
    found = grown(fits, judge, sizes, until=until if until.none else until.within(CURVE * until.left))
    points = (grew := measured(found, largest=grounds.largest, n=len(scored))).points()
    if len(points) < 2:
        what = f"{grounds.largest:,} pictures to learn from, in the time there is, are too few for a learning curve"
        raise DataError(what, code="too-few-pictures", hint="give dozens of each class, or more --minutes")
    law, size = grew.law(seed=recipe.seed), points[-1].pictures
    more = more_of(size / len(names))
    halves = halved(fits, judge, size, len(names)) if size == sizes[-1] else {}
    gains = by_class(halves, law, names, more=more, n=len(scored), seed=recipe.seed)
    evenly, along = gain_of(law, more, len(scored)), band(law, points[0].pictures)
    notes = [at.note] * bool(at.note) + _left_out(sizes, points, len(names), len(gains))
    notes += ["The test part was not read."]
    beyond = ahead(law, points[-1].score)
    return Curve(measure, at.way, at.scored, points, beyond, gains, more, evenly, along, tuple(notes), 0.0)


LEAST = 3
"""Sizes of which the bend of a curve can be seen."""


def _left_out(sizes: Sequence[int], points: Sequence[Point], classes: int, told: int) -> list[str]:
    """Return what there was no time for, or too few pictures, in sentences."""
    said = []
    if points[-1].pictures < sizes[-1]:
        ends = f"the curve ends at {points[-1].pictures:,}; give more --minutes"
        said.append(f"There was no time for {sizes[-1]:,} pictures: {ends}.")
    if len(points) < LEAST:
        said.append(f"Of {len(points)} sizes little follows for larger ones: their intervals rest on what curves are like.")
    if min(point.subsets for point in points[:-1] or points) < 2:
        said.append("There was time for one subset of some sizes only: their spread is assumed.")
    if told < classes:
        of = f"{classes - told} of {classes} classes"
        said.append(f"Nothing is said of {of}: too few pictures, or no time, to learn from half of one.")
    return said
