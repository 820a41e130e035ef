"""The session of a reviewer: the findings, the decisions so far, and the audit.csv that records them.

The whole file is written anew at every decision, to a temporary sibling that takes its place: it is right after a kill at any
moment, nothing has to be folded in, and any program may read it while the review goes on. The lines are kept ready as
bytes, so that a decision among 50,000 findings costs the joining and writing of some megabytes, not the making of them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from beholder.base.arrays import I64, Bools
from beholder.base.errors import DataError, UsageError
from beholder.base.files import write_atomic
from beholder.base.names import readable
from beholder.base.records import PARTS, Finding
from beholder.quality.audit import COLUMNS, DOUBTS, Findings, decided, line
from beholder.quality.boxes import decided_boxes
from beholder.quality.checks import meaning
from beholder.quality.decisions import REVIEWED, row_of
from beholder.review.boxes import LONGEST, counted, drawn, is_there

Change = tuple[int, str] | tuple[int, str, str]
"""(row of the picture, keep | drop | relabel:CLASS | "" = undecided again); about one of its boxes with the box's name."""

Step = list[tuple[int, str, str]]
"""Changes with the name of a box, "" where they are about the picture as a whole."""


@dataclass(frozen=True)
class View:
    """Which findings to show. check, label: "" = all; show: all | open | decided."""

    check: str = ""
    label: str = ""
    show: str = "all"


class Session:
    """The state of one review; every method may be called from several threads.

    findings: those about pictures are numbered 0..n-1 by check, doubts of labels first, and within a check the surest first
    path:     where audit.csv is written
    Raises `DataError` (other-audit) where the findings are about pictures of another source.
    """

    def __init__(self, findings: Findings, path: Path) -> None:
        self.pictures, self.path = findings.pictures, path
        self.rows = _sorted([row for row in findings.rows if row.picture and row.check != REVIEWED])
        self.remarks = [row for row in findings.rows if not row.picture]
        self.checks = list(dict.fromkeys(row.check for row in self.rows))
        named = {name for row in findings.rows for name in (row.picture, row.other) if name}
        self._number = {key: i for i, key in enumerate(self.pictures.keys) if key in named}
        self._key = {i: key for key, i in self._number.items()}
        _refuse_strangers({name for row in self.rows for name in (row.picture, row.other) if name}, self._number, path)
        self._of = np.array([self._number[row.picture] for row in self.rows], np.int64)
        self._check = np.array([self.checks.index(row.check) for row in self.rows], np.int64)
        self._able = np.array([self._can(row) for row in self.rows], np.bool_)
        self.decisions = decided(findings.rows)
        self.boxes = decided_boxes(findings.rows)
        self._named = {(row.picture, row.box) for row in self.rows}
        self._undo: list[Step] = []
        self._lock = threading.RLock()
        self._closed = False
        self._where: dict[str, list[int]] = {}
        for place, row in enumerate(self.rows):
            self._where.setdefault(row.picture, []).append(place)
        self._lines = [self._line(row) for row in self.rows]
        self._head = (",".join(COLUMNS) + "\n" + "".join(line(row) for row in self.remarks)).encode("utf-8", "surrogateescape")

    # --- what there is ---

    def view(self, view: View) -> dict[str, object]:
        """Return {"ids", "pictures", "open", "able"}: numbers of the findings and rows of their pictures.

        open: "1" for each not yet decided; able: "1" for each whose suggestion can be accepted
        """
        with self._lock:
            ids = self._ids(view)
            pictures = self._of[ids]
            waiting, able = self._waiting()[ids], self._able[ids]
        return {"ids": ids.tolist(), "pictures": pictures.tolist(), "open": _flags(waiting), "able": _flags(able)}

    def findings(self, ids: Iterable[int]) -> list[dict[str, object]]:
        """Return what the page shows of these findings; numbers out of range are left out."""
        with self._lock:
            return [self._shown(i) for i in ids if 0 <= i < len(self.rows)]

    def summary(self) -> dict[str, object]:
        """Return {"pictures", "classes", "checks", "remarks", "multi", …} and the progress."""
        counts = np.bincount(self._check, minlength=len(self.checks)).tolist()
        checks = [{"name": name, "count": n, **meaning(name)} for name, n in zip(self.checks, counts, strict=True)]
        return {
            "source": Path(self.pictures.store.name).name or self.pictures.store.name,
            "pictures": len(self.pictures),
            "multi": self.pictures.multi,
            "boxed": self.pictures.boxes is not None,
            "classes": [readable(name) for name in self.pictures.classes],
            "checks": checks,
            "remarks": [{"check": row.check, "verdict": row.verdict} for row in self.remarks],
            "audit": str(self.path),
            **self.progress(),
        }

    def progress(self) -> dict[str, object]:
        """Return {"findings", "decided", "kept", "dropped", "relabelled", "undo", "waiting"}.

        findings, decided: how many there are, and how many of them a person has decided about; waiting: check → the others
        kept, dropped, relabelled: pictures, those that only another's finding names among them: what `clean` will do
        """
        with self._lock:
            kinds = [what.partition(":")[0] for what in self.decisions.values()]
            waiting = np.bincount(self._check[self._waiting()], minlength=len(self.checks)).tolist()
            return {
                "findings": len(self.rows),
                "decided": len(self.rows) - sum(waiting),
                "kept": kinds.count("keep"),
                "dropped": kinds.count("drop"),
                "relabelled": kinds.count("relabel"),
                "undo": len(self._undo),
                "waiting": dict(zip(self.checks, waiting, strict=True)),
                **({} if self.pictures.boxes is None else {"boxes": counted(self.boxes)}),
            }

    def knows(self, picture: int) -> bool:
        """Return True where a finding names the picture in that row of the source."""
        return picture in self._key

    # --- decisions ---

    def decide(self, changes: Sequence[Change]) -> None:
        """Take decisions as one step, and write them. Raises `UsageError` (bad-decision), `MachineError`: nothing is taken."""
        step: Step = [(change[0], change[1], change[2] if len(change) == 3 else "") for change in changes]
        for picture, what, box in step:
            self._refuse(picture, what, box)
        with self._lock:
            before = [(picture, self._said(self._key[picture], box), box) for picture, _, box in step]
            if before != step:
                self._take(step, before)
                self._undo.append(before)

    def accept(self, view: View) -> int:
        """Take the suggestions of all findings in view that are not yet decided, as one step; return of how many pictures.

        A picture that a person has to look at (`review`) stays undecided, unless it is to be dropped anyway.
        """
        with self._lock:
            asked: dict[tuple[int, str], str] = {}
            ids = self._ids(View(view.check, view.label, "open"))
            looked_at = {(int(self._of[i]), self.rows[i].box) for i in np.flatnonzero(~self._able).tolist()}
            for i in ids[self._able[ids]].tolist():
                of, what = (int(self._of[i]), self.rows[i].box), self.rows[i].suggestion
                if what == "drop" or (asked.get(of, "keep") == "keep" and (what != "keep" or of not in looked_at)):
                    asked[of] = what
            self.decide([(picture, what, box) for (picture, box), what in asked.items()])
            return len({picture for picture, _ in asked})

    def undo(self) -> list[int]:
        """Take the last step back; return the rows of its pictures, none where there is nothing to take back."""
        with self._lock:
            if not self._undo:
                return []
            step = self._undo[-1]
            self._take(step, [(picture, self._said(self._key[picture], box), box) for picture, _, box in step])
            self._undo.pop()
            return [picture for picture, _, _ in step]

    def save(self) -> None:
        """Write audit.csv. Raises `MachineError`."""
        with self._lock:
            every = [(key, "", what) for key, what in self.decisions.items()]
            every += [(key, box, what) for key, of in self.boxes.items() for box, what in of.items()]
            extra = [row_of(key, what, box) for key, box, what in every if (key, box) not in self._named]
            tail = "".join(line(row) for row in extra).encode("utf-8", "surrogateescape")
            write_atomic(self.path, b"".join((self._head, *self._lines, tail)))

    def close(self) -> None:
        """Wait until what is being written is written, and take no decision from then on."""
        with self._lock:
            self._closed = True

    def drawn(self, picture: int) -> dict[str, object]:
        """Return {"width", "height", "boxes"} of a picture: see `beholder.review.boxes.drawn`."""
        key = self._key[picture]
        with self._lock:
            names = [self.rows[place].box for place in self._where.get(key, ()) if self.rows[place].box]
            return drawn(self.pictures, picture, names, self.boxes.get(key, {}))

    def _take(self, changes: Step, before: Step) -> None:
        if self._closed:
            raise UsageError("the review has ended", code="ended", hint="start it again: every decision taken before is kept")
        try:
            self._put(changes)
            self.save()
        except BaseException:
            self._put(before)
            raise

    def _said(self, key: str, box: str) -> str:
        return self.boxes.get(key, {}).get(box, "") if box else self.decisions.get(key, "")

    def _put(self, changes: Step) -> None:
        for picture, what, box in changes:
            key = self._key[picture]
            of, name = (self.boxes.setdefault(key, {}), box) if box else (self.decisions, key)
            if what:
                of[name] = what
            else:
                of.pop(name, None)
            for place in self._where.get(key, ()):
                self._lines[place] = self._line(self.rows[place])

    def _refuse(self, picture: int, what: str, box: str) -> None:
        label = what.partition(":")[2] if what.startswith("relabel:") else None
        usual = label in self.pictures.classes
        plain = usual or (label is not None and 0 < len(label) <= LONGEST and label.isprintable() and label == label.strip())
        able = is_there(self.pictures, picture, box) if box else not self.pictures.multi
        known = self.knows(picture) and (not box or able)
        if not known or not (what in ("", "keep", "drop") or (plain and able)):
            raise UsageError(f"'{what}' is no decision about picture {picture}", code="bad-decision")

    # --- within ---

    def _ids(self, view: View) -> I64:
        mask = np.ones(len(self.rows), np.bool_)
        if view.check:
            mask &= self._check == (self.checks.index(view.check) if view.check in self.checks else -1)
        if view.label:
            names = [readable(name) for name in self.pictures.classes]
            k = names.index(view.label) if view.label in names else -1
            targets = self.pictures.targets[self._of]
            mask &= (targets[:, k] != 0 if self.pictures.multi else targets == k) if k >= 0 else False
        if view.show in ("open", "decided"):
            mask &= self._waiting() == (view.show == "open")
        return np.flatnonzero(mask)

    def _can(self, row: Finding) -> bool:
        """Return whether the suggestion can be accepted: it says what to do, and it can be done to these pictures."""
        labelled = row.suggestion.startswith("relabel:")
        return row.suggestion != "review" and not (self.pictures.multi and labelled and not row.box)

    def _waiting(self) -> Bools:
        """Return bool (n,): which findings are about a picture, or a box of one that stays, that nobody has decided about."""
        return np.fromiter((not self._settled(row) for row in self.rows), np.bool_, len(self.rows))

    def _settled(self, row: Finding) -> bool:
        if not row.box:
            return row.picture in self.decisions
        return row.box in self.boxes.get(row.picture, ()) or self.decisions.get(row.picture) == "drop"

    def _line(self, row: Finding) -> bytes:
        return line(replace(row, decided=self._said(row.picture, row.box))).encode("utf-8", "surrogateescape")

    def _shown(self, i: int) -> dict[str, object]:
        row = self.rows[i]
        other = self._number.get(row.other, -1)
        shown = {
            "id": i, "check": row.check, "score": round(row.score, 4), "verdict": row.verdict,
            "suggestion": row.suggestion, **self._picture(int(self._of[i])),
        }  # fmt: skip
        of_box = {"box": row.box, "decided": self._said(row.picture, row.box)} if row.box else {}
        return {**shown, **of_box, "other": self._picture(other) if other >= 0 else None}

    def _picture(self, number: int) -> dict[str, object]:
        part, key = int(self.pictures.parts[number]), self._key[number]
        return {
            "picture": number,
            "key": readable(key),
            "label": "; ".join(map(readable, self.pictures.labels(number))),
            "part": PARTS[part] if part >= 0 else "",
            "decided": self.decisions.get(key, ""),
        }


def _flags(which: Bools) -> str:
    return (which.astype(np.uint8) + ord("0")).tobytes().decode()


def _sorted(rows: list[Finding]) -> list[Finding]:
    order = {name: k for k, name in enumerate(dict.fromkeys((*DOUBTS, *(row.check for row in rows))))}
    return sorted(rows, key=lambda row: (order[row.check], -round(row.score, 2)))


def _refuse_strangers(named: set[str], known: dict[str, int], path: Path) -> None:
    strange = sorted(named - set(known))
    if strange:
        text = f"{path} names {len(strange):,} pictures that are not in the source, such as {readable(strange[0])}"
        hint = "it is of another source or an older one: choose another file with --out, or audit again without --web"
        raise DataError(text, code="other-audit", hint=hint)
