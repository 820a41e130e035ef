"""The verb `label`: a person labels pictures in the browser, and a head on cached features presorts them."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from beholder.base import events
from beholder.base.arrays import F16, Bools
from beholder.base.brief import shown
from beholder.base.errors import DataError, UsageError
from beholder.base.files import write_atomic
from beholder.base.locks import alone
from beholder.base.names import composed, readable
from beholder.base.numbers import check_seed
from beholder.base.recipe import load
from beholder.base.records import Pictures, Score
from beholder.quality.audit import Findings
from beholder.quality.clean import clean
from beholder.review.door import opened
from beholder.review.labelling import LabelServer
from beholder.sources import labels, manifest, table
from beholder.sources.digest import digested
from beholder.sources.listing import some
from beholder.sources.titles import is_title
from beholder.study.annotations import NONE, PERSON, PRESORTED, SKIPPED, UNUSABLE, Annotations, begun, continued, journal_of
from beholder.study.introduce import introduced
from beholder.study.labelling import Place, Session
from beholder.study.presort import Presorter

LEAST = 20
"""Pictures below which there is no head and no random sample: all of them are labelled in a minute."""

SAMPLE, SHARE = 100, 0.2
"""Pictures of the random sample at most, and its share of few: at 90 % right, 100 leave ± 6 points, and 1,000 would leave ± 2
for ten times the work; of what there is to label, no more than a fifth teaches the head nothing."""

MOST, LONGEST = 200, 200
"""Classes at most, and letters of a class's name."""


@dataclass(frozen=True)
class Labelled:
    """What came of labelling.

    out: the table or folder, which is there if anything was labelled; pictures: how many there are; labelled: by a person
    presorted: by the head, as a person asked it to; unusable: left out, those that cannot be read among them; left: the others
    classes: class → how many were labelled so, presorted ones too; estimate: how often the head is right on the random sample
    """

    out: Path
    pictures: int
    labelled: int
    presorted: int
    unusable: int
    left: int
    classes: dict[str, int]
    estimate: Score | None = None

    __repr__ = shown

    def json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        estimate = None if self.estimate is None else self.estimate.json()
        return {**vars(self), "out": str(self.out), "estimate": estimate}

    def __str__(self) -> str:
        counts = [f"{self.labelled:,} labelled by a person", f"{self.unusable:,} unusable", f"{self.left:,} left"]
        if self.presorted:
            counts.insert(1, f"{self.presorted:,} presorted")
        said = [f"{self.pictures:,} pictures: {', '.join(counts)}"]
        if self.estimate is not None:
            said.append(f"presorting is right on {self.estimate} of the random sample")
        if self.labelled or self.presorted:
            said.append(f"next: beholder train {shlex.quote(str(self.out))}")
        return "\n".join(said)


def label(
    folder: str | Path,
    *,
    classes: str | Sequence[str] = (),
    out: str | Path = "labels.csv",
    minutes: float = 10.0,
    seed: int = 0,
    port: int = 0,
    ready: Callable[[str], None] | None = None,
    allow_download: bool = False,
) -> Labelled:
    """Serve the labelling page on loopback until the person finishes, or presses Ctrl-C; every action is on the disk at once.

    folder: what `scan` takes without labels, and is only read; classes: their names, in a list or with commas between (a name
    with a comma in double quotes); (): those of labels that are gone on with
    out: a table NAME.csv, written at every action, or a new folder of class folders with copies, written at the end. Where a
    journal of earlier actions lies beside it, they are gone on with
    minutes: what the features of the pictures may take (0: as long as they need); seed: of the random sample and the clusters
    port: 0 = any that is free; ready: called with the page's address
    allow_download: fetch a source that is not on this machine
    Raises what `scan` raises, `UsageError` (bad-seed, one-class, bad-classes, other-classes, inside-source, exists, in-use,
    port-taken), `DataError` (bad-journal, other-labels, all-unreadable), `MachineError`.
    """
    check_seed(seed)
    out = Path(out)
    names = named(classes, out)
    _check_place(out, folder, names)
    with alone(out):
        pictures = digested(_sayable(_found(folder, allow_download), out))
        place = _place(pictures, out, folder)
        notes = continued(journal_of(out), pictures.keys, names)
        notes = _gone_on(notes, out) if notes else _begun(pictures, names, out, seed)
        presorter = Presorter(_features(pictures, minutes), len(notes.classes), seed=seed)
        session = Session(pictures, notes, presorter, place)
        _check_readable(session)
        _keep_other(session)
        session.save()
        server = opened(lambda: LabelServer(session, port=port), port)
        server.run(what="labelling", said=f"Ctrl-C ends it; {journal_of(out)} holds every action at once", ready=ready)
        return _finished(session)


# --- before ---


def named(classes: str | Sequence[str], out: Path) -> tuple[str, ...]:
    """Return the names of the classes, in the Unicode form in which names are compared; () for none.

    Raises `UsageError` (bad-classes, one-class) for names that no label can have, or that would be read back as others.
    """
    hint = "--classes cat,dog,other; a name with a comma in double quotes"
    try:
        given = next(csv.reader([classes], skipinitialspace=True), []) if isinstance(classes, str) else list(classes)
    except csv.Error as error:  # a line break outside of quotes
        raise UsageError("the names of the classes hold a line break", code="bad-classes", hint=hint) from error
    names = [composed(name.strip()) for name in given]
    if not names:
        return ()
    for name in names:
        if not (0 < len(name) <= LONGEST and name.isprintable() and readable(name) == name):
            said = f"'{readable(name).encode('unicode_escape').decode()}' is no name of a class"
            raise UsageError(said, code="bad-classes", hint=f"{hint}; no line breaks, at most {LONGEST} letters")
    twice = [name for at, name in enumerate(names) if name in names[:at]]
    if twice:
        raise UsageError(f"the class '{twice[0]}' is named twice", code="bad-classes", hint=hint)
    if len(names) == 1:
        text = f"'{names[0]}' alone is nothing to tell apart"
        raise UsageError(text, code="one-class", hint=f"name two classes at least, such as {names[0]},other")
    if len(names) > MOST:
        raise UsageError(f"{len(names):,} classes are too many: {MOST} at most", code="bad-classes", hint="label groups first")
    if out.suffix.lower() == ".csv" or not all(map(is_title, names)):
        _check_read_back(names, out)
    return tuple(names)


def _check_read_back(names: Sequence[str], out: Path) -> None:
    """Raise `UsageError` (bad-classes) where a table with these labels would be read as one with others."""
    rows = [table.Row(f"{at}.jpg", (name,), -1, "") for at, name in enumerate(names)]
    with events.listen(alone=True):
        try:
            manifest.text(rows, "labels.csv")
            said = labels.read(dict.fromkeys(names, 1), where="labels.csv").names
            odd = [name for name in names if said[name] != name]
        except DataError:
            odd = [name for name in names if any(mark in name for mark in ";|,/ ")] or list(names)
    if odd:
        other = "" if out.suffix.lower() != ".csv" else ", or write class folders with --out FOLDER"
        raise UsageError(
            f"a table would not give these class names back as they are: {some(odd)}",
            code="bad-classes",
            hint=f"rename them, without ; | and words that mean no label{other}",
        )


def _check_place(out: Path, folder: object, names: Sequence[str]) -> None:
    """Raise where nothing can be written, or what is there is not from labelling; or no class is named for new labels."""
    before = journal_of(out).exists()
    try:
        manifest.check_place(out, folder)
    except UsageError as error:
        table_of_ours = before and out.suffix.lower() == ".csv" and out.is_file()
        if error.code != "exists" or not table_of_ours:
            raise
    if before:
        return
    manifest.check_place(journal_of(out), folder)
    if not names:
        raise UsageError("there are no classes to label with", code="no-classes", hint="name them: --classes cat,dog,other")


def _found(folder: str | Path, allow_download: bool) -> Pictures:
    try:
        return introduced(folder, labels=False, allow_download=allow_download)
    except (UsageError, DataError) as error:
        if error.code not in ("path-missing", "no-pictures", "unknown-source"):
            raise
        error.hint = "name a folder that holds pictures, at any depth, or a zip or tar of one"
        raise


def _sayable(pictures: Pictures, out: Path) -> Pictures:
    """Return the pictures whose names a table can hold, and warn of the others."""
    if out.suffix.lower() != ".csv":
        return pictures
    odd = [row for row, key in enumerate(pictures.keys) if readable(key) != key or not key.isprintable()]
    if not odd:
        return pictures
    some_of = some([readable(pictures.keys[row]) for row in odd])
    events.warn(
        f"{len(odd):,} pictures have names that a table cannot hold, and are left out: {some_of}",
        hint="rename them, or write class folders with --out FOLDER",
    )
    kept = pictures.take(np.setdiff1d(np.arange(len(pictures)), odd))
    if not len(kept):
        raise DataError("no picture is left", code="no-pictures", hint="write class folders with --out FOLDER")
    return kept


def _begun(pictures: Pictures, names: Sequence[str], out: Path, seed: int) -> Annotations:
    sample = sampled(len(pictures), seed)
    if count := int(sample.sum()):
        events.note(f"{count:,} of {len(pictures):,} pictures, drawn at random, are set aside to tell how good presorting is")
    return begun(journal_of(out), pictures.keys, names, sample)


def sampled(n: int, seed: int) -> Bools:
    """Return the uniform random sample of n pictures that is set aside, bool (n,); none of it where they are few."""
    count = min(SAMPLE, round(SHARE * n)) if n >= LEAST else 0
    chosen = np.zeros(n, np.bool_)
    chosen[np.random.default_rng([seed, 0x5A]).choice(n, count, replace=False)] = True
    return chosen


def _gone_on(notes: Annotations, out: Path) -> Annotations:
    events.note(f"going on with {out}: {int((notes.by == PERSON).sum()):,} pictures are labelled")
    if notes.missing:
        hint = "their labels are left out, and are back when the pictures are"
        events.warn(f"{notes.missing:,} pictures that were labelled are no longer there", hint=hint)
    return notes


def _features(pictures: Pictures, minutes: float) -> F16:
    """Return the features of the net at hand, float16 (N, F), rows of NaN for what it had no time for; F = 0: of none."""
    none = np.zeros((len(pictures), 0), np.float16)
    if len(pictures) < LEAST:
        events.note(f"fewer than {LEAST} pictures: they are shown as they come, without a net that presorts them")
        return none
    from beholder.data.survey import survey
    from beholder.study.evidence import at_hand, features_of

    recipe = load("quick")
    looked = survey(pictures)
    backbone = at_hand(recipe.net, looked, small=True)
    if backbone is None:
        events.warn("no pretrained net is at hand: pictures are shown as they come", hint="see beholder nets")
        return none
    found = features_of(pictures, backbone, recipe, looked, minutes).astype(np.float16)
    if silent := int(np.isnan(found).any(axis=1).sum()) if found.shape[1] else len(found):
        hint = "those there was no time for come last; what was computed is remembered: --minutes gives more"
        events.warn(f"{silent:,} pictures were not looked at by the net, or cannot be read", hint=hint)
    return found


def _place(pictures: Pictures, out: Path, folder: str | Path) -> Place:
    is_table = out.suffix.lower() == ".csv"
    paths = manifest.paths(pictures, out, otherwise="or class folders: --out FOLDER") if is_table else ()
    name = Path(pictures.store.name).name or str(folder)
    return Place(out, paths, readable(name), f"beholder train {shlex.quote(str(out))}")


def _check_readable(session: Session) -> None:
    """Raise `DataError` (all-unreadable) where no picture can be decoded."""
    if not session.begins():
        raise DataError("not one picture can be read", code="all-unreadable", hint="check the folder")


def _keep_other(session: Session) -> None:
    """Move a table aside that says something else than the journal: another program, or a person, has changed it."""
    out = session.place.out
    if not session.place.paths or not out.exists():
        return
    data = out.read_bytes()
    if data == session.table():
        return
    aside = next(path for n in range(1, 10_000) if not (path := out.with_name(f"{out.stem}.{n}{out.suffix}")).exists())
    write_atomic(aside, data)
    events.warn(
        f"{out} says something else than {journal_of(out)}, which is gone on with; as it was it is kept in {aside}",
        hint="it was changed elsewhere, or written just before a kill",
    )


# --- after ---


def _finished(session: Session) -> Labelled:
    notes, out = session.annotations, session.place.out
    session.save()  # where the disk was full for a while the table is behind
    found = session.labelled()
    if len(found) and not session.place.paths:
        clean(found, apply=Findings(found, (), {}), out=out)
    counts = found.counts().tolist()
    usable = ~np.isin(np.arange(len(notes.by)), list(session.unreadable))
    return Labelled(
        out,
        len(session.pictures),
        labelled=len(notes.of(PERSON)),
        presorted=len(notes.of(PRESORTED)),
        unusable=len(notes.of(UNUSABLE)) + len(session.unreadable),
        left=len(notes.of(NONE, usable)) + len(notes.of(SKIPPED)),
        classes={readable(name): count for name, count in zip(notes.classes, counts, strict=True)},
        estimate=session.estimate()[0],
    )
