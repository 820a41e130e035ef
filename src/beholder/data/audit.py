"""The audit: runs the checks whose evidence is at hand, and holds what they found as one table.

audit.csv    picture,check,score,verdict,suggestion,other,decided    one finding a line
suggestion: keep | drop | relabel:CLASS
decided: what a person decided about the picture, in the same words, or nothing. It wins over every suggestion.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base.errors import DataError, UsageError
from beholder.base.files import write_atomic
from beholder.base.records import Finding, Pictures
from beholder.data.checks import CHECKS, Check, Evidence, Marks
from beholder.data.twins import Twins

COLUMNS = ("picture", "check", "score", "verdict", "suggestion", "other", "decided")


@dataclass(frozen=True, eq=False)
class Findings:
    """What the audit of `pictures` found, the surest first within each check.

    rows:   the findings
    looked: check → how many pictures it could judge
    notes:  what could not be checked, and why, in sentences
    twins:  who is whose twin among the pictures, where that was looked for: `split` wants to know
    """

    pictures: Pictures
    rows: tuple[Finding, ...]
    looked: dict[str, int]
    notes: tuple[str, ...] = ()
    twins: Twins | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def decisions(self) -> dict[str, str]:
        """Return picture → drop or relabel:CLASS, as `followed` does."""
        return followed(self.rows)

    @property
    def drop(self) -> list[str]:
        """Return the keys of the pictures that are better left out."""
        return [key for key, what in self.decisions.items() if what == "drop"]

    @property
    def relabel(self) -> dict[str, str]:
        """Return key → class of the pictures that should rather have another label."""
        return {k: what.partition(":")[2] for k, what in self.decisions.items() if what.startswith("relabel:")}

    @property
    def keep(self) -> list[str]:
        """Return the keys of all other pictures, in the order of the source."""
        return [key for key in self.pictures.keys if key not in self.decisions]

    @property
    def kept(self) -> Pictures:
        """Return the pictures with every suggestion followed: some left out, some with another label."""
        return applied(self.pictures, self.decisions)

    def only(self, checks: Iterable[str]) -> Findings:
        """Return the findings of these checks alone."""
        wanted = set(checks)
        return replace(self, rows=tuple(row for row in self.rows if row.check in wanted))

    def summary(self) -> list[dict[str, object]]:
        """Return a row per check that looked at anything: check, pictures looked at, found, drop, relabel, what it means."""
        found = Counter(row.check for row in self.rows)
        table: list[dict[str, object]] = []
        for name, looked in self.looked.items():
            kinds = Counter(row.suggestion.partition(":")[0] for row in self.rows if row.check == name)
            meaning = CHECKS.load(name).sentence
            table.append(
                {"check": name, "looked": looked, "found": found[name], "drop": kinds["drop"], "relabel": kinds["relabel"]}
                | {"meaning": meaning}
            )
        return table

    def json(self) -> dict[str, Any]:
        """Return {"pictures", "classes", "checks", "drop", "relabel", "notes"} as plain JSON values."""
        return {
            "pictures": len(self.pictures),
            "classes": list(self.pictures.classes),
            "checks": {str(row["check"]): {"looked": row["looked"], "found": row["found"]} for row in self.summary()},
            "drop": len(self.drop),
            "relabel": len(self.relabel),
            "notes": list(self.notes),
        }

    def csv(self, *, done: Mapping[str, str] | None = None) -> str:
        """Return audit.csv as text; with `done` (picture → what was done), a last column says so."""
        if done is None:
            return ",".join(COLUMNS) + "\n" + "".join(line(row) for row in self.rows)
        return ",".join((*COLUMNS, "done")) + "\n" + "".join(line(row, done.get(row.picture, "")) for row in self.rows)

    def save(self, path: str | Path) -> Path:
        """Write audit.csv, whole or not at all. Raises `MachineError`."""
        write_atomic(Path(path), self.csv().encode("utf-8", "surrogateescape"))
        return Path(path)


def line(row: Finding, *more: str) -> str:
    """Return the line of audit.csv that a finding is, with its end; more: cells of further columns."""
    buffer = io.StringIO()
    cells = [row.picture, row.check, f"{row.score:.4f}", row.verdict, row.suggestion, row.other, row.decided, *more]
    odd = any("\r" in cell for cell in cells)
    csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL if odd else csv.QUOTE_MINIMAL).writerow(cells)
    return buffer.getvalue()


def decided(rows: Iterable[Finding]) -> dict[str, str]:
    """Return picture → keep, drop or relabel:CLASS, for each picture that a person has decided about."""
    return {row.picture: row.decided for row in rows if row.picture and row.decided}


def followed(rows: Iterable[Finding]) -> dict[str, str]:
    """Return picture → drop or relabel:CLASS: what a person decided, or else what is suggested; drop wins."""
    rows = list(rows)
    found: dict[str, str] = {}
    for row in rows:
        if row.picture and row.suggestion != "keep" and found.get(row.picture) != "drop":
            found[row.picture] = row.suggestion
    return {key: what for key, what in {**found, **decided(rows)}.items() if what != "keep"}


def audit(evidence: Evidence, *, names: Sequence[str] | None = None, limits: dict[str, float] | None = None) -> Findings:
    """Return what the checks find; those whose evidence is not at hand are left out with a note.

    names: which checks, all by default; limits: check → least score of a finding, in place of its own
    Raises `UsageError` for a check that there is none of.
    """
    rows: list[Finding] = []
    looked: dict[str, int] = {}
    missing: list[str] = []
    for name in CHECKS.names() if names is None else names:
        check: Check = CHECKS.load(name)
        if any(getattr(evidence, need) is None for need in check.needs):
            missing.append(name)
            continue
        answer = check.ask(evidence)
        limit = (limits or {}).get(name, check.limit)
        if isinstance(answer, list):
            looked[name] = len(evidence.pictures)
            rows += [Finding("", name, remark.score, remark.verdict) for remark in answer if remark.score >= limit]
        else:
            looked[name] = int(np.count_nonzero(~np.isnan(answer.scores)))
            rows += _findings(name, check, answer, limit, evidence.pictures)
    notes = (f"not checked, for no features were computed: {', '.join(missing)}",) if missing else ()
    return Findings(evidence.pictures, tuple(rows), looked, notes, evidence.twins)


def _findings(name: str, check: Check, marks: Marks, limit: float, pictures: Pictures) -> list[Finding]:
    hits = np.flatnonzero(np.nan_to_num(marks.scores, nan=-1.0) >= limit)
    found = []
    for row in hits[np.argsort(-marks.scores[hits], kind="stable")].tolist():
        suggestion, verdict = marks.suggest.get(row, check.suggestion), marks.words.get(row, check.sentence)
        if suggestion == "relabel":
            better = -1 if marks.relabel is None else int(marks.relabel[row])
            suggestion = f"relabel:{pictures.classes[better]}" if better >= 0 else "keep"
        other = -1 if marks.other is None else int(marks.other[row])
        key = pictures.keys[other] if other >= 0 else ""
        found.append(Finding(pictures.keys[row], name, float(marks.scores[row]), verdict, suggestion, key))
    return found


def applied(pictures: Pictures, decisions: dict[str, str]) -> Pictures:
    """Return the pictures after decisions (picture → drop | relabel:CLASS); a class that is new is added at the end.

    Relabelling a multi-label picture is not defined: such a decision leaves it as it is.
    """
    if not decisions:
        return pictures
    fresh = sorted({what.partition(":")[2] for what in decisions.values() if what.startswith("relabel:")})
    classes = (*pictures.classes, *(name for name in fresh if name not in pictures.classes))
    index = {name: k for k, name in enumerate(classes)}
    targets: npt.NDArray[Any] = pictures.targets.copy()
    if pictures.multi and len(classes) > targets.shape[1]:
        targets = np.pad(targets, ((0, 0), (0, len(classes) - targets.shape[1])))
    stay = np.ones(len(pictures), bool)
    for row, key in enumerate(pictures.keys):
        what = decisions.get(key, "keep")
        stay[row] = what != "drop"
        if what.startswith("relabel:") and not pictures.multi:
            targets[row] = index[what.partition(":")[2]]
    return replace(pictures, targets=targets, classes=classes).take(np.flatnonzero(stay))


def read(path: str | Path) -> list[Finding]:
    """Return the findings in an audit.csv. Raises `UsageError` (path-missing) and `DataError` (bad-audit) naming the line."""
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", code="path-missing", hint="beholder audit SOURCE writes it"
        ) from error
    lines = csv.DictReader(io.StringIO(text, newline=""))
    try:
        absent = {"picture", "suggestion"} - set(lines.fieldnames or [])
        rows = list(lines)
    except csv.Error as error:
        raise DataError(f"{path} is not a table: {error}", code="bad-audit", hint="beholder audit SOURCE writes it") from error
    if absent:
        raise DataError(
            f"{path} has no column {' and no column '.join(sorted(absent))}",
            code="bad-audit",
            hint=f"its first line is {','.join(COLUMNS)}",
        )
    return [_row(row, path, number) for number, row in enumerate(rows, start=2)]


def _row(line: dict[str, str | None], path: Path, number: int) -> Finding:
    suggestion, said = (line.get("suggestion") or "").strip(), (line.get("decided") or "").strip()
    for column, what in (("suggestion", suggestion), ("decision", said or "keep")):
        if what not in ("keep", "drop") and not (what.startswith("relabel:") and len(what) > 8):
            raise DataError(
                f"{path}, line {number}: the {column} is '{what}'",
                code="bad-audit",
                hint="it is keep, drop or relabel:CLASS" + (", or empty" if column == "decision" else ""),
            )
    try:
        score = float(line.get("score") or 1.0)
    except ValueError:
        raise DataError(
            f"{path}, line {number}: the score is '{line.get('score')}'", code="bad-audit", hint="it is a number in 0..1"
        ) from None
    texts = [line.get(name) or "" for name in ("picture", "check", "verdict", "other")]
    return Finding(texts[0], texts[1], score, texts[2], suggestion, texts[3], said)
