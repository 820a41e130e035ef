"""What is done about the audit's findings before training, by the policy of `data.audit`.

off     nothing is looked at
report  contradictions among exact twins and leaks between given parts are mended; all else is said
fix     every suggestion is followed; in the test part, whose labels are not ours to choose, only what `report` follows too

Leaks are mended by `data.leaks`, in the earlier part, so that the later one loses nothing:

drop    the picture in the earlier part is left out
move    it joins its twin in the later part: no picture is lost, and the parts are as disjoint; one whose label contradicts its
        twin's, or whose group would be torn apart, is left out all the same

A reviewed audit.csv (`data.decisions`) goes first, whatever the policy: what a person decided there is done in every part and
wins over every suggestion; where nothing is decided its suggestions are followed outside the test part.

Unreadable pictures are left out in any case, by `data.on_bad`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from beholder.base import events
from beholder.base.errors import DataError
from beholder.base.recipe import Recipe
from beholder.base.records import PARTS, Finding, Parts, Pictures
from beholder.data.audit import Findings, applied, decided, followed
from beholder.data.checks import CHECKS
from beholder.data.checks.twins import leaks
from beholder.data.decisions import reopened, with_decisions
from beholder.data.facts import FACTS, Facts, Thumbnails, facts
from beholder.data.sources.listing import some
from beholder.data.split import split
from beholder.data.twins import LIKE, Twins
from beholder.study.examine import MINUTES, examined, with_nets

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

ALWAYS = ("conflict",)
"""Checks whose suggestions are followed in every part and under every policy but off."""

ELSEWHERE = ("leak", "unreadable")
"""Checks whose suggestion is followed by others: by `data.leaks`, and by `data.cache`, which leaves out what cannot be read."""


@dataclass(frozen=True, eq=False)
class Mended:
    """The parts to train and test on.

    findings: what the audit found; None where it is off
    done:     picture → drop | relabel:CLASS | move:PART, as it was done; drop of the unreadable ones, too, which
              `data.cache` leaves out
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
    """Return the three parts of `pictures`, examined and mended as the recipe asks.

    Raises what `split`, `audit` and `beholder.data.decisions.reopened` raise, and `DataError` (all-unreadable, all-leaked,
    nothing-left).
    """
    policy = recipe.data.audit
    told = reopened(pictures, recipe.data.decisions).rows if recipe.data.decisions else ()
    if policy == "off" and not told:
        return Mended(_split(pictures, recipe))
    firm = _firm(pictures, told)
    findings, measured = _looked(pictures, recipe)
    check_readable(pictures, measured)
    done = {key: what for key, what in {**_decisions(findings.rows, ALWAYS), **firm}.items() if what != "keep"}
    fixed = _without_empty(applied(pictures, done), pictures)
    rows, twins = _left(pictures, findings, done)
    may = measured[rows]["error"] == b""
    if firm:
        may &= np.array([key not in firm for key in fixed.keys], bool)
    fixed, leaked = _without_leaks(fixed, twins, may, recipe.data.leaks)
    done |= leaked
    rows, twins = _left(pictures, findings, done)
    parts = _split(fixed, recipe, twins, unreadable=measured[rows]["error"] != b"")
    if policy != "off":
        findings = _joined(findings, _judged(fixed, measured[rows], twins, parts, recipe))
    second = _suggested((*(findings.rows if policy == "fix" else ()), *told), parts, {*done, *firm})
    parts = replace(parts, train=applied(parts.train, second), valid=applied(parts.valid, second))
    done |= second
    _tell(findings, done, policy)
    unread = {row.picture: "drop" for row in findings.rows if row.check == "unreadable"}
    return Mended(parts, _with(findings, told, firm), unread | done)


def _looked(pictures: Pictures, recipe: Recipe) -> tuple[Findings, Facts]:
    """Return what is found without a net, and the facts of the pictures."""
    if recipe.data.audit == "off":
        return Findings(pictures, (), {}), np.zeros(len(pictures), FACTS)
    near = _near(pictures)
    small = Thumbnails() if near else None
    measured = facts(pictures, small=small)
    left_out = (*with_nets(), *(() if near else ("near",)))
    names = [name for name in CHECKS.names() if name not in left_out]
    return examined(pictures, recipe, checks=names, measured=measured, near=near, small=small), measured


def _left(pictures: Pictures, findings: Findings, done: Mapping[str, str]) -> tuple[Ints, Twins | None]:
    """Return the rows of the pictures that are not dropped, and who is whose twin among them."""
    rows = np.arange(len(pictures))
    if "drop" in done.values():
        rows = np.array([row for row, key in enumerate(pictures.keys) if done.get(key) != "drop"], np.int64)
    return rows, None if findings.twins is None else findings.twins.among(rows)


def _firm(pictures: Pictures, told: Sequence[Finding]) -> dict[str, str]:
    """Return what a person decided about these pictures, picture → keep | drop | relabel:CLASS; the rest is said to be left."""
    if not told:
        return {}
    known = set(pictures.keys)
    every = decided(told)
    here = {key: what for key, what in every.items() if key in known}
    if len(here) < len(every):
        events.warn(f"the source does not have the pictures of {len(every) - len(here):,} of {len(every):,} decisions")
    if pictures.multi and any(what.startswith("relabel:") for what in here.values()):
        here = {key: what for key, what in here.items() if not what.startswith("relabel:")}
        events.warn("decisions to relabel are not followed: these pictures carry several labels each")
    if here:
        events.note(f"audit: a person's decisions are followed, {len(here):,} of them")
    return here


def _without_empty(pictures: Pictures, before: Pictures) -> Pictures:
    """Return the pictures without the classes of which decisions left none. Raises `DataError` (nothing-left)."""
    if not len(pictures):
        raise DataError(
            f"nothing is left of {before.store.name}: every picture is dropped",
            code="nothing-left",
            hint="look at the columns suggestion and decided of the audit.csv",
        )
    had = np.zeros(len(pictures.classes), bool)
    had[: len(before.classes)] = before.counts() > 0
    stay = (pictures.counts() > 0) | ~had
    if stay.all():
        return pictures
    events.note(f"no picture is left of {some([pictures.classes[k] for k in np.flatnonzero(~stay)])}")
    classes = tuple(name for name, here in zip(pictures.classes, stay, strict=True) if here)
    targets = pictures.targets[:, stay] if pictures.multi else (np.cumsum(stay) - 1)[pictures.targets]
    return replace(pictures, targets=targets, classes=classes)


def _suggested(rows: Iterable[Finding], parts: Parts, settled: Collection[str]) -> dict[str, str]:
    """Return what is suggested, picture → drop | relabel:CLASS, outside the test part and but for those `settled`."""
    wanted = followed(row for row in rows if row.check not in ELSEWHERE)
    if not wanted:
        return {}
    ours = {key for part in (parts.train, parts.valid) for key in part.keys} - set(settled)
    classes = () if parts.train.multi else parts.train.classes
    return {key: what for key, what in wanted.items() if key in ours and (what == "drop" or what[len("relabel:") :] in classes)}


def _with(findings: Findings, told: Sequence[Finding], firm: Mapping[str, str]) -> Findings:
    """Return the findings with those of a reviewed audit.csv that were not found again, and with what was decided there."""
    if not told:
        return findings
    known = {(row.picture, row.check) for row in findings.rows}
    here = set(findings.pictures.keys)
    more = tuple(row for row in told if row.picture in here and (row.picture, row.check) not in known)
    names = list(dict.fromkeys(row.check for row in (*findings.rows, *more)))
    rows = sorted((*findings.rows, *more), key=lambda row: names.index(row.check))
    return with_decisions(replace(findings, rows=tuple(rows)), firm)


def _without_leaks(pictures: Pictures, twins: Twins | None, may: Bools, policy: str) -> tuple[Pictures, dict[str, str]]:
    """Return the pictures without twins across given parts, and what was done: picture → drop | move:PART.

    may: which pictures may be left out or moved, bool (N,)
    A picture that was moved may have twins of its own in the part that it left: it goes on until none is left there.
    """
    parts, out = pictures.parts.copy(), np.zeros(len(pictures), bool)
    labels = np.unique(pictures.targets, axis=0, return_inverse=True)[1].ravel()
    while twins is not None:
        best, other = leaks(replace(pictures, parts=np.where(out, -1, parts).astype(np.int8)), twins)
        rows = np.flatnonzero((best >= LIKE) & may)
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


def check_readable(pictures: Pictures, measured: Facts) -> None:
    """Raise `DataError` (all-unreadable), with the reasons counted, where not one of the pictures can be read."""
    if (measured["error"] == b"").any():
        return
    counts = ", ".join(f"{n:,} {code.decode()}" for code, n in Counter(measured["error"].tolist()).most_common())
    raise DataError(
        f"none of the {len(pictures):,} pictures in {pictures.store.name} can be read: {counts} ({some(pictures.keys)})",
        code="all-unreadable",
        hint="open one of them with another program, and fetch them again if it cannot",
    )


def _split(pictures: Pictures, recipe: Recipe, twins: Twins | None = None, *, unreadable: Bools | None = None) -> Parts:
    shares = {"valid": recipe.data.valid, "test": recipe.data.test}
    return split(pictures, seed=recipe.seed, **shares, twins=twins, unreadable=unreadable)


def _decisions(rows: tuple[Finding, ...], checks: tuple[str, ...]) -> dict[str, str]:
    return {row.picture: row.suggestion for row in rows if row.check in checks and row.suggestion != "keep"}


def _tell(findings: Findings, done: dict[str, str], policy: str) -> None:
    """Say in a line what was found, and in another what was done."""
    counts = ", ".join(f"{row['check']} {row['found']}" for row in findings.summary() if row["found"])
    events.note(f"audit: {counts or 'nothing found'}")
    kinds = Counter(what.partition(":")[0] for what in done.values())
    if done:
        moved = f", {kinds['move']} moved to the part where their twins are" if kinds["move"] else ""
        events.note(f"audit: {_pictures(kinds['drop'])} left out, {_pictures(kinds['relabel'])} given another label{moved}")
    left = sum(key not in done for key in followed(row for row in findings.rows if row.check not in ELSEWHERE))
    if left and policy == "report":
        words = "suggestion is" if left == 1 else "suggestions are"
        events.note(f"audit: {left} {words} not followed (--audit fix follows them; beholder audit --web shows them)")


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"
