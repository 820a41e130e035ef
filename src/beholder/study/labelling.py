"""The session in which a person labels pictures: the grid to look at, the head that learns on the way, and how good it is."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from beholder import image
from beholder.base import cells
from beholder.base.arrays import F32, I64
from beholder.base.errors import MachineError, PictureError, UsageError
from beholder.base.files import write_atomic
from beholder.base.names import readable
from beholder.base.records import Pictures, Score
from beholder.measure.intervals import wilson
from beholder.study.annotations import NONE, PERSON, PRESORTED, SKIPPED, UNUSABLE, Action, Annotations
from beholder.study.presort import Grid, Head, Presorter, likely, typical, unasked, without

LOOKED_AT = 20_000
"""Pictures among which the next grid is looked for: of more, drawn anew each time, it would only take longer."""


NOTHING = unasked(np.zeros(0, np.int64))


@dataclass(frozen=True)
class Place:
    """Where labels are written.

    out: the table or folder; paths: what the table calls each picture, () for a folder
    source: how messages name the pictures; following: the command that goes on from there
    """

    out: Path
    paths: Sequence[str]
    source: str
    following: str


class Session:
    """One labelling session (`review.labelling.Labelling`); every action is on the disk before it is answered.

    The random sample is labelled first. A head that groups its pictures learns from the sample alone; the one that presorts
    all others never does, so what it says of the sample tells how good it is.
    """

    def __init__(self, pictures: Pictures, annotations: Annotations, presorter: Presorter, place: Place) -> None:
        self._pictures, self.annotations, self.place = pictures, annotations, place
        self._presorter = presorter
        self.unreadable: set[int] = set()
        self._looked: set[int] = set()
        self._lock = threading.RLock()
        self._closed = False
        self._grid = NOTHING
        self._before: list[Grid] = []
        self._turn = -1
        self._head: tuple[int, Head | None] = (-1, None)
        self._lines: dict[int, tuple[object, bytes]] = {}
        self._unwritten = ""

    @property
    def pictures(self) -> Pictures:
        """Return the pictures that are labelled."""
        return self._pictures

    # --- what there is ---

    def summary(self) -> dict[str, object]:
        """Return {"source", "pictures", "classes", "out", "following"}."""
        return {
            "source": self.place.source,
            "pictures": len(self._pictures),
            "classes": [readable(name) for name in self.annotations.classes],
            "out": str(self.place.out),
            "following": self.place.following,
        }

    def begins(self) -> bool:
        """Return whether a picture can be decoded; those tried in vain are unreadable from now on. It shows no grid."""
        with self._lock:
            return bool(len(self._next(1).rows)) or len(self.unreadable) < len(self._pictures)

    def shown(self, *, size: int) -> dict[str, object]:
        """Return {"turn", "grid", "progress", "unwritten"}: what is to be labelled now, and why the table is behind."""
        with self._lock:
            if self._turn != self.annotations.turn:
                self._grid, self._turn = self._next(size), self.annotations.turn
            return self._told()

    def progress(self) -> dict[str, object]:
        """Return the counts {"labelled", "presorted", …}, the stage of the sample, and the estimate with its interval."""
        with self._lock:
            notes = self.annotations
            score, skipped = self.estimate()
            return {
                "labelled": int((notes.by == PERSON).sum()),
                "presorted": int((notes.by == PRESORTED).sum()),
                "unusable": int((notes.by == UNUSABLE).sum()) + len(self.unreadable),
                "skipped": notes.of(SKIPPED).tolist()[:1000],
                "sample": int(notes.sample.sum()) - len(self.unreadable & set(np.flatnonzero(notes.sample).tolist())),
                "sampled": int((notes.by[notes.sample] != NONE).sum()),
                "estimate": None if score is None else {**score.json(), "skipped": skipped},
                "counts": notes.counts(),
                "undo": notes.undoable,
            }

    def estimate(self, low: float = 0.0, high: float = 1.0) -> tuple[Score | None, int]:
        """Return how often the head is right on the random sample, with its interval, and how many skipped ones count as wrong.

        low, high: of the pictures whose class it gives a probability between these alone; None before there is a head, and
        before the whole sample was looked at
        """
        notes, head = self.annotations, self._presorting()
        if head is None or len(self._left(sample=True)):
            return None, 0
        rows = np.flatnonzero(notes.sample & np.isin(notes.by, (PERSON, SKIPPED)) & self._presorter.known)
        if not len(rows):
            return None, 0
        p = head.probabilities(rows)
        inside = (p.max(axis=1) >= low) & (p.max(axis=1) <= high)
        right = p.argmax(axis=1) == notes.label[rows]
        skipped = int((notes.by[rows] == SKIPPED)[inside].sum())
        return wilson(int(right[inside].sum()), int(inside.sum())), skipped

    # --- actions ---

    def act(
        self, do: str, rows: list[int], *, turn: int, size: int, label: int = -1, left: Sequence[int] = ()
    ) -> dict[str, object]:
        """Take an action on rows of the grid, and return what is to be labelled then: the rest of the grid, if there is any.

        left: rows that are not of the class which the others are given; they come back in another grid
        Raises `UsageError` (stale, bad-action, ended), `MachineError`: nothing is taken then.
        """
        with self._lock:
            self._may(turn)
            grid, asked = self._grid, self._grid.asked
            if do == "again":
                rows, left, asked = self.annotations.of(SKIPPED).tolist(), (), -1
            elif not {*rows, *left} <= set(grid.rows.tolist()):
                raise UsageError("these pictures are not shown", code="bad-action", hint="load the page again")
            self.annotations.take(Action(do, tuple(rows), label=label, asked=asked, left=tuple(left)))
            self._before.append(grid)
            rest = ~np.isin(grid.rows, [*rows, *left])
            self._grid = Grid(grid.asked, grid.rows[rest], grid.p[rest]) if rest.any() else self._next(size)
            return self._done()

    def undo(self, *, turn: int, size: int) -> dict[str, object]:
        """Take the last action back, and return its grid; of one before a restart, the pictures that it was about."""
        with self._lock:
            self._may(turn)
            action = self.annotations.undo()
            if action is not None and self._before:
                self._grid = self._before.pop()
            elif action is not None and action.do not in ("again", "presort") and (*action.rows, *action.left):
                self._grid = replace(unasked(np.array([*action.rows, *action.left], np.int64)), asked=action.asked)
            else:
                self._grid = self._next(size)
            return self._done()

    def presorted(self, least: float) -> dict[str, object]:
        """Return {"count", "estimate"} of the pictures that the head gives a class with that probability at least.

        The estimate is that of pictures of the sample which the head is as sure of: those of the rest it was surest of have
        been labelled already, so where they lie highest is the most that counts.
        """
        with self._lock:
            rows, _, p = self._presortable(least)
            score, _ = self.estimate(least, float(p.max())) if len(rows) else (None, 0)
            return {"count": len(rows), "estimate": None if score is None or not score.n else score.json()}

    def presort(self, least: float, *, turn: int, size: int) -> dict[str, object]:
        """Take the head's labels of those pictures, as one action, and return what is to be labelled then."""
        with self._lock:
            self._may(turn)
            rows, labels, p = self._presortable(least)
            if len(rows):
                given = tuple(tuple(values.tolist()) for values in (rows, labels, p))
                self.annotations.take(Action("presort", given[0], labels=given[1], p=given[2]))
                self._before.append(self._grid)
            self._grid = self._next(size)
            return self._done()

    def close(self) -> None:
        """Wait until what is being written is written, and take no action from then on."""
        with self._lock:
            self._closed = True

    def _may(self, turn: int) -> None:
        if self._closed:
            raise UsageError("labelling has ended", code="ended", hint="start it again: every action taken before is kept")
        if turn != self.annotations.turn:
            text = "another page on these labels was faster: nothing was taken from this one"
            raise UsageError(text, code="stale", hint="go on in one page only, and load this one again")

    def _done(self) -> dict[str, object]:
        self._turn, self._unwritten = self.annotations.turn, ""
        try:
            self.save()
        except MachineError as error:  # the journal has the action; the table is written with the next one, or at the end
            self._unwritten = f"the labels are kept, but not in the table yet: {error.message} ({error.hint})"
        return self._told()

    def _told(self) -> dict[str, object]:
        grid, notes, keys = self._grid, self.annotations, self._pictures.keys
        shown = [
            {"picture": row, "key": readable(keys[row]), "p": None if p != p else round(p, 3)}
            for row, p in zip(grid.rows.tolist(), grid.p.tolist(), strict=True)
        ]
        sample = bool(len(grid.rows)) and bool(notes.sample[grid.rows].all())
        told = {"asked": grid.asked, "sample": sample, "pictures": shown}
        return {"turn": notes.turn, "grid": told, "progress": self.progress(), "unwritten": self._unwritten}

    # --- what is next ---

    def _left(self, *, sample: bool) -> I64:
        """Return the rows that nobody has said anything about, int64 (M,), of the random sample or of all others."""
        rows = self.annotations.of(NONE, self.annotations.sample == sample)
        return rows[~np.isin(rows, list(self.unreadable))] if self.unreadable else rows

    def _next(self, size: int) -> Grid:
        """Return the next grid, of pictures that can be read."""
        while True:
            rows = self._left(sample=True)
            sample = bool(len(rows))
            rows = rows if sample else self._left(sample=False)
            if not len(rows):
                return NOTHING
            grid = self._chosen(self._some(rows), size, sample=sample)
            bad = {row for row in grid.rows.tolist() if not self._readable(row)}
            if not bad:
                return grid
            self.unreadable |= bad

    def _some(self, rows: I64) -> I64:
        if len(rows) <= LOOKED_AT:
            return rows
        drawn = np.random.default_rng(self.annotations.turn).choice(len(rows), LOOKED_AT, replace=False)
        return rows[np.sort(drawn)]

    def _chosen(self, rows: I64, size: int, *, sample: bool) -> Grid:
        known = rows[self._presorter.known[rows]]
        head = self._grouping() if sample else self._presorting()
        if head is None or not len(known):
            return typical(self._presorter, rows, size)
        p = without(head.probabilities(known), known, self.annotations.rejected)
        return likely(self._presorter, p, known, size)

    def _grouping(self) -> Head | None:
        """Return a head that has learnt from the random sample, to group what is left of it."""
        return self._learnt(sample=True)

    def _presorting(self) -> Head | None:
        """Return the head that has learnt from what a person labelled outside of the random sample."""
        turn, head = self._head
        if turn != self.annotations.turn:
            head = self._learnt(sample=False)
            self._head = (self.annotations.turn, head)
        return head

    def _learnt(self, *, sample: bool) -> Head | None:
        rows = self.annotations.of(PERSON, self.annotations.sample == sample)
        return self._presorter.fitted(rows, self.annotations.label[rows])

    def _presortable(self, least: float) -> tuple[I64, I64, F32]:
        """Return (rows, class, p) of what nobody labelled, outside of the sample, with that probability at least."""
        head, rows = self._presorting(), self._left(sample=False)
        rows = rows[self._presorter.known[rows]]
        if head is None or not len(rows):
            return rows[:0], rows[:0], np.zeros(0, np.float32)
        p = without(head.probabilities(rows), rows, self.annotations.rejected)
        sure = np.flatnonzero(p.max(axis=1) >= least)
        return rows[sure], p[sure].argmax(axis=1).astype(np.int64), p[sure].max(axis=1)

    def _readable(self, row: int) -> bool:
        """Return whether a picture can be decoded; what there are features of could be."""
        if row in self._looked or self._presorter.known[row]:
            return True
        try:
            image.decode(self._pictures.store.read(self._pictures.keys[row]), channels=3)
        except PictureError:
            return False
        self._looked.add(row)
        return True

    # --- the table ---

    def save(self) -> None:
        """Write the table anew, whole, where labels go to a table and there are any. Raises `MachineError`."""
        if self.place.paths and (self.place.out.exists() or (self.annotations.label >= 0).any()):
            write_atomic(self.place.out, self.table())

    def table(self) -> bytes:
        """Return path,label,by,p of what is labelled, and split where the random sample alone can be the test part.

        That is where some pictures were not labelled by a person: those that were are no random draw then, but for the sample.
        """
        notes = self.annotations
        rest = np.isin(notes.by, (NONE, SKIPPED, PRESORTED)) & ~notes.sample
        rest[list(self.unreadable)] = False
        test = bool(rest.any()) and bool(notes.sample.any()) and not len(self._left(sample=True))
        lines = [",".join(("path", "label", "by", "p", "split")[: 5 if test else 4]).encode() + b"\n"]
        for row in np.flatnonzero(notes.label >= 0).tolist():
            state = (int(notes.label[row]), int(notes.by[row]), test)
            held = self._lines.get(row)
            if held is None or held[0] != state:
                held = self._lines[row] = state, self._line(row, test)
            lines.append(held[1])
        return b"".join(lines)

    def _line(self, row: int, test: bool) -> bytes:
        notes = self.annotations
        person = int(notes.by[row]) == PERSON
        split = ["test" if notes.sample[row] else ""] if test else []
        p = "" if person else f"{notes.p[row]:.3f}"
        label = notes.classes[int(notes.label[row])]
        return cells.line([self.place.paths[row], label, "person" if person else "presorted", p, *split]).encode()

    def labelled(self) -> Pictures:
        """Return the pictures that have a label, with it."""
        rows = np.flatnonzero(self.annotations.label >= 0)
        return replace(self._pictures.take(rows), targets=self.annotations.label[rows], classes=self.annotations.classes)
