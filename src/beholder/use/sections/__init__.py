"""What a test says beyond its scores, one section each: how sure, how robust, how strange, how dear.

A section is a function that takes a `Bundle` and its `Evaluation` and returns plain JSON values, or None where it does not
apply; its module has a line in `SECTIONS` (or an entry point of the group `beholder.sections`), its figures stand in
`Evaluation.sections`, in scores.json and in the report under its name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beholder.base import events
from beholder.base.errors import BeholderError
from beholder.base.registry import Registry

if TYPE_CHECKING:
    from beholder.bundle.bundle import Bundle
    from beholder.use.evaluate import Evaluation

Section = Callable[..., dict[str, Any] | None]

SECTIONS = Registry(
    "section",
    {
        "calibration": "beholder.use.sections.calibration:calibration",
        "abstention": "beholder.use.sections.abstention:abstention",
        "sealed": "beholder.use.sections.sealed:sealed",
        "strangers": "beholder.use.sections.strangers:strangers",
        "slices": "beholder.use.sections.slices:slices",
        "corruptions": "beholder.use.sections.corruptions:corruptions",
        "cost": "beholder.use.sections.cost:cost",
    },
)

DEAR = frozenset({"corruptions", "cost"})
"""Sections that take much longer than the test itself; `evaluate --sections all` runs them too."""


def chosen(words: str) -> list[str]:
    """Return the names of the sections that `words` asks for: none | usual | all | names with commas between.

    Raises `UsageError` for an unknown name.
    """
    if words in ("none", "usual", "all"):
        names = [] if words == "none" else SECTIONS.names()
        return [name for name in names if words == "all" or name not in DEAR]
    names = [name.strip() for name in words.split(",") if name.strip()]
    for name in names:
        SECTIONS.load(name)
    return names


def looked(n: int) -> int:
    """Return to how many pictures the time of the usual sections and of the report's heat maps comes, where `n` are tested.

    Three built-in sets of strangers, of 100 pictures at most; a heat map of each of 24 mistakes, at thrice the time.
    """
    return 3 * min(n, 100) + 3 * min(n, 24)


def examined(
    bundle: Bundle, evaluation: Evaluation, names: Sequence[str], *, strangers: Sequence[str | Path] = ()
) -> Evaluation:
    """Return the evaluation with the sections `names`; one that fails warns and is left out, the others stay.

    strangers: sources of pictures of none of the classes; where there are some, the section `strangers` is among the names.
    """
    given: dict[str, dict[str, Any]] = {"strangers": {"sources": strangers}} if strangers else {}
    for name in dict.fromkeys([*names, *given]):
        try:
            section = SECTIONS.load(name)(bundle, evaluation, **given.get(name, {}))
        except BeholderError as error:
            events.warn(f"the section '{name}' is left out: {error.message}", hint=error.hint)
            continue
        if section is not None:
            evaluation = replace(evaluation, sections={**evaluation.sections, name: section})
    return evaluation
