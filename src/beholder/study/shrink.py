"""The verb `shrink`: fewer training pictures, chosen by chance, by how hard they are, by what they show, or by both."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from beholder.base import events
from beholder.base.arrays import I64
from beholder.base.brief import within
from beholder.base.deadline import Deadline
from beholder.base.errors import DataError, UsageError, did_you_mean
from beholder.base.files import check_writable
from beholder.base.limits import allow_as
from beholder.base.names import readable
from beholder.base.recipe import Recipe
from beholder.base.records import Parts, Pictures
from beholder.base.used import changed
from beholder.data.select import FEATURED, SCORED, WAYS, Ground, select, strata_of
from beholder.duplicates.facts import fingerprinted
from beholder.machine.pace import calm
from beholder.machine.stop import stopping
from beholder.sources import manifest
from beholder.study.difficulty import Looks, duplicates_of, looked
from beholder.study.kept import Kept, kept
from beholder.study.policy import Curated
from beholder.study.setting import joined, setting, tied
from beholder.study.steps import check_net, preprocess

MINUTES = 10.0
"""What all of it may take, where nobody says otherwise."""

OPENING, LOOKING = 0.3, 0.5
"""Shares of the time left: to find out which pictures can be read, and for scores and features where a curve is to follow."""


@dataclass(frozen=True, eq=False)
class Shrunk:
    """A source with fewer training pictures; validation and test are as they were.

    parts: what is left, to be trained on; by, balanced: how it was chosen; way: what scores or features came from, "" = neither
    rows: a row per class: its training pictures, and how many of them are kept
    doubles: near-duplicates of pictures that stay, which are left out; curve: accuracy against the share kept, if asked for
    out: the table that was written, or None
    """

    parts: Parts
    by: str
    balanced: bool
    way: str
    rows: tuple[dict[str, Any], ...]
    of: int
    doubles: int
    curve: Kept | None
    out: Path | None
    notes: tuple[str, ...] = field(default=())
    seconds: float = 0.0

    def __repr__(self) -> str:
        return within("Shrunk", [f"{len(self.parts.train):,} of {self.of:,} training pictures, {self.by}", repr(self.parts)])

    @property
    def pictures(self) -> Pictures:
        """Return the pictures of all three parts, each with its part."""
        return joined(joined(self.parts.train, self.parts.valid)[0], self.parts.test)[0]

    def json(self) -> dict[str, Any]:
        """Return the result as plain JSON values; "curve" only where there is one."""
        return {
            "by": self.by,
            "balanced": self.balanced,
            "way": self.way,
            "kept": len(self.parts.train),
            "of": self.of,
            "near_duplicates_left_out": self.doubles,
            "parts": {name: len(part) for name, part in self.parts.items()},
            "classes": [{**row, "class": readable(row["class"])} for row in self.rows],
            **({} if self.curve is None else {"curve": self.curve.json()}),
            "out": None if self.out is None else str(self.out),
            "notes": list(self.notes),
            "seconds": round(self.seconds, 2),
        }

    def sentences(self) -> list[str]:
        """Return what was done, in sentences."""
        how = f"{self.by}, balanced" if self.balanced else self.by
        said = [f"{len(self.parts.train):,} of {self.of:,} training pictures are kept ({how}{_by(self.way)})."]
        if self.doubles:
            said.append(f"{self.doubles:,} of those left out are near-duplicates of pictures that stay.")
        rest = f"{len(self.parts.valid):,} for validation and {len(self.parts.test):,} for the test"
        said.append(f"The pictures of the other parts all stay: {rest}.")
        if self.out is not None:
            said.append(f"{self.out} names them with their parts: train on it.")
        return said

    def __str__(self) -> str:
        curve = [] if self.curve is None else self.curve.sentences()
        return "\n".join([*self.sentences(), *curve, *self.notes])

    def save(self, path: str | Path) -> Path:
        """Write path,label,split[,group] of all that stays, which `scan` and `train` take; return the path.

        Raises `UsageError` (no-files: they are no files that a table can name), `DataError` (bad-names), `MachineError`.
        """
        manifest.write(self.pictures, Path(path), otherwise="or unpack the archive")
        return Path(path)


def _by(way: str) -> str:
    return f"; by {way}" if way else ""


def shrink(
    source: str | Path | tuple[Any, Any] | Pictures,
    *,
    keep: float,
    by: str = "mixed",
    balanced: bool = False,
    out: str | Path | None = None,
    curve: bool = False,
    train: bool = False,
    minutes: float = MINUTES,
    recipe: Recipe | str = "quick",
    began: float | None = None,
    allow_download: bool = False,
    **fields: Any,
) -> Shrunk:
    """Return a source with fewer training pictures; validation and test pictures stay, and the test part is not looked at.

    source: what `scan` takes, or Pictures; it is split as `train` splits it with the same seed
    keep: the share of the training pictures that can be read, in (0, 1], or how many, above 1
    by: random | hard | spread | mixed (see `beholder.data.select`); balanced: as many of each class, as far as there are
    out: write the table there, NAME.csv; nothing is overwritten, and no place inside the source is taken
    curve: also measure accuracy against the share kept, beside random; train: by trained nets, not heads on frozen features
    minutes: what all of it may take (0: as long as it needs); began: `time.monotonic()` from which they count; default now
    recipe, fields: as `steps` takes them: seed=1, net="timm:…", audit="off", …

    Raises what `scan` and `split` raise, `UsageError` (bad-keep, keep-too-small, bad-by, unused-option, exists, inside-source,
    no-files, no-features), `DataError` (too-few-pictures).
    """
    began = time.monotonic() if began is None else began
    _check(keep, by, curve, train, minutes)
    asked = check_net(changed(recipe, fields, verb="shrink --train" if train else "shrink --curve" if curve else "shrink"))
    allow_as(asked.data)
    place, until = None if out is None else _place(Path(out), source, page=curve), Deadline.of(began, minutes)
    with stopping(), calm():
        found = preprocess(source, asked, allow_download=allow_download, until=until)
        if place is not None:
            for part in (found.parts.train, found.parts.valid, found.parts.test):
                manifest.data_of(part, place, otherwise="or unpack the archive")
        shrunk = _shrunk(found, asked, keep, by, balanced, until, curve=curve, train=train)
        written = None if place is None else shrunk.save(place)
        return replace(shrunk, out=written, seconds=time.monotonic() - began)


def _check(keep: float, by: str, curve: bool, train: bool, minutes: float) -> None:
    if by not in WAYS:
        raise UsageError(f"there is no way '{by}' to choose pictures", code="bad-by", hint=did_you_mean(by, WAYS))
    if not (0 < keep < math.inf) or (keep > 1 and keep != int(keep)):
        hint = "a share of the training pictures in 0 to 1, such as 0.5, or how many, a whole number above 1"
        raise UsageError(f"keep cannot be {keep:g}", code="bad-keep", hint=hint)
    if train and not curve:
        hint = "it says how the curve is measured: give --curve (curve=True) too"
        raise UsageError("--train (train=True) has no effect without a curve", code="unused-option", hint=hint)
    if minutes < 0:
        raise UsageError(f"shrink cannot take {minutes:g} minutes", code="bad-minutes", hint="0 is as long as it needs")


def _place(out: Path, source: object, *, page: bool) -> Path:
    """Return where the table is written. Raises `UsageError` (bad-out, …) where it cannot be."""
    if out.suffix.lower() != ".csv":
        hint = f"the result is a table: --out {out.with_suffix('.csv').name}"
        raise UsageError(f"{out} is no name of a table", code="bad-out", hint=hint)
    manifest.check_place(out, source)
    if page:
        check_writable(page_of(out), file=True)
    return out


def page_of(out: Path) -> Path:
    """Return where the page of a curve is written, beside the table."""
    return out.with_suffix(".html")


def _shrunk(
    found: Curated, recipe: Recipe, keep: float, by: str, balanced: bool, until: Deadline, *, curve: bool, train: bool
) -> Shrunk:
    """Return the parts with fewer training pictures, and the curve where it is asked for."""
    whole = found.parts.train
    opening = until if until.none else until.within(OPENING * until.left)
    readable_rows = np.flatnonzero(fingerprinted(whole, until=opening)[1]["error"] == b"")
    parts = replace(found.parts, train=whole.take(readable_rows))
    pictures, twins = parts.train, tied(found, parts.train)
    strata, notes = strata_of(pictures.targets), _unread(len(whole) - len(pictures))
    count = count_of(keep, len(pictures), strata)
    looks = None
    if by != "random":
        first = until if until.none or not curve else until.within(LOOKING * until.left)
        looks = looked(parts, recipe, first, judged=by in SCORED, twins=twins)
        notes += _unseen(len(pictures) - len(looks.rows))
    units = duplicates_of(pictures, twins)
    rows = chosen(by, strata, units, looks, count, seed=recipe.seed, balanced=balanced)
    drawn = None
    if curve:
        at = setting(found, recipe, train=train, until=until)
        drawn = kept(at, by, looks, pictures, tied(found, at.pictures), recipe, until, balanced=balanced)
    gone = np.setdiff1d(np.arange(len(pictures)), rows)
    doubles = int(np.isin(units[gone], units[rows]).sum())
    left = replace(parts, train=pictures.take(rows))
    notes.append("The test part was not looked at.")
    way = "" if looks is None else looks.way
    return Shrunk(left, by, balanced, way, _rows(pictures, left.train), len(pictures), doubles, drawn, None, tuple(notes))


def count_of(keep: float, n: int, strata: I64) -> int:
    """Return how many of n pictures are kept. Raises `UsageError` (bad-keep, keep-too-small)."""
    count = round(keep * n) if keep <= 1 else int(keep)
    if count > n:
        hint = "--keep 1 (keep=1) keeps all of them"
        raise UsageError(f"there are {n:,} training pictures, of which {count:,} cannot be kept", code="bad-keep", hint=hint)
    least = len(np.unique(strata))
    if count < least:
        what = f"{count:,} of {n:,} training pictures are too few for one of each of {least:,} classes"
        hint = f"--keep {max(2, least)} is the least"
        raise UsageError(what, code="keep-too-small", hint=hint)
    return count


def chosen(by: str, strata: I64, units: I64, looks: Looks | None, count: int, *, seed: int, balanced: bool) -> I64:
    """Return which pictures are kept, int64 (count,) rising.

    Of pictures there was no time to look at, the same share is kept, drawn by chance.
    """
    if looks is None or by not in (*SCORED, *FEATURED):
        return select("random", Ground(strata, units), count, seed=seed, balanced=balanced)
    seen, rest = looks.rows, np.setdiff1d(np.arange(len(strata)), looks.rows)
    if not len(seen):
        raise DataError("there was no time to look at any picture", code="no-time", hint="give more --minutes, or --by random")
    n = min(len(seen), max(count - len(rest), round(count * len(seen) / len(strata))))
    directions = looks.directions if by in FEATURED else None
    ground = Ground(strata[seen], units[seen], looks.scores, directions)
    found = [seen[select(by, ground, n, seed=seed, balanced=balanced)]]
    if n < count:
        found.append(rest[select("random", Ground(strata[rest], units[rest]), count - n, seed=seed, balanced=balanced)])
    return np.sort(np.concatenate(found))


def _rows(before: Pictures, after: Pictures) -> tuple[dict[str, Any], ...]:
    counts = zip(before.classes, before.counts().tolist(), after.counts().tolist(), strict=True)
    return tuple({"class": name, "pictures": had, "kept": has} for name, had, has in counts)


def _unread(n: int) -> list[str]:
    said = f"{n:,} training pictures cannot be read and are left out."
    if n:
        events.warn(said, hint="beholder audit says why")
    return [said] * bool(n)


def _unseen(n: int) -> list[str]:
    said = f"There was no time to look at {n:,} training pictures: of these as large a share is kept, drawn by chance."
    if n:
        events.warn(said, hint="give more --minutes")
    return [said] * bool(n)
