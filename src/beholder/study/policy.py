"""The audit policy `data.audit`: what is done about findings before training.

off      nothing is looked at
report   contradictions among exact duplicates are left out and leaks between given parts resolved; all else is reported
fix      exact duplicates are left out too: all that is done cannot be wrong, and no label is changed
relabel  every suggestion is followed; in the test part, whose labels are not ours to choose, only what `report` does

Leaks are resolved by `data.leaks`, in the earlier part, so that the later one loses nothing:

drop    the picture in the earlier part is left out
move    it joins its duplicate in the later part: no picture is lost, and the parts are as disjoint; one whose label contradicts
        its duplicate's, or whose group would be torn apart, is left out all the same

A reviewed audit.csv (`data.decisions`) goes first, whatever the policy: what a person decided there is done in every part and
wins over every suggestion. Where nothing is decided nothing is done: under `report` contradictions stay then, too.

Unreadable pictures are left out in any case, by `data.on_bad`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from beholder.base import events
from beholder.base.brief import shown
from beholder.base.deadline import Deadline
from beholder.base.errors import DataError
from beholder.base.recipe import Recipe
from beholder.base.records import Finding, Parts, Pictures
from beholder.bundle.config import Audited
from beholder.data.leaks import without_leaks
from beholder.data.lost import lost, without_classes
from beholder.data.split import split
from beholder.duplicates.facts import FACTS, Facts, Thumbnails, fingerprinted, unseen
from beholder.duplicates.near import Twins, near_wanted, twins
from beholder.machine.pace import slowness
from beholder.quality.audit import CERTAIN, Findings, applied, certain, decided, suggested
from beholder.quality.checks import CHECKS, Check
from beholder.quality.decisions import reopened, with_decisions
from beholder.sources.digest import digested
from beholder.sources.listing import some
from beholder.study.examine import MINUTES, examined, with_nets

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

CONTRADICTED = ("conflict",)
"""Checks whose suggestion to leave a picture out is followed in every part, and under `report` too."""

NEVER = Deadline()

ELSEWHERE = ("leak", "unreadable")
"""Checks whose suggestion is followed by others: by `data.leaks`, and by `data.cache`, which leaves out what cannot be read."""

ACTING = ("fix", "relabel")
"""The policies under which more is done than `report` does."""


@dataclass(frozen=True, eq=False)
class Curated:
    """The parts to train and test on.

    findings: what the audit found; None where it is off
    done:     picture → drop | relabel:CLASS | move:PART, as it was done; drop of the unreadable ones, too, which
              `data.cache` leaves out
    """

    parts: Parts
    findings: Findings | None = None
    done: dict[str, str] = field(default_factory=dict)

    __repr__ = shown

    @property
    def leaked(self) -> set[str]:
        """Return the pictures of the test part that have duplicates in another of the given parts, or were moved from there."""
        rows = () if self.findings is None else self.findings.only(["leak"]).rows
        told = {key for row in rows for key in (row.picture, row.other)}
        moved = {key for key, what in self.done.items() if what == "move:test"}
        return (told | moved) & set(self.parts.test.keys)

    def record(self, policy: str) -> Audited:
        """Return what a bundle keeps of it."""
        if self.findings is None:
            return Audited(policy)
        found = {str(row["check"]): int(str(row["found"])) for row in self.findings.summary()}
        kinds = Counter(what.partition(":")[0] for what in self.done.values())
        return Audited(policy, found, dropped=kinds["drop"], relabelled=kinds["relabel"], moved=kinds["move"])


def curated(
    pictures: Pictures, recipe: Recipe, *, until: Deadline = NEVER, early: Callable[[Parts], object] = lambda _: None
) -> Curated:
    """Return the three parts of `pictures`, audited, with the policy of the recipe applied.

    until: when the whole run should be over, of which the audit takes a share; what it has no time for is said
    early: is given the parts as soon as they are split, before labels are judged

    Raises what `split`, `audit` and `beholder.quality.decisions.reopened` raise, and `DataError` (all-unreadable, all-leaked,
    nothing-left).
    """
    policy = recipe.data.audit
    told = reopened(pictures, recipe.data.decisions).rows if recipe.data.decisions else ()
    if policy == "off" and not told:
        early(parts := _split(pictures, recipe))
        return Curated(parts)
    firm = _firm(pictures, told)
    findings, measured, gone = _readable(pictures, recipe, until)
    pictures = findings.pictures
    acts = policy in ACTING
    contradicted = certain(findings.rows, firm, CONTRADICTED) if acts or not told else {}
    done = {key: what for key, what in {**contradicted, **firm}.items() if what != "keep"}
    done |= {pictures.keys[row]: "drop" for row in gone.tolist()}
    fixed = _without_empty(applied(pictures, done), pictures)
    rows, tied = _left(pictures, findings, done)
    may = measured[rows]["error"] == b""
    if firm:
        may &= np.array([key not in firm for key in fixed.keys], bool)
    fixed, leaked = without_leaks(fixed, tied, may, recipe.data.leaks)
    done |= leaked
    rows, tied = _left(pictures, findings, done)
    early(parts := _split(fixed, recipe, tied, unreadable=measured[rows]["error"] != b""))
    if policy != "off":
        findings = _joined(findings, _judged(fixed, measured[rows], tied, parts, recipe, until))
    more = (*findings.rows, *told) if policy == "relabel" else ()
    second = _followed(findings.rows, more, parts, {**firm, **done}) if acts else {}
    parts = replace(parts, train=applied(parts.train, second), valid=applied(parts.valid, second))
    done |= second
    _tell(findings, done, policy)
    unread = {row.picture: "drop" for row in findings.rows if row.check == "unreadable"}
    return Curated(parts, _with(findings, told, firm), unread | done)


def _readable(pictures: Pictures, recipe: Recipe, until: Deadline) -> tuple[Findings, Facts, Ints]:
    """Return what is found without a net, the facts, and the rows whose classes are lost with what cannot be read."""
    findings, measured = _looked(pictures, recipe, until)
    check_readable(findings.pictures, measured)
    gone, said = lost(findings.pictures, measured["error"] != b"")
    noted = replace(findings.pictures, notes=(*findings.pictures.notes, *said))
    return replace(findings, pictures=noted), measured, gone


LOOKING, COMPARING, JUDGING = 0.1, 0.05, 0.2
"""Shares of the time left that looking at the files and pixels, comparing candidates, and judging labels may take."""

COSTS, ASKING = 0.7, 3.0
"""Seconds that looking for shortcuts takes on an idle machine, and a net that judges labels before its first answer."""


def _looked(pictures: Pictures, recipe: Recipe, until: Deadline) -> tuple[Findings, Facts]:
    """Return what is found without a net, of the pictures with digests, and their facts."""
    if recipe.data.audit == "off":
        return Findings(digested(pictures), (), {}), np.zeros(len(pictures), FACTS)
    near = near_wanted(pictures)
    small = Thumbnails() if near else None
    pictures, measured = fingerprinted(pictures, small=small, until=_share(until, LOOKING))
    known = twins(pictures, measured, near=near, small=small, until=_share(until, COMPARING))
    left_out = (*with_nets(), *(() if near else ("near-duplicate",)))
    names = [name for name in CHECKS.sound(of=Check) if name not in left_out]
    late: tuple[str, ...] = ()
    if not until.none and "shortcut" in names and COMPARING * until.left < COSTS * slowness():
        names.remove("shortcut")
        late = ("there was no time to look for shortcuts",)
        events.note(f"audit: {late[0]}")
    rows = np.flatnonzero(~unseen(measured))
    if len(rows) == len(pictures):
        found = examined(pictures, recipe, checks=names, measured=measured, near=near, known=known)
        return replace(found, notes=(*found.notes, *late)), measured
    events.note(
        f"audit: there is time to look at {len(rows):,} of {len(pictures):,} pictures; of the others the bytes are known"
    )
    some = examined(pictures.take(rows), recipe, checks=names, measured=measured[rows], near=near, known=known.among(rows))
    return replace(some, pictures=pictures, twins=known, notes=(*some.notes, *late)), measured


def _share(until: Deadline, part: float) -> Deadline:
    return until if until.none else until.within(part * until.left)


def _left(pictures: Pictures, findings: Findings, done: Mapping[str, str]) -> tuple[Ints, Twins | None]:
    """Return the rows of the pictures that are not dropped, and who is whose duplicate among them."""
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
    gone = (pictures.counts() == 0) & had
    if gone.any():
        events.note(f"no picture is left of {some([pictures.classes[k] for k in np.flatnonzero(gone)])}")
    return without_classes(pictures, gone)


def _followed(rows: Iterable[Finding], more: Iterable[Finding], parts: Parts, settled: Mapping[str, str]) -> dict[str, str]:
    """Return picture → drop | relabel:CLASS, outside the test part and but for those `settled`.

    rows: of these what cannot be wrong is done; more: of these every other suggestion, too
    """
    ours = {key for part in (parts.train, parts.valid) for key in part.keys} - set(settled)
    able = {"drop"} if parts.train.multi else {"drop", *(f"relabel:{name}" for name in parts.train.classes)}
    wanted = suggested(row for row in more if row.check not in (*ELSEWHERE, *CERTAIN))
    wanted = {key: what for key, what in wanted.items() if key in ours and what in able}
    gone = {key: what for key, what in wanted.items() if what == "drop"}
    sure = certain((row for row in rows if row.check not in ELSEWHERE), {**gone, **settled})
    return wanted | {key: what for key, what in sure.items() if key in ours}


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


def _judged(
    pictures: Pictures, measured: Facts, twins: Twins | None, parts: Parts, recipe: Recipe, until: Deadline
) -> Findings:
    """Return what nets find among the pictures outside the test part, which they must not learn from.

    Nets are trained for it only where labels are changed after it; in at most a quarter of the minutes of the whole run.
    """
    minutes = MINUTES if until.none else min(MINUTES, JUDGING * until.left / 60)
    trained = recipe.data.audit == "relabel"
    if not trained and not until.none and 60 * minutes < ASKING * slowness():
        words = "there was no time for a net to judge labels and outliers"
        events.note(f"audit: {words}")
        return Findings(pictures, (), {}, (words,))
    held = set(parts.test.keys)
    rows = np.array([row for row, key in enumerate(pictures.keys) if key not in held], np.int64)
    theirs = None if twins is None else twins.among(rows)
    return examined(
        pictures.take(rows),
        recipe,
        checks=with_nets(),
        minutes=minutes,
        from_scratch=trained,
        measured=measured[rows],
        known=theirs,
        like=parts.train,
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
    val, test = recipe.data.val, recipe.data.test
    return split(pictures, seed=recipe.seed, val=val, test=test, near=False, twins=twins, unreadable=unreadable)


def _tell(findings: Findings, done: dict[str, str], policy: str) -> None:
    """Say in a line what was found, and in another what was done."""
    counts = ", ".join(f"{row['check']} {row['found']}" for row in findings.summary() if row["found"])
    events.note(f"audit: {counts or 'nothing found'}")
    kinds = Counter(what.partition(":")[0] for what in done.values())
    if done:
        moved = f", {kinds['move']} moved to the part of their duplicates" if kinds["move"] else ""
        events.note(f"audit: {_pictures(kinds['drop'])} left out, {_pictures(kinds['relabel'])} given another label{moved}")
    said = suggested(row for row in findings.rows if row.check not in ELSEWHERE)
    left = [what for key, what in said.items() if key not in done and what != "review"]
    if left and policy != "relabel":
        words = "1 suggestion is" if len(left) == 1 else f"{len(left)} suggestions are"
        how = "--audit fix leaves exact copies and contradictions out; " if policy == "report" and "drop" in left else ""
        how += "--audit relabel follows every one; " if any(what != "drop" for what in left) else ""
        events.note(f"audit: {words} not followed ({how}beholder audit --web shows them)")


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"
