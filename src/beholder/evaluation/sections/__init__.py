"""Sections of a test beyond the scores: calibration, selective prediction, robustness, OOD detection, slices, cost.

A section is a function that takes a `Bundle` and its `Evaluation` and returns plain JSON values, or None where it does not
apply; its module has a line in `SECTIONS` (or an entry point of the group `beholder.sections`), its figures stand in
`Evaluation.sections`, in scores.json and in the report under its name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beholder.base import events
from beholder.base.deadline import NEVER, Deadline
from beholder.base.errors import BeholderError
from beholder.base.registry import Registry
from beholder.base.renamed import current
from beholder.machine.stop import check_stop

if TYPE_CHECKING:
    from beholder.bundle.bundle import Bundle
    from beholder.evaluation.evaluate import Evaluation

Section = Callable[..., dict[str, Any] | None]

SECTIONS = Registry(
    "section",
    {
        "calibration": "beholder.evaluation.sections.calibration:calibration",
        "selective": "beholder.evaluation.sections.selective:selective",
        "shortcuts": "beholder.evaluation.sections.shortcuts:shortcuts",
        "reuse": "beholder.evaluation.sections.reuse:reuse",
        "ood": "beholder.evaluation.sections.ood:out_of_distribution",
        "slices": "beholder.evaluation.sections.slices:slices",
        "corruptions": "beholder.evaluation.sections.corruptions:corruptions",
        "cost": "beholder.evaluation.sections.cost:cost",
    },
)

DEAR = frozenset({"corruptions", "cost"})
"""Sections that take much longer than the test itself; `evaluate --sections all` runs them too."""


PICTURES = frozenset({"ood", "slices", "corruptions", "cost"})
"""Sections that give the net more pictures, or compare many groups of them: the first to be left out where time is short."""


def chosen(words: str) -> list[str]:
    """Return the names of the sections that `words` asks for: none | usual | all | names with commas between.

    Raises `UsageError` for an unknown name.
    """
    if words in ("none", "usual", "all"):
        names = [] if words == "none" else SECTIONS.names()
        return [name for name in names if words == "all" or name not in DEAR]
    names = [current("section", name.strip()) for name in words.split(",") if name.strip()]
    for name in names:
        SECTIONS.load(name)
    return names


def looked(n: int) -> int:
    """Return to how many pictures the time of the usual sections and of the report's heat maps comes, where `n` are tested.

    Three built-in out-of-distribution sets, of 100 pictures at most; a heat map of each of 24 mistakes, at thrice the time.
    """
    return 3 * min(n, 100) + 3 * min(n, 24)


def examined(
    bundle: Bundle,
    evaluation: Evaluation,
    names: Sequence[str],
    *,
    ood: Sequence[str | Path] = (),
    until: Deadline = NEVER,
    allow_download: bool = False,
) -> Evaluation:
    """Return the evaluation with the sections `names`; one that fails warns and is left out, the others stay.

    until: when they should be over: those that there is no time for are left out, and that is said
    ood: sources of pictures of none of the classes; where there are some, the section `ood` is among the names.
    allow_download: fetch those of them that are not on this machine
    """
    given: dict[str, dict[str, Any]] = {"ood": {"sources": ood, "allow_download": allow_download}} if ood else {}
    if not until.none and "ood" in (*names, *given):
        given["ood"] = {**given.get("ood", {}), "until": until}
    if not until.none:
        given |= {"shortcuts": {"until": until}} if "shortcuts" in names else {}
    late = []
    for name in dict.fromkeys(name for name in (*names, *given) if name not in bundle.task.without):
        if until.passed and name in PICTURES:
            late.append(name)
            continue
        try:
            section = SECTIONS.load(name)(bundle, evaluation, **given.get(name, {}))
            with SECTIONS.guarded(name):
                json.dumps(section, allow_nan=False)  # it is to stand in scores.json
        except BeholderError as error:
            events.warn(f"the section '{name}' is left out: {error.message}", hint=error.hint)
            continue
        check_stop()
        if section is not None:
            evaluation = replace(evaluation, sections={**evaluation.sections, name: section})
    if late:
        events.warn(f"no time was left for the sections {', '.join(late)}", hint="beholder evaluate runs them")
    return evaluation
