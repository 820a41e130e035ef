"""Names that have changed. Until the release `GONE` each old name is still read: it stands for the new one, with a warning."""

from __future__ import annotations

from collections.abc import Iterable

from beholder.base import events

GONE = "0.3.0"
"""The release that reads the old names of `RENAMED` no more, and writes those of `TWICE` no more."""

RENAMED: dict[str, dict[str, str]] = {
    "command": {"settle": "calibrate"},
    "option": {"--accept-risk": "--target-risk", "--strangers": "--ood"},
    "option of a class": {"--for": "--positive"},
    "recipe field": {"data.valid": "data.val", "test.accept_risk": "test.target_risk"},
    "argument": {"valid": "val"},
    "name": {"Guess": "Prediction"},
    "attribute": {"multi": "task.several"},
    "check": {"near": "near-duplicate", "mode": "colour-mode", "upscaled": "low-detail"},
    "section": {"strangers": "ood", "abstention": "selective", "sealed": "reuse"},
}
"""Kind of name → old name → new name."""

TWICE: dict[str, dict[str, str]] = {
    "predict": {"stranger": "ood", "strangeness": "ood_score"},
    "explain": {"guess": "prediction"},
    "calibrate": {"operating": "operating_points", "conformal": "prediction_sets"},
}
"""Command → key of its JSON as it was called → as it is called now: both are written."""


def current(kind: str, name: str, *, warn: bool = True) -> str:
    """Return the current name for `name`; an old one is warned of, unless it stands in a file that a run left.

    >>> current("option", "--ood")
    '--ood'
    """
    new = RENAMED[kind].get(name)
    if new is None:
        return name
    if warn:
        events.warn(f"the {kind} {name} is now {new}", hint=f"write {new}; Beholder {GONE} no longer reads {name}")
    return new


def arguments(words: list[str]) -> list[str]:
    """Return the words of a command line with the command and its options by their current names; values are not touched."""
    if not words:
        return words
    stop = words.index("--") if "--" in words else len(words)
    command = current("command", words[0])
    kinds = ("option", "option of a class") if command == "calibrate" else ("option",)
    return [command, *(_option(word, kinds) for word in words[1:stop]), *words[stop:]]


def _option(word: str, kinds: Iterable[str]) -> str:
    name, equals, value = word.partition("=")
    for kind in kinds:
        name = current(kind, name)
    return name + equals + value
