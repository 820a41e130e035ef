"""The audit of a source: what its files, pixels and labels say, with what a net is needed for computed on the way."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence, Set
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base import events, memo
from beholder.base.errors import UsageError
from beholder.base.files import check_writable
from beholder.base.limits import allow_as
from beholder.base.recipe import Recipe
from beholder.base.records import Finding, Pictures
from beholder.base.renamed import current
from beholder.base.used import changed, refuse
from beholder.data.groups import named_groups
from beholder.duplicates.facts import Facts, Thumbnails, fingerprinted
from beholder.duplicates.near import Twins, twins
from beholder.machine.folders import cache_folder
from beholder.quality import checks as built_in
from beholder.quality.audit import Findings
from beholder.quality.audit import audit as run_checks
from beholder.quality.checks import CHECKS, Check, Evidence
from beholder.quality.decisions import continued, reopened
from beholder.sources import scan
from beholder.study.introduce import introduced

MINUTES = 1.0
"""About what the nets of an audit may take, where nobody says otherwise."""


def audit(
    source: str | Path | tuple[Any, Any] | Pictures,
    *,
    checks: Sequence[str] | None = None,
    recipe: Recipe | str = "quick",
    minutes: float = MINUTES,
    seed: int = 0,
    parts: str | Path | None = None,
    launch: str = "",
    ranges: int = 0,
    allow_download: bool = False,
    **fields: Any,
) -> Findings:
    """Return what is wrong with the pictures and labels of a source.

    source:  what `scan` takes, or Pictures; checks: their names, all by default
    recipe:  of which the net, its weights and the pixels count; `fields` change it by name: weights="…", net="timm:…"
    minutes: about what the nets may take that judge the labels (0: as long as they need)
    seed:    of the folds and the nets trained in them; allow_download: fetch a source that is not on this machine
    parts:   a folder where the facts of very many pictures are kept in ranges, so that a second run goes on; launch, ranges:
             as of `predict_parts`

    Nothing of the source is changed. Raises what `scan` raises, and `UsageError` for a check that there is none of, and for a
    field that an audit does not use.
    """
    refuse("audit", fields)
    asked = changed(recipe, {**fields, "seed": seed})
    allow_as(asked.data)
    pictures = introduced(source, labels=None, allow_download=allow_download)
    if asked.net.name != "auto":
        from beholder.nets.build import known

        asked = replace(asked, net=known(asked.net))
    pictures, rows = named_groups(pictures, asked.data.group_from), None
    if parts is not None:
        from beholder.study.measured import measured

        pictures, rows = measured(pictures, source, Path(parts), launch=launch, ranges=ranges, allow_download=allow_download)
    elif launch or ranges:
        raise UsageError("launch and ranges are for parts", code="unused-option", hint="name their folder: parts, --parts")
    return examined(pictures, asked, checks=checks, minutes=minutes, boxed=True, measured=rows)


def audited(
    source: str,
    out: Path,
    *,
    go_on: bool = False,
    checks: Sequence[str] | None = None,
    recipe: Recipe | str = "quick",
    minutes: float = MINUTES,
    seed: int = 0,
    parts: Path | None = None,
    launch: str = "",
    ranges: int = 0,
    allow_download: bool = False,
) -> Findings:
    """Audit a source and write audit.csv to `out`; decisions that a person took in an older one there are kept.

    go_on: read the audit.csv that is at `out` instead, unless `checks` asks for a new audit
    Raises what `audit` raises, `MachineError` (cannot-write) before it begins, and `DataError` (bad-audit, other-audit)
    before it overwrites what is not an audit of it.
    """
    check_writable(out, file=True)
    if out.exists():
        before = reopened(scan(source, labels=None, allow_download=allow_download), out)
        if go_on and not checks:
            events.note(f"going on with {out}; without --web, or after it is moved away, the source is audited anew")
            return before
    found = audit(
        source,
        checks=checks,
        recipe=recipe,
        minutes=minutes,
        seed=seed,
        parts=parts,
        launch=launch,
        ranges=ranges,
        allow_download=allow_download,
    )
    findings = continued(found, out)
    findings.save(out)
    return findings


def examined(
    pictures: Pictures,
    recipe: Recipe,
    *,
    checks: Sequence[str] | None = None,
    minutes: float = MINUTES,
    from_scratch: bool = True,
    measured: Facts | None = None,
    known: Twins | None = None,
    near: bool = True,
    small: Thumbnails | None = None,
    like: Pictures | None = None,
    boxed: bool = False,
) -> Findings:
    """Return what the checks find in pictures, with the net, the weights and the seed of `recipe`.

    from_scratch: train nets in folds where no pretrained one is at hand, rather than leave those checks out, with a note
    measured, known: the facts of the pictures and who is whose duplicate, where that was found out before
    near: look for near-duplicates too, not for exact ones alone; small: thumbnails that were made with the facts
    like: the pictures by which training will decide about pixels; None: these
    boxed: train detectors in folds to judge boxes by, and compare what boxes of several parts show
    """
    names = list(CHECKS.sound(of=Check) if checks is None else (current("check", name) for name in checks))
    needed = {need for name in names for need in CHECKS.load(name, of=Check).needs}
    evidence = _first_look(pictures, measured, known, small, near=near, alike="twins" in needed)
    if not pictures.labelled:
        needed, from_scratch = needed - {"probabilities"}, False
    began = time.monotonic()
    nets = bool(needed & {"features", "probabilities"})
    if nets:
        from beholder.study.evidence import gathered  # with torch, which most checks do without

        evidence = gathered(evidence, recipe, needed=needed, minutes=minutes, from_scratch=from_scratch, like=like)
    if detectors := boxed and pictures.boxes is not None and bool(needed & {"found", "crops"}):
        evidence = _with_boxes(evidence, recipe, needed, minutes, spent=(time.monotonic() - began) / 60)
    if nets or detectors:
        return run_checks(evidence, names=names)
    if not set(names) <= set(CHECKS.builtin):  # of plug-ins nobody here knows when they change
        return run_checks(evidence, names=names)
    return _found_once(evidence, names)


def _first_look(
    pictures: Pictures, measured: Facts | None, known: Twins | None, small: Thumbnails | None, *, near: bool, alike: bool
) -> Evidence:
    """Return the evidence that needs no net: facts, and where `alike` who is whose duplicate."""
    if small is None and near and known is None and alike:
        small = Thumbnails()
    if measured is None:
        pictures, measured = fingerprinted(pictures, small=small)
    if known is None and alike:
        known = twins(pictures, measured, near=near, small=small)
    return Evidence(pictures, measured, twins=known)


def _with_boxes(evidence: Evidence, recipe: Recipe, needed: Set[str], minutes: float, *, spent: float) -> Evidence:
    """Return the evidence with what detectors in folds find; spent: of the minutes, on labels."""
    from beholder.study.boxed import boxed  # with torch

    return boxed(evidence, recipe, needed=set(needed), minutes=minutes, spent=spent)


def _found_once(evidence: Evidence, names: Sequence[str]) -> Findings:
    """Return the findings of these checks in this evidence, remembered from an earlier run where there was one."""
    path = _place(evidence, names)
    if (before := _remembered(path, evidence)) is not None:
        return before
    findings = run_checks(evidence, names=names)
    held = {"rows": [asdict(row) for row in findings.rows], "looked": findings.looked, "notes": findings.notes}
    memo.keep_record(path, held, what="findings")
    return findings


def _place(evidence: Evidence, names: Sequence[str]) -> Path:
    """Return where the findings of these checks in this evidence are remembered: a second run need not judge again."""
    pictures, twins = evidence.pictures, evidence.twins
    made = [file.stat().st_mtime_ns for file in sorted(Path(built_in.__file__).parent.glob("*.py"))]
    content = hashlib.sha256(json.dumps([names, made, pictures.classes]).encode())
    content.update("\0".join(pictures.keys).encode("utf-8", "surrogateescape"))
    arrays: list[npt.NDArray[Any]] = [evidence.facts, pictures.targets, pictures.parts, pictures.groups]
    if (boxes := pictures.boxes) is not None:
        arrays += [boxes.corners, boxes.classes, boxes.crowd, boxes.starts, boxes.sizes]
    if twins is not None:
        measured = (twins.light, twins.least, twins.turns)
        arrays += [twins.kinds, twins.near, twins.scores, *(column for column in measured if column is not None)]
    for array in arrays:
        content.update(np.ascontiguousarray(array).data)
    return cache_folder() / "findings" / f"{content.hexdigest()[:32]}.json"


def _remembered(path: Path, evidence: Evidence) -> Findings | None:
    held = memo.record(path)
    try:
        rows = tuple(Finding(**row) for row in held["rows"])
        return Findings(evidence.pictures, rows, dict(held["looked"]), tuple(held["notes"]), evidence.twins)
    except (KeyError, TypeError):
        return None


def with_nets() -> tuple[str, ...]:
    """Return the names of the checks that need what a net says of the pictures."""
    with events.only():  # who takes all of them is told of those that cannot be loaded
        checks: dict[str, Check] = CHECKS.sound(of=Check)
    return tuple(name for name, check in checks.items() if {"features", "probabilities", "found", "crops"} & set(check.needs))
