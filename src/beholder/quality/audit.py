"""The audit: runs the checks whose evidence is at hand, and holds what they found as one table.

audit.csv    picture,check,score,verdict,suggestion,other,decided,box    one finding a line
suggestion: keep | drop | relabel:CLASS | review; review: a person has to look, for the audit cannot know
decided: what a person decided about the picture: keep | drop | relabel:CLASS, or nothing. Where nothing is decided, nothing is
done, but for what cannot be wrong (`CERTAIN`) where that is asked for.
box: which of the picture's boxes all that is about, as `beholder.quality.named` names it; nothing: about the picture itself.
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

from beholder.base import cells
from beholder.base.arrays import Values
from beholder.base.brief import listed, within
from beholder.base.display import html
from beholder.base.errors import DataError, UsageError
from beholder.base.files import write_atomic
from beholder.base.names import composed
from beholder.base.records import Finding, Pictures
from beholder.base.renamed import current
from beholder.duplicates.near import Twins
from beholder.quality.checks import CHECKS, BoxMarks, Check, Evidence, Marks, meaning
from beholder.quality.named import named

COLUMNS = ("picture", "check", "score", "verdict", "suggestion", "other", "decided", "box")

CERTAIN = ("unreadable", "conflict", "duplicate")
"""Checks whose suggestion to leave a picture out cannot be wrong: it cannot be read, its exact duplicates contradict it, or an
earlier picture has the same pixels and label."""

DOUBTS = ("conflict", "label")
"""The checks that doubt a label: a person should see what they found first."""


@dataclass(frozen=True, eq=False)
class Findings:
    """What the audit of `pictures` found, the surest first within each check.

    rows:   the findings
    looked: check → how many pictures it could judge, or boxes for a check of these
    notes:  what could not be checked, and why, in sentences
    twins:  who is whose duplicate among the pictures, where that was looked for: `split` wants to know
    """

    pictures: Pictures
    rows: tuple[Finding, ...]
    looked: dict[str, int]
    notes: tuple[str, ...] = ()
    twins: Twins | None = None

    def __repr__(self) -> str:
        found = [f"{name} {n:,}" for name, n in Counter(row.check for row in self.rows).most_common()]
        return within(
            "Findings",
            [
                f"{len(self):,} in {len(self.pictures):,} pictures: {listed(found)}"
                if found
                else f"none in {len(self.pictures):,} pictures"
            ],
        )

    _repr_html_ = html

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def decisions(self) -> dict[str, str]:
        """Return picture → keep, drop or relabel:CLASS: what a person decided, and nothing else."""
        return decided(self.rows)

    @cached_property
    def suggestions(self) -> dict[str, str]:
        """Return picture → drop, relabel:CLASS or review, whatever was decided; where `keep` is suggested it is not in it."""
        return suggested(self.rows)

    @cached_property
    def _done(self) -> dict[str, str]:
        """Return picture → drop or relabel:CLASS: what was decided, and of the rest what cannot be wrong."""
        done = certain(self.rows, self.decisions)
        return {key: what for key, what in {**done, **self.decisions}.items() if what != "keep"}

    @property
    def drop(self) -> list[str]:
        """Return the keys of the pictures that are left out: by decision, or for what cannot be wrong (`CERTAIN`)."""
        return [key for key, what in self._done.items() if what == "drop"]

    @property
    def relabel(self) -> dict[str, str]:
        """Return key → class of the pictures that a person gave another label."""
        return {k: what.partition(":")[2] for k, what in self._done.items() if what.startswith("relabel:")}

    @property
    def keep(self) -> list[str]:
        """Return the keys of all other pictures, in the order of the source."""
        return [key for key in self.pictures.keys if key not in self._done]

    @property
    def kept(self) -> Pictures:
        """Return the pictures without `drop`, with the labels of `relabel`: no suggestion is followed that could be wrong."""
        return applied(self.pictures, self._done)

    def only(self, checks: Iterable[str]) -> Findings:
        """Return the findings of these checks alone."""
        wanted = {current("check", name) for name in checks}
        return replace(self, rows=tuple(row for row in self.rows if row.check in wanted))

    def summary(self) -> list[dict[str, object]]:
        """Return a row per check that looked at anything: check, looked, found, drop, relabel, review, meaning.

        looked: pictures that it could judge; found: findings; drop, relabel, review: how many of these suggest so
        """
        found = Counter(row.check for row in self.rows)
        table: list[dict[str, object]] = []
        for name, looked in self.looked.items():
            kinds = Counter(row.suggestion.partition(":")[0] for row in self.rows if row.check == name)
            counts = {kind: kinds[kind] for kind in ("drop", "relabel", "review")}
            table.append({"check": name, "looked": looked, "found": found[name], **counts, "meaning": meaning(name)["meaning"]})
        return table

    def json(self) -> dict[str, Any]:
        """Return plain JSON values: {"pictures", "classes", "checks", "drop", "relabel", "review", "decided", "notes"}.

        drop, relabel, review: of how many pictures it is suggested; decided: about how many a person has decided
        """
        kinds = Counter(what.partition(":")[0] for what in self.suggestions.values())
        return {
            "pictures": len(self.pictures),
            "classes": list(self.pictures.classes),
            "checks": {str(row["check"]): {"looked": row["looked"], "found": row["found"]} for row in self.summary()},
            **{kind: kinds[kind] for kind in ("drop", "relabel", "review")},
            "decided": len(self.decisions),
            "notes": [*self.pictures.notes, *self.notes],
            "counts": dict(zip(self.pictures.classes, self.pictures.counts().tolist(), strict=True)),
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
    first = (row.picture, row.check, f"{row.score:.4f}", row.verdict, row.suggestion)
    return cells.line((*first, row.other, row.decided, row.box, *more))


def decided(rows: Iterable[Finding]) -> dict[str, str]:
    """Return picture → keep, drop or relabel:CLASS, for each picture that a person has decided about as a whole."""
    return {row.picture: row.decided for row in rows if row.picture and row.decided and not row.box}


def suggested(rows: Iterable[Finding]) -> dict[str, str]:
    """Return picture → drop, relabel:CLASS or review, whatever was decided; of several the first of these kinds."""
    kinds = ("drop", "relabel", "review", "keep")
    found: dict[str, str] = {}
    for row in rows:
        before = found.get(row.picture, "keep")
        if not row.picture or row.box:
            continue
        if kinds.index(row.suggestion.partition(":")[0]) < kinds.index(before.partition(":")[0]):
            found[row.picture] = row.suggestion
    return found


def certain(rows: Iterable[Finding], done: Mapping[str, str], checks: Sequence[str] = CERTAIN) -> dict[str, str]:
    """Return picture → drop, for those undecided of which the `checks` are sure.

    done: picture → keep | drop | relabel:CLASS, what is settled. A duplicate stays where its original is left out.
    """
    rows = [r for r in rows if r.check in checks and r.suggestion == "drop" and r.picture not in done and not r.box]
    found = {row.picture: "drop" for row in rows if row.check != "duplicate"}
    gone = {key for key, what in {**found, **done}.items() if what == "drop"}
    return found | {row.picture: "drop" for row in rows if row.check == "duplicate" and row.other not in gone}


def audit(evidence: Evidence, *, names: Sequence[str] | None = None, limits: dict[str, float] | None = None) -> Findings:
    """Return what the checks find; those whose evidence is not at hand are left out with a note.

    names: which checks, all by default; limits: check → least score of a finding, in place of its own
    Raises `UsageError` for a check that there is none of.
    """
    rows: list[Finding] = []
    looked: dict[str, int] = {}
    missing: dict[str, list[str]] = {"labels": [], "features": [], "found": []}
    checks: dict[str, Check] = CHECKS.sound(of=Check) if names is None else {n: CHECKS.load(n, of=Check) for n in names}
    for name, check in checks.items():
        lacking = [need for need in check.needs if getattr(evidence, need) is None]
        if "boxes" in check.needs and lacking:
            missing["found"] += [name] if lacking == ["found"] else []
            continue
        if lacking:
            missing["labels" if evidence.labels is None and lacking != ["features"] else "features"].append(name)
            continue
        with CHECKS.tolerant(name):
            answer = check.ask(evidence)
            limit = (limits or {}).get(name, check.limit)
            if isinstance(answer, list):
                looked[name] = len(evidence.pictures)
                rows += [Finding("", name, remark.score, remark.verdict) for remark in answer if remark.score >= limit]
            elif isinstance(answer, BoxMarks):
                looked[name] = answer.looked
                rows += _of_boxes(name, answer, limit, evidence.pictures)
            else:
                rows += _findings(name, check, answer, limit, evidence.pictures)
                looked[name] = int(np.count_nonzero(~np.isnan(answer.scores)))
    why = {"labels": "the pictures have no labels", "features": "there are too few pictures, or too small ones for the net"}
    why["found"] = "no detector learnt from the others to look at them"
    notes = tuple(f"not checked, for {why[what]}: {', '.join(names)}" for what, names in missing.items() if names)
    return Findings(evidence.pictures, tuple(rows), looked, notes, evidence.twins)


def _findings(name: str, check: Check, marks: Marks, limit: float, pictures: Pictures) -> list[Finding]:
    hits = np.flatnonzero(np.nan_to_num(marks.scores, nan=-1.0) >= limit)
    found = []
    order = marks.scores if marks.order is None else marks.order
    for row in hits[np.argsort(-order[hits], kind="stable")].tolist():
        suggestion, verdict = marks.suggest.get(row, check.suggestion), marks.words.get(row, check.sentence)
        if suggestion == "relabel":
            better = -1 if marks.relabel is None else int(marks.relabel[row])
            suggestion = f"relabel:{pictures.classes[better]}" if better >= 0 else "keep"
        other = -1 if marks.other is None else int(marks.other[row])
        key = pictures.keys[other] if other >= 0 else ""
        found.append(Finding(pictures.keys[row], name, float(marks.scores[row]), verdict, suggestion, key))
    return found


def _of_boxes(name: str, answer: BoxMarks, limit: float, pictures: Pictures) -> list[Finding]:
    marks = sorted((mark for mark in answer.marks if mark.score >= limit), key=lambda mark: -mark.score)
    others = [pictures.keys[mark.other] if mark.other >= 0 else "" for mark in marks]
    return [
        Finding(pictures.keys[mark.picture], name, float(mark.score), mark.words, mark.suggestion, other, box=mark.box)
        for mark, other in zip(marks, others, strict=True)
    ]


def applied(pictures: Pictures, decisions: dict[str, str]) -> Pictures:
    """Return the pictures after decisions (picture → drop | relabel:CLASS); a class that is new is added at the end.

    Relabelling a multi-label picture is not defined: such a decision leaves it as it is.
    """
    if not decisions:
        return pictures
    fresh = sorted({what.partition(":")[2] for what in decisions.values() if what.startswith("relabel:")})
    classes = (*pictures.classes, *(name for name in fresh if name not in pictures.classes))
    index = {name: k for k, name in enumerate(classes)}
    targets: Values = pictures.targets.copy()
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
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", code="path-missing", hint="beholder audit SOURCE writes it"
        ) from error
    try:
        lines = _lines(data)
        absent = {"picture", "suggestion"} - set(lines.fieldnames or [])
        rows = list(lines)
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a table: {error}", code="bad-audit", hint="beholder audit SOURCE writes it") from error
    if absent:
        hint = f"its first line is {','.join(COLUMNS)}"
        raise DataError(f"{path} has no column {' and no column '.join(sorted(absent))}", code="bad-audit", hint=hint)
    return [_row(row, path, number) for number, row in enumerate(rows, start=2)]


def _lines(data: bytes) -> csv.DictReader[str]:
    """Return the rows of an audit.csv, also as spreadsheets save it again: with ";" or tabs, a line "sep=;", in UTF-16."""
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = (data.decode("utf-16") if wide else data.decode("utf-8", "surrogateescape")).removeprefix("\ufeff")
    head = text.partition("\n")[0]
    if head.lower().strip(' "\r').startswith("sep="):
        text = text.partition("\n")[2]
        head = text.partition("\n")[0]
    mark = max(",;\t", key=head.count)
    return csv.DictReader(io.StringIO(text, newline=""), delimiter=mark)


def _said(cell: str | None) -> str:
    """Return a suggestion or decision as it is compared: the verb in lower case, the class in one Unicode form."""
    verb, colon, label = (cell or "").strip().partition(":")
    return verb.strip().lower() + colon + composed(label.strip())


def _row(line: dict[str, str | None], path: Path, number: int) -> Finding:
    suggestion, said = _said(line.get("suggestion")), _said(line.get("decided"))
    for column, what, words in (
        ("suggestion", suggestion, ("keep", "drop", "review")),
        ("decision", said or "keep", ("keep", "drop")),
    ):
        if what not in words and not (what.startswith("relabel:") and len(what) > 8):
            hint = f"it is {', '.join(words)} or relabel:CLASS" + (", or empty" if column == "decision" else "")
            raise DataError(f"{path}, line {number}: the {column} is '{what}'", code="bad-audit", hint=hint)
    try:
        score = float((line.get("score") or "1.0").replace(",", "."))
    except ValueError:
        raise DataError(
            f"{path}, line {number}: the score is '{line.get('score')}'", code="bad-audit", hint="it is a number in 0..1"
        ) from None
    texts = [cells.plain(line.get(name) or "") for name in ("picture", "check", "verdict", "other", "box")]
    if texts[4]:
        try:
            named(texts[4])
        except DataError as error:
            raise DataError(f"{path}, line {number}: {error.message}", code=error.code, hint=error.hint) from None
    return Finding(texts[0], current("check", texts[1], warn=False), score, texts[2], suggestion, texts[3], said, texts[4])
