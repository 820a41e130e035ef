"""What the audit decided with the time that it had, kept with a run or a search and replayed when that goes on.

An audit under a budget looks at the pictures that there is time for, and what it sees decides which are left out, which belong
together, and so which part each is in. Another time it sees more, or less: what is found then is told, but what is done is what
was done, or the run would not be the same run any more.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base import events
from beholder.base.arrays import I8, I64, U8
from beholder.base.deadline import Deadline
from beholder.base.files import sha256, write_atomic
from beholder.base.recipe import Recipe
from beholder.base.records import PARTS, Parts, Pictures
from beholder.learn.prepare import Before, Prepared, prepare
from beholder.learn.resumed import names_of, parts_kept, sample_of
from beholder.sources.digest import digested
from beholder.study.policy import Curated

Arrays = Mapping[str, npt.NDArray[Any]]


def replayed(curated: Curated, known: Arrays) -> Curated:
    """Return the parts, labels and groups that a run had, with what was done then; known: as `parts_kept` returns it.

    Pictures that are not there any more are missing; others are left out. Without an audit nothing depends on time.
    """
    if curated.findings is None:
        return curated
    whole = digested(curated.findings.pictures)
    rows = rows_of(whole, known["digests"], known["names"])
    there = np.flatnonzero(rows >= 0)
    rows, part, targets = rows[there], known["parts"][there], known["targets"][there]
    classes = tuple(known["classes"].tolist())
    targets = np.unpackbits(targets, axis=1, count=len(classes)) if whole.multi else targets
    first = curated.parts.train
    own = replace(whole.take(rows), store=first.store, classes=classes, notes=first.notes)
    own = replace(own, targets=targets, groups=known["groups"][there])
    done = _done(curated, whole, rows, own, part)
    if done != curated.done:
        events.note("audit: what was done when this began is done again; what is seen only now changes none of it")
    return replace(curated, parts=Parts(*(own.take(np.flatnonzero(part == k)) for k in range(len(PARTS)))), done=done)


def rows_of(pictures: Pictures, digests: U8, names: U8 | None = None) -> I64:
    """Return the row of each digest, uint8 (M, 32), among the pictures, int64 (M,): each row once; -1 where there is none.

    names: uint8 (M, 4), as `resumed.names_of` has them: of several pictures with the same bytes the one that is called so
    """
    assert pictures.digests is not None
    ways = [(pictures.digests, digests)]
    if names is not None:
        ways.insert(0, (np.hstack([pictures.digests, names_of(pictures.keys)]), np.hstack([digests, names])))
    found, free = np.full(len(digests), -1, np.int64), np.arange(len(pictures))
    for theirs, wanted in ways:
        places: dict[bytes, deque[int]] = {}
        for row in free.tolist():
            places.setdefault(theirs[row].tobytes(), deque()).append(row)
        for at in np.flatnonzero(found < 0).tolist():
            if left := places.get(wanted[at].tobytes()):
                found[at] = left.popleft()
        free = np.setdiff1d(free, found)
    return found


def _done(curated: Curated, whole: Pictures, rows: I64, own: Pictures, part: I8) -> dict[str, str]:
    """Return picture → drop | relabel:CLASS | move:PART, as `Curated.done` has it, by what became of each picture."""
    assert curated.findings is not None
    done = {row.picture: "drop" for row in curated.findings.only(["unreadable"]).rows}
    done |= {whole.keys[row]: "drop" for row in np.setdiff1d(np.arange(len(whole)), rows).tolist()}
    ended = dict(zip(own.keys, part.tolist(), strict=True))
    moved = {key: what for key, what in curated.done.items() if what.startswith("move:") and key in ended}
    done |= {key: what for key, what in moved.items() if PARTS[ended[key]] == what.partition(":")[2]}
    if not whole.multi:
        before, now = np.array(whole.classes)[whole.targets[rows]], np.array(own.classes)[own.targets]
        done |= {own.keys[at]: f"relabel:{now[at]}" for at in np.flatnonzero(before != now).tolist()}
    return done


def begun(found: Curated, asked: Recipe, folder: Path, how: str, until: Deadline) -> tuple[Curated, Prepared]:
    """Return the parts, and the recipe as it is, prepared: as the search in the folder had both; of a new one they are kept.

    how: ranges and limits, with which a search is another one
    """
    of = sha256((asked.toml() + how + content(found)).encode())
    found, before = recorded(folder, of, found)
    base = prepare(found.parts, asked, until=until, before=before)
    if before is None:
        record(folder, of, found, base)
    return found, base


def record(folder: Path, of: str, curated: Curated, base: Prepared) -> None:
    """Keep in the folder of a search what was decided by measuring; of: what the search is of, without these decisions."""
    chosen = {"of": of, "width": base.recipe.net.width, "batch": base.plan.batch}
    chosen["flips"] = " ".join(base.plan.augment.axes) or "none"
    taken = {f"sample_{name}": digests for name, digests in sample_of(base).items()}
    buffer = io.BytesIO()
    np.savez(buffer, chosen=np.array(json.dumps(chosen)), **taken, **parts_kept(curated.parts))  # type: ignore[arg-type]
    write_atomic(folder / "decided.npz", buffer.getvalue())


def recorded(folder: Path, of: str, curated: Curated) -> tuple[Curated, Before | None]:
    """Return the parts as the search in the folder had them, and what it chose; of another search, the parts as they are."""
    try:
        with np.load(folder / "decided.npz", allow_pickle=False) as found:
            known = {name: found[name] for name in found.files}
            chosen = json.loads(str(known["chosen"]))
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError):
        return curated, None
    if chosen["of"] != of:
        return curated, None
    sample = {name: known[f"sample_{name}"] for name in ("train", "valid")}
    return replayed(curated, known), Before(sample, chosen["width"], chosen["batch"], chosen["flips"])


def content(curated: Curated) -> str:
    """Return the SHA-256 of what the source holds, whatever an audit had time to see of it: pictures, labels, parts, groups."""
    held = curated.parts.items() if curated.findings is None else (("whole", curated.findings.pictures),)
    found = [repr(curated.findings and curated.findings.pictures.classes).encode("utf-8", "surrogateescape")]
    for pictures in (digested(each) for _, each in held):
        columns = (pictures.digests, pictures.targets, pictures.parts, pictures.groups)
        found += [np.ascontiguousarray(each).tobytes() for each in columns]
    return sha256(b"".join(found))
