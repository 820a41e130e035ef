"""The labels that a person gives to pictures, and the journal that they follow from.

NAME.actions.jsonl    one JSON object a line; the first names the classes and the random sample, each other is one action
label | reject | skip | again | unusable | presort | undo

A line is on the disk before its action is answered, so a kill at any moment loses the one under way at most; a line that was
torn is not there. The state is what the lines say, in their order: nothing else has to be kept, and undo reaches back to the
first action of all, whatever program ended in between.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from beholder.base.arrays import F32, I8, I64, Bools
from beholder.base.errors import DataError, UsageError
from beholder.base.files import followed, telling_disk_errors, write_atomic
from beholder.base.names import readable

NONE, PERSON, PRESORTED, UNUSABLE, SKIPPED = range(5)
"""Who said what a picture shows: nobody yet; a person; the head, as a person asked it to; or it is not to be used, or later."""

DEEDS = ("label", "reject", "skip", "again", "unusable", "presort")

VERSION = 1


@dataclass(frozen=True)
class Action:
    """What one key or click did.

    do:    label: rows are of the class `label` | reject: they are not of the class `asked` | skip: decide later | again: those
           that were skipped are asked about once more | unusable: they are left out | presort: the head's labels are taken
    asked: the class that the grid proposed, -1 = none; left: rows of the grid that are not of the class given to the others
    labels, p: of presort, class and probability of each row
    """

    do: str
    rows: tuple[int, ...]
    label: int = -1
    asked: int = -1
    left: tuple[int, ...] = ()
    labels: tuple[int, ...] = ()
    p: tuple[float, ...] = ()


@dataclass
class _Step:
    action: Action
    before: list[tuple[int, int, int, float]]
    rejected: list[tuple[int, int]]


class Annotations:
    """What is known of each of N pictures; every action is written to the journal before it counts.

    by: int8 (N,), one of NONE, PERSON, …; label: int64 (N,) class, -1 = none; p: float32 (N,), of presorted ones, NaN else
    sample: bool (N,), the uniform random sample; rejected: row → classes that a person did not take it for
    turn: grows with each action, undo too, so that a page knows whether another one was faster
    """

    def __init__(self, keys: Sequence[str], classes: Sequence[str], sample: Bools) -> None:
        self.keys, self.classes, self.sample = keys, tuple(classes), sample
        self.by: I8 = np.zeros(len(keys), np.int8)
        self.label: I64 = np.full(len(keys), -1, np.int64)
        self.p: F32 = np.full(len(keys), np.nan, np.float32)
        self.rejected: dict[int, set[int]] = {}
        self.turn = 0
        self.missing = 0
        self._steps: list[_Step] = []
        self._journal: Path | None = None

    # --- reading ---

    @property
    def undoable(self) -> int:
        """Return how many actions can be taken back."""
        return len(self._steps)

    def counts(self) -> list[int]:
        """Return how many pictures of each class a person labelled."""
        return [int(n) for n in np.bincount(self.label[self.by == PERSON], minlength=len(self.classes))]

    def of(self, who: int, among: Bools | None = None) -> I64:
        """Return the rows of which `who` said what they show, int64 (M,); among: bool (N,)."""
        return np.flatnonzero((self.by == who) if among is None else (self.by == who) & among)

    # --- actions ---

    def take(self, action: Action) -> None:
        """Write an action and do it. Raises `UsageError` (bad-action), `MachineError`: nothing is done then."""
        self._check(action)
        self._append(self._told(action))
        self._do(action)

    def undo(self) -> Action | None:
        """Take the last action back and return it; None where there is none."""
        if not self._steps:
            return None
        self._append({"do": "undo"})
        return self._back()

    def _check(self, action: Action) -> None:
        n, classes = len(self.keys), range(-1, len(self.classes))
        rows = (*action.rows, *action.left)
        sound = action.do in DEEDS and bool(action.rows) and all(0 <= row < n for row in rows) and len(set(rows)) == len(rows)
        sound = sound and action.label in classes and action.asked in classes and (action.do == "label") == (action.label >= 0)
        sound = sound and (action.do != "reject" or action.asked >= 0)
        if not sound:
            raise UsageError(f"'{action.do}' of these pictures is no action", code="bad-action", hint="load the page again")

    def _do(self, action: Action) -> None:
        state = zip(
            action.rows,
            self.label[list(action.rows)].tolist(),
            self.by[list(action.rows)].tolist(),
            self.p[list(action.rows)].tolist(),
            strict=True,
        )
        step = _Step(action, list(state), [])
        rows = np.array(action.rows, np.int64)
        if action.do == "label":
            self._set(rows, action.label, PERSON)
            self._reject(step, action.left, action.label)
        elif action.do == "reject":
            self._reject(step, action.rows, action.asked)
        elif action.do == "presort":
            self._set(rows, np.array(action.labels, np.int64), PRESORTED)
            self.p[rows] = action.p
        else:
            self._set(rows, -1, {"skip": SKIPPED, "again": NONE, "unusable": UNUSABLE}[action.do])
        self._steps.append(step)
        self.turn += 1

    def _set(self, rows: I64, label: int | I64, by: int) -> None:
        self.label[rows], self.by[rows], self.p[rows] = label, by, np.nan

    def _reject(self, step: _Step, rows: Iterable[int], label: int) -> None:
        for row in rows:
            held = self.rejected.setdefault(row, set())
            if label not in held:
                held.add(label)
                step.rejected.append((row, label))

    def _back(self) -> Action:
        step = self._steps.pop()
        for row, label, by, p in step.before:
            self.label[row], self.by[row], self.p[row] = label, by, p
        for row, label in step.rejected:
            self.rejected[row].discard(label)
        self.turn += 1
        return step.action

    # --- the journal ---

    def _told(self, action: Action) -> dict[str, Any]:
        told: dict[str, Any] = {"do": action.do, "pictures": [self.keys[row] for row in action.rows]}
        if action.label >= 0:
            told["class"] = self.classes[action.label]
        if action.asked >= 0:
            told["asked"] = self.classes[action.asked]
        if action.left:
            told["left"] = [self.keys[row] for row in action.left]
        if action.do == "presort":
            told |= {"classes": [self.classes[k] for k in action.labels], "p": [round(p, 4) for p in action.p]}
        return told

    def _append(self, told: Mapping[str, Any]) -> None:
        if self._journal is None:
            return
        data = _line(told)
        with telling_disk_errors(self._journal), self._journal.open("r+b") as file:
            end = file.seek(0, os.SEEK_END)
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise

    def _replay(self, lines: Sequence[Mapping[str, Any]], where: Path) -> None:
        """Do again what the lines of a journal say. Raises `DataError` (bad-journal)."""
        rows = {key: row for row, key in enumerate(self.keys)}
        number = {name: k for k, name in enumerate(self.classes)}
        gone: set[str] = set()
        for at, told in enumerate(lines, start=2):
            try:
                if told["do"] == "undo":
                    self._back()
                    continue
                action = _read(told, rows, number, gone)
                if action.rows:
                    self._check(action)
                self._do(action)
            except (KeyError, TypeError, ValueError, IndexError, UsageError) as error:
                raise _damaged(where, at) from error
        self.missing = len(gone)


def _read(told: Mapping[str, Any], rows: Mapping[str, int], number: Mapping[str, int], gone: set[str]) -> Action:
    """Return the action of a line; pictures that are no longer there are left out, and added to `gone`."""
    keys = list(told["pictures"])
    gone.update(key for key in keys if key not in rows)
    there = [at for at, key in enumerate(keys) if key in rows]
    presorted = told["do"] == "presort"
    return Action(
        told["do"],
        tuple(rows[keys[at]] for at in there),
        label=number[told["class"]] if "class" in told else -1,
        asked=number[told["asked"]] if "asked" in told else -1,
        left=tuple(rows[key] for key in told.get("left", ()) if key in rows),
        labels=tuple(number[told["classes"][at]] for at in there) if presorted else (),
        p=tuple(float(told["p"][at]) for at in there) if presorted else (),
    )


def journal_of(out: Path) -> Path:
    """Return where the journal of labels at `out` lies: labels.csv and a folder labels both have labels.actions.jsonl."""
    return followed(out).with_suffix(".actions.jsonl") if out.suffix.lower() == ".csv" else Path(f"{out}.actions.jsonl")


def begun(path: Path, keys: Sequence[str], classes: Sequence[str], sample: Bools) -> Annotations:
    """Return the annotations of pictures of which none is labelled yet; their journal is begun at `path`."""
    made = Annotations(keys, classes, sample)
    chosen = [keys[row] for row in np.flatnonzero(sample).tolist()]
    head = {"beholder": "label", "version": VERSION, "classes": list(classes), "pictures": len(keys), "sample": chosen}
    write_atomic(path, _line(head))
    made._journal = path
    return made


def continued(path: Path, keys: Sequence[str], classes: Sequence[str]) -> Annotations | None:
    """Return the annotations that the journal at `path` holds; None where there is no whole line in it, or no file.

    classes: those asked for; () takes those of the journal, others may only add to them
    Raises `DataError` (bad-journal, other-labels), `UsageError` (other-classes).
    """
    lines, whole = _lines(path)
    if not lines:
        return None
    head = lines[0]
    listed = all(isinstance(head.get(name), list) for name in ("classes", "sample"))
    if head.get("beholder") != "label" or head.get("version") != VERSION or not listed:
        raise _damaged(path, 1)
    classes = _agreed(classes, head["classes"], path)
    sampled = set(head["sample"])
    sample = np.fromiter((key in sampled for key in keys), np.bool_, len(keys))
    if sampled and not sample.any():
        text = f"{path} is about other pictures: not one of its random sample is in this folder"
        raise DataError(text, code="other-labels", hint="give the folder that it was begun with, or another --out")
    found = Annotations(keys, classes, sample)
    found._replay(lines[1:], path)
    if whole < path.stat().st_size:
        with telling_disk_errors(path):
            os.truncate(path, whole)
    found._journal = path
    return found


def _agreed(asked: Sequence[str], before: Sequence[str], path: Path) -> Sequence[str]:
    lost = [name for name in before if name not in asked]
    if asked and lost:
        held, missing = (", ".join(map(readable, names)) for names in (before, lost))
        raise UsageError(
            f"{path} holds labels of other classes: {held}; of them --classes lacks {missing}",
            code="other-classes",
            hint="leave --classes out to go on with these, add to them, or choose another --out",
        )
    return asked or before


def _lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the whole lines of a journal, and how many bytes they take. Raises `DataError` (bad-journal)."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}", code="bad-journal", hint="check the file") from error
    whole = data.rfind(b"\n") + 1
    lines = []
    for at, line in enumerate(data[:whole].splitlines(), start=1):
        try:
            told = json.loads(line)
        except ValueError as error:
            raise _damaged(path, at) from error
        if not isinstance(told, dict):
            raise _damaged(path, at)
        lines.append(told)
    return lines, whole


def _damaged(path: Path, line: int) -> DataError:
    hint = "it was not written by beholder label, or changed since: choose another --out, or restore it"
    return DataError(f"{path} is damaged in line {line}", code="bad-journal", hint=hint)


def _line(told: Mapping[str, Any]) -> bytes:
    return json.dumps(told).encode("ascii") + b"\n"
