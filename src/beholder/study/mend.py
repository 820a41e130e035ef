"""What is done about the audit's findings before training, by the policy of `data.audit`.

off     nothing is looked at
report  contradictions among exact twins and leaks between given parts are mended; all else is said
fix     every suggestion is followed; in the test part, whose labels are not ours to choose, only what `report` follows too

Leaks are mended by `data.leaks`, in the earlier part, so that the later one loses nothing:

drop    the picture in the earlier part is left out
move    it joins its twin in the later part: no picture is lost, and the parts are as disjoint; one whose label contradicts its
        twin's, or whose group would be torn apart, is left out all the same

Unreadable pictures are left out in any case, by `data.on_bad`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from beholder.base import events
from beholder.base.errors import DataError
from beholder.base.recipe import Recipe
from beholder.base.records import PARTS, Finding, Parts, Pictures
from beholder.data.audit import Findings, applied
from beholder.data.checks import CHECKS
from beholder.data.checks.twins import leaks
from beholder.data.facts import Facts, facts
from beholder.data.split import split
from beholder.data.twins import LIKE, Twins
from beholder.study.examine import MINUTES, examined, with_nets

Bools = npt.NDArray[np.bool_]

ALWAYS = ("conflict",)
"""Checks whose suggestions are followed in every part and under every policy but off."""

ELSEWHERE = ("leak", "unreadable")
"""Checks whose suggestion is followed by others: by `data.leaks`, and by `data.cache`, which leaves out what cannot be read."""


@dataclass(frozen=True, eq=False)
class Mended:
    """The parts to train and test on.

    findings: what the audit found; None where it is off
    done:     picture → drop | relabel:CLASS | move:PART, as it was done
    """

    parts: Parts
    findings: Findings | None = None
    done: dict[str, str] = field(default_factory=dict)

    @property
    def leaked(self) -> set[str]:
        """Return the pictures of the test part that have twins in another of the given parts, or were moved from there."""
        rows = () if self.findings is None else self.findings.only(["leak"]).rows
        told = {key for row in rows for key in (row.picture, row.other)}
        moved = {key for key, what in self.done.items() if what == "move:test"}
        return (told | moved) & set(self.parts.test.keys)

    def json(self, policy: str) -> dict[str, object]:
        """Return what a bundle keeps of it: {"policy", "found", "dropped", "relabelled", "moved"}."""
        if self.findings is None:
            return {"policy": policy}
        found = {str(row["check"]): row["found"] for row in self.findings.summary()}
        kinds = Counter(what.partition(":")[0] for what in self.done.values())
        counts = {"dropped": kinds["drop"], "relabelled": kinds["relabel"], "moved": kinds["move"]}
        return {"policy": policy, "found": found, **counts}


def mended(pictures: Pictures, recipe: Recipe) -> Mended:
    """Return the three parts of `pictures`, examined and mended as the recipe asks. Raises what `split` and `audit` raise."""
    policy = recipe.data.audit
    if policy == "off":
        return Mended(_split(pictures, recipe))
    measured, near = facts(pictures), _near(pictures)
    left_out = (*with_nets(), *(() if near else ("near",)))
    names = [name for name in CHECKS.names() if name not in left_out]
    findings = examined(pictures, recipe, checks=names, measured=measured, near=near)
    first = _decisions(findings.rows, ALWAYS)
    fixed = applied(pictures, first)
    stay = np.array([row for row, key in enumerate(pictures.keys) if first.get(key) != "drop"], np.int64)
    twins = None if findings.twins is None else findings.twins.among(stay)
    fixed, leaked = _without_leaks(fixed, twins, measured[stay]["error"] == b"", recipe.data.leaks)
    first |= leaked
    stay = stay[[what != "drop" for what in (first.get(pictures.keys[row]) for row in stay.tolist())]]
    twins = None if findings.twins is None else findings.twins.among(stay)
    parts = _split(fixed, recipe, twins)
    findings = _joined(findings, _judged(fixed, measured[stay], twins, parts, recipe))
    done = dict(first)
    if policy == "fix":
        others = {key: what for key, what in findings.decisions.items() if key not in first}
        unread = {row.picture for row in findings.rows if row.check in ELSEWHERE}
        ours = {key for part in (parts.train, parts.valid) for key in part.keys}
        second = {key: what for key, what in others.items() if key in ours and key not in unread}
        parts = replace(parts, train=applied(parts.train, second), valid=applied(parts.valid, second))
        done |= second
    _tell(findings, done, policy)
    return Mended(parts, findings, done)


def _without_leaks(pictures: Pictures, twins: Twins | None, readable: Bools, policy: str) -> tuple[Pictures, dict[str, str]]:
    """Return the pictures without twins across given parts, and what was done: picture → drop | move:PART.

    A picture that was moved may have twins of its own in the part that it left: it goes on until none is left there.
    """
    parts, out = pictures.parts.copy(), np.zeros(len(pictures), bool)
    labels = np.unique(pictures.targets, axis=0, return_inverse=True)[1].ravel()
    while twins is not None:
        best, other = leaks(replace(pictures, parts=np.where(out, -1, parts).astype(np.int8)), twins)
        rows = np.flatnonzero((best >= LIKE) & readable)
        if not len(rows):
            break
        joins = (policy == "move") & (labels[rows] == labels[other[rows]]) & (pictures.groups[rows] < 0)
        out[rows[~joins]] = True
        parts[rows[joins]] = parts[other[rows[joins]]]
    done = {pictures.keys[row]: "drop" for row in np.flatnonzero(out).tolist()}
    moved = np.flatnonzero(~out & (parts != pictures.parts))
    done |= {pictures.keys[row]: f"move:{PARTS[parts[row]]}" for row in moved.tolist()}
    left = replace(pictures, parts=parts).take(np.flatnonzero(~out))
    if len(pictures) and not (left.parts <= PARTS.index("train")).any() and (pictures.parts == PARTS.index("train")).any():
        raise DataError(
            "nothing is left to train on: every training picture has a twin in a later one of the given parts",
            code="all-leaked",
            hint="give other pictures to train on; beholder audit SOURCE --check leak lists the twins",
        )
    return left, done


NEAR = 50_000
"""Pictures up to which training looks for near twins, about a millisecond each and the first time only. It does not depend on
the minutes: they may be others when a run is resumed, and the split must be the same."""


def _near(pictures: Pictures) -> bool:
    """Return whether near twins are looked for, and say so if not."""
    if len(pictures) > NEAR:
        events.note(f"audit: of more than {NEAR:,} pictures exact twins only; beholder audit finds near ones")
    return len(pictures) <= NEAR


def _judged(pictures: Pictures, measured: Facts, twins: Twins | None, parts: Parts, recipe: Recipe) -> Findings:
    """Return what nets find among the pictures outside the test part, which they must not learn from.

    Nets are trained for it only where the findings are acted on; in at most a quarter of the minutes of the whole run.
    """
    held = set(parts.test.keys)
    rows = np.array([row for row, key in enumerate(pictures.keys) if key not in held], np.int64)
    theirs = None if twins is None else twins.among(rows)
    minutes = min(MINUTES, recipe.train.minutes / 4) if recipe.train.minutes else MINUTES
    trained = recipe.data.audit == "fix"
    return examined(
        pictures.take(rows),
        recipe,
        checks=with_nets(),
        minutes=minutes,
        from_scratch=trained,
        measured=measured[rows],
        known=theirs,
    )


def _joined(findings: Findings, others: Findings) -> Findings:
    looked = findings.looked | others.looked
    return replace(findings, rows=findings.rows + others.rows, looked=looked, notes=findings.notes + others.notes)


def _split(pictures: Pictures, recipe: Recipe, twins: Twins | None = None) -> Parts:
    return split(pictures, seed=recipe.seed, valid=recipe.data.valid, test=recipe.data.test, twins=twins)


def _decisions(rows: tuple[Finding, ...], checks: tuple[str, ...]) -> dict[str, str]:
    return {row.picture: row.suggestion for row in rows if row.check in checks and row.suggestion != "keep"}


def _tell(findings: Findings, done: dict[str, str], policy: str) -> None:
    """Say in a line what was found, and in another what was done."""
    counts = ", ".join(f"{row['check']} {row['found']}" for row in findings.summary() if row["found"])
    events.note(f"audit: {counts or 'nothing found'}")
    kinds = Counter(what.partition(":")[0] for what in done.values())
    if done:
        moved = f", {kinds['move']} moved to the part where their twins are" if kinds["move"] else ""
        events.note(f"audit: {kinds['drop']} pictures left out, {kinds['relabel']} given another label{moved}")
    left = sum(key not in done for key in findings.decisions)
    if left and policy == "report":
        events.note(f"audit: {left} suggestions are not followed (--audit fix follows them; beholder audit --web shows them)")
