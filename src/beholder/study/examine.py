"""The audit of a source: what its files, pixels and labels say, with what a net is needed for computed on the way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base import events, memo
from beholder.base.files import cache_folder, check_writable
from beholder.base.recipe import Recipe, load
from beholder.base.records import Finding, Pictures
from beholder.data import checks as built_in
from beholder.data.audit import Findings
from beholder.data.audit import audit as run_checks
from beholder.data.checks import CHECKS, Evidence
from beholder.data.decisions import continued, reopened
from beholder.data.digest import digested
from beholder.data.facts import Facts, Thumbnails, facts
from beholder.data.sources import scan
from beholder.data.twins import Twins, twins

MINUTES = 10.0
"""About what the nets of an audit may take, where nobody says otherwise."""


def audit(
    source: str | Path | tuple[Any, Any] | Pictures,
    *,
    checks: Sequence[str] | None = None,
    recipe: Recipe | str = "quick",
    minutes: float = MINUTES,
    seed: int = 0,
    allow_download: bool = False,
    **fields: Any,
) -> Findings:
    """Return what is wrong with the pictures and labels of a source.

    source:  what `scan` takes, or Pictures; checks: their names, all by default
    recipe:  of which the net, its weights and the pixels count; `fields` change it by name: weights="…", net="timm:…"
    minutes: about what the nets may take that judge the labels (0: as long as they need)
    seed:    of the folds and the nets trained in them; allow_download: fetch a source that is not on this machine

    Nothing of the source is changed. Raises what `scan` raises, and `UsageError` for a check that there is none of.
    """
    pictures = digested(source if isinstance(source, Pictures) else scan(source, allow_download=allow_download))
    asked = (recipe if isinstance(recipe, Recipe) else load(recipe)).set(**fields, seed=seed)
    return examined(pictures, asked, checks=checks, minutes=minutes)


def audited(
    source: str,
    out: Path,
    *,
    go_on: bool = False,
    checks: Sequence[str] | None = None,
    recipe: Recipe | str = "quick",
    minutes: float = MINUTES,
    seed: int = 0,
    allow_download: bool = False,
) -> Findings:
    """Audit a source and write audit.csv to `out`; decisions that a person took in an older one there are kept.

    go_on: read the audit.csv that is at `out` instead, unless `checks` asks for a new audit
    Raises what `audit` raises, `MachineError` (cannot-write) before it begins, and `DataError` (bad-audit, other-audit)
    before it overwrites what is not an audit of it.
    """
    check_writable(out, file=True)
    if out.exists():
        before = reopened(scan(source, allow_download=allow_download), out)
        if go_on and not checks:
            events.note(f"going on with {out}; without --web, or after it is moved away, the source is audited anew")
            return before
    found = audit(source, checks=checks, recipe=recipe, minutes=minutes, seed=seed, allow_download=allow_download)
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
) -> Findings:
    """Return what the checks find in pictures with digests, with the net, the weights and the seed of `recipe`.

    from_scratch: train nets in folds where no pretrained one is at hand, rather than leave those checks out, with a note
    measured, known: the facts of the pictures and who is whose twin, where that was found out before
    near: look for near twins too, not for exact ones alone; small: thumbnails that were made with the facts
    """
    names = CHECKS.names() if checks is None else list(checks)
    needed = {need for name in names for need in CHECKS.load(name).needs}
    if small is None and near and known is None and "twins" in needed:
        small = Thumbnails()
    found = facts(pictures, small=small) if measured is None else measured
    if known is None and "twins" in needed:
        known = twins(pictures, found, near=near, small=small)
    del small
    evidence = Evidence(pictures, found, twins=known)
    if needed & {"features", "probabilities"}:
        from beholder.study.evidence import gathered  # with torch, which most checks do without

        evidence = gathered(evidence, recipe, needed=needed, minutes=minutes, from_scratch=from_scratch)
        return run_checks(evidence, names=names)
    if not set(names) <= set(CHECKS.builtin):  # of plug-ins nobody here knows when they change
        return run_checks(evidence, names=names)
    path = _place(evidence, names)
    before = _remembered(path, evidence)
    if before is not None:
        return before
    findings = run_checks(evidence, names=names)
    _remember(path, findings)
    return findings


def _place(evidence: Evidence, names: Sequence[str]) -> Path:
    """Return where the findings of these checks in this evidence are remembered: a second run need not judge again."""
    pictures, twins = evidence.pictures, evidence.twins
    made = [file.stat().st_mtime_ns for file in sorted(Path(built_in.__file__).parent.glob("*.py"))]
    content = hashlib.sha256(json.dumps([names, made, pictures.classes]).encode())
    content.update("\0".join(pictures.keys).encode("utf-8", "surrogateescape"))
    arrays: list[npt.NDArray[Any]] = [evidence.facts, pictures.targets, pictures.parts, pictures.groups]
    if twins is not None:
        arrays += [twins.kinds, twins.near, twins.scores, *([] if twins.light is None else [twins.light])]
    for array in arrays:
        content.update(np.ascontiguousarray(array).data)
    return cache_folder() / "findings" / f"{content.hexdigest()[:32]}.json"


def _remembered(path: Path, evidence: Evidence) -> Findings | None:
    data = memo.read(path)
    try:
        held = json.loads(data or b"")
        rows = tuple(Finding(**row) for row in held["rows"])
        return Findings(evidence.pictures, rows, dict(held["looked"]), tuple(held["notes"]), evidence.twins)
    except (ValueError, KeyError, TypeError):
        return None


def _remember(path: Path, findings: Findings) -> None:
    held = {"rows": [asdict(row) for row in findings.rows], "looked": findings.looked, "notes": findings.notes}
    memo.keep(path, json.dumps(held).encode(), what="findings")


def with_nets() -> tuple[str, ...]:
    """Return the names of the checks that need what a net says of the pictures."""
    return tuple(name for name in CHECKS.names() if {"features", "probabilities"} & set(CHECKS.load(name).needs))
