"""Answers, features and facts of very many pictures, in ranges: one Parquet part a range, renamed when it is whole.

Whatever dies, a part is there whole or not at all, and what goes on computes the others: each picture is in exactly one row.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from beholder.base import events
from beholder.base.errors import MachineError, UsageError
from beholder.base.limits import LIMITS
from beholder.base.locks import alone
from beholder.base.names import Names
from beholder.machine.launch import Launch, launched
from beholder.machine.spread import spread
from beholder.machine.stop import stopping
from beholder.study import plan as plans
from beholder.study.columns import BOXES, FACTS_OF, LABELS, about, arrow
from beholder.study.listed import Source, listed
from beholder.study.plan import Plan

WORK = "beholder.study.range_work:work"

FEW = 64
"""Pictures up to which trying engines does not pay."""


@dataclass(frozen=True)
class InParts:
    """What lies in a folder of parts.

    folder: where; files: its parts, in the order of the source; pictures: rows of all, one each
    errors: how many pictures have no answer, by the code of their error
    """

    folder: Path
    files: tuple[Path, ...]
    pictures: int
    errors: Mapping[str, int]

    @property
    def answered(self) -> int:
        """Return how many pictures have no error."""
        return self.pictures - sum(self.errors.values())

    def json(self) -> dict[str, Any]:
        """Return {"folder", "parts", "pictures", "answered", "errors"} as plain JSON values; parts: how many there are."""
        counts = {"parts": len(self.files), "pictures": self.pictures, "answered": self.answered}
        return {"folder": str(self.folder), **counts, "errors": dict(self.errors)}

    def __str__(self) -> str:
        bad = sum(self.errors.values())
        codes = f" ({', '.join(f'{code} {n:,}' for code, n in sorted(self.errors.items()))})" if bad else ""
        where = f"{self.folder}, {len(self.files):,} parts"
        return f"{self.pictures:,} pictures: {self.answered:,} answered, {bad:,} with errors{codes}; {where}"


def predict_parts(
    model: str | Path,
    source: Source,
    folder: str | Path,
    *,
    launch: str = "",
    ranges: int = 0,
    features: bool = False,
    threshold: float | None = None,
    most: int | None = None,
    engine: str = "exact",
    trust: bool = False,
    allow_download: bool = False,
) -> InParts:
    """Write what a model says of very many pictures into Parquet parts, and return what lies there: a row a picture.

    Run again, it goes on: parts that are whole stay. Each is there whole or not at all, whatever dies.
    model: the path of a bundle or an exported file; source: as of `scan`, or a list of pictures and folders
    folder: of the parts; of columns and guarantees docs/SCALING.md tells
    launch: local:N works in N processes of this machine, ray or ray:N in tasks of a cluster; "": in this process
    ranges: how many parts there are to be, 0: by the number of pictures; features: a column of those of the net too
    threshold, most: as of `predict`; engine: exact, fast, or a name, as of the command; trust: as of `load`
    allow_download: fetch a source that is not on this machine, in each process
    Raises `UsageError` (other-plan where the folder was begun with another model, source or version; in-use; no-pyarrow),
    `MachineError` (ranges-failed where some were given up) and what `load` and `scan` raise.
    """
    path = _place(model)
    kind = BOXES if _finds_boxes(path) else LABELS
    _check(kind, features, threshold, most)
    found = listed(source, allow_download=allow_download)
    asked = {"model": plans.model_digest(path), "engine": engine, "features": features, "threshold": threshold, "most": most}
    how: dict[str, Any] = {"model": str(path), "trust": trust, "allow_download": allow_download}
    begun = Plan(kind, asked, len(found.keys), 0, found.source, found.root, found.prefix, 0, found.labels, **how)

    def opened() -> Plan:
        return _with_model(begun, engine, features)

    return carried_out(begun, opened, found.keys, Path(folder), launch=launch, ranges=ranges, words="predicting")


def _place(model: str | Path) -> Path:
    """Return where a model lies. Raises `UsageError` (no-bundle) for one that is in memory."""
    if not isinstance(model, (str, os.PathLike)):
        hint = "save it, and give its path: workers load it"
        raise UsageError(f"{type(model).__name__} is no path of a model", code="no-bundle", hint=hint)
    return Path(model).expanduser().absolute()


def _finds_boxes(path: Path) -> bool:
    from beholder.runtime.finders import finds_boxes

    return finds_boxes(path)


def _check(kind: str, features: bool, threshold: float | None, most: int | None) -> None:
    """Raise `UsageError` (unused-option) for options of the other kind of models."""
    if kind == LABELS and (threshold is not None or most is not None):
        raise UsageError("threshold and most are for detectors", code="unused-option", hint="leave them out for labels")
    if kind == BOXES and features:
        raise UsageError("features are for models of labels", code="unused-option", hint="leave them out for a detector")
    if kind == BOXES:
        from beholder.bundle.finder import check_asked

        check_asked(threshold, most)


def _with_model(begun: Plan, asked: str, features: bool) -> Plan:
    """Return a plan with what its model says of itself, and the engine that every worker takes."""
    from beholder.runtime.exports import weights

    found: Any
    if begun.kind == BOXES:
        from beholder.runtime.finders import fastest_finder

        found = fastest_finder(begun.model, engine=asked, trust=begun.trust, probe=begun.pictures > FEW)
        net, width = str(found.config.net.backbone), 0
    else:
        from beholder.runtime.engines import fastest

        found = fastest(begun.model, engine=asked, trust=begun.trust, probe=begun.pictures > FEW)
        pixels = found.policy
        blank = np.zeros((1, pixels.channels, pixels.height, pixels.width), np.uint8)
        net, width = found.config.net.name, found.outputs(blank)[1].shape[1] if features else 0
    events.note(f"engine: {found.engine}")
    sha = weights(found.config)
    return replace(begun, engine=found.engine, features=width, net=net, weights=sha, classes=list(found.classes))


def carried_out(
    begun: Plan, opened: Callable[[], Plan], keys: Names, folder: Path, *, launch: str, ranges: int, words: str
) -> InParts:
    """Compute what is not there yet, in the folder that nobody else may write to meanwhile, and return what lies there.

    begun: the plan without ranges; opened: makes it whole where it is new; words: what is done
    """
    where = launched(launch)
    arrow()
    millions = LIMITS.pixels // 1_000_000
    asked = {**begun.asked, "source": plans.digest(keys), "pixels": millions, "versions": plans.versions()}
    begun = replace(begun, asked=asked, size=plans.size_of(begun.pictures, ranges), millions=millions)
    with stopping(), _held(folder):
        plan = plans.read(folder)
        if plan is not None:
            plan = _went_on(plan, begun, ranges, folder)
        else:
            found = opened()
            plan = replace(found, asked=asked, size=begun.size, millions=millions)
        if plan != plans.read(folder):
            plans.write(folder, plan, keys)
        _sweep(folder)
        digests = plans.digests(plan, keys)
        failed = _computed(folder, plan, digests, where, words)
        _sweep(folder)
        whole = _whole(folder, plan, digests)
        if failed or len(whole) < plan.ranges:
            raise _incomplete(folder, plan, failed, len(whole))
    return _told(folder, plan, whole)


def _sweep(folder: Path) -> None:
    """Delete what was left half written by workers that were killed, on whatever machine."""
    for left in folder.glob(".part-*.tmp"):
        left.unlink(missing_ok=True)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold the folder alone, and make it. Raises `UsageError` (in-use)."""
    try:
        with alone(folder):
            folder.mkdir(parents=True, exist_ok=True)
            yield
    except UsageError as error:
        if error.code == "in-use":
            error.hint = "wait until it is done or end it, or choose another folder"
        raise


def _went_on(before: Plan, now: Plan, ranges: int, folder: Path) -> Plan:
    """Return the plan of an earlier run, to go on with. Raises `UsageError` (other-plan) where something else is asked for."""
    other = [name for name in {**before.asked, **now.asked} if before.asked.get(name) != now.asked.get(name)]
    if ranges and before.size != now.size:
        other.append("ranges")
    if before.kind != now.kind or other:
        what = f"for {before.kind}" if before.kind != now.kind else f"with other {', '.join(other)}"
        if other == ["source"]:
            what += f": {before.pictures:,} pictures then, {now.pictures:,} now"
        if other == ["versions"]:
            old, new = before.asked["versions"], now.asked["versions"]
            what += ": " + ", ".join(f"{name} {old.get(name)}, now {new[name]}" for name in new if old.get(name) != new[name])
        hint = "give another folder for the parts, or ask for the same again"
        raise UsageError(f"the parts in {folder} were begun {what}", code="other-plan", hint=hint)
    places = {name: getattr(now, name) for name in ("model", "trust", "source", "root", "allow_download")}
    return replace(before, **places)


def _computed(folder: Path, plan: Plan, digests: Sequence[str], launch: Launch, words: str) -> list[str]:
    """Compute the ranges that have no whole part, and return why some were given up."""
    whole = _whole(folder, plan, digests)
    todo = [index for index in range(plan.ranges) if index not in whole]
    if whole and todo:
        events.note(f"going on: {len(whole):,} of {plan.ranges:,} parts are whole")
    before = through = sum(found["rows"] for found in whole.values())
    began, done, failed = time.monotonic(), Counter[int](), list[str]()
    with closing(spread(WORK, str(folder.absolute()), todo, launch, gpu=plan.kind != FACTS_OF)) as heard:  # type: ignore[type-var]
        for each in heard:
            through += each.done - done[each.index]
            done[each.index] = each.done
            if each.failed:
                failed.append(f"range {each.index}: {each.failed}")
            rate = (through - before) / max(1e-9, time.monotonic() - began)
            left = {"left": (plan.pictures - through) / rate} if rate > 0 else {}
            events.progress(words, through, plan.pictures, rate=rate, **left)
    return failed


def _whole(folder: Path, plan: Plan, digests: Sequence[str]) -> dict[int, dict[str, Any]]:
    """Return the metadata of the parts that are whole and of their range, by its number; others are deleted."""
    found = {}
    for index, digest in enumerate(digests):
        path = folder / plan.name(index)
        said = about(path) if path.exists() else None
        start, stop = plan.within(index)
        if said is not None and said.get("digest") == digest and said["rows"] == stop - start:
            found[index] = said
        else:
            path.unlink(missing_ok=True)
    return found


def _incomplete(folder: Path, plan: Plan, failed: Sequence[str], whole: int) -> MachineError:
    if not failed:
        hint = "the folder has to be on a disk that all machines share, under the same path"
        text = f"{plan.ranges - whole:,} parts that workers wrote are not in {folder}"
        return MachineError(text, code="not-shared", hint=hint)
    some = "; ".join(failed[:3]) + (f"; and {len(failed) - 3:,} more" if len(failed) > 3 else "")
    text = f"{len(failed):,} of {plan.ranges:,} ranges were given up: {some}"
    return MachineError(text, code="ranges-failed", hint="run again: the parts that are whole stay")


def _told(folder: Path, plan: Plan, whole: Mapping[int, Mapping[str, Any]]) -> InParts:
    errors: Counter[str] = Counter()
    for said in whole.values():
        errors.update(said["errors"])
    files = tuple(folder / plan.name(index) for index in range(plan.ranges))
    return InParts(folder, files, plan.pictures, dict(errors))
