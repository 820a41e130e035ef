"""The one picker of engines: the fastest of those that give the right answers, measured once and remembered.

What the ways are, `features.py` says of a net and `engines.py` of a bundle and its exports: torch in float32 or bfloat16, with
batch norms or without, onnxruntime, OpenVINO.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Generic, TypeVar

from beholder.base import events, memo
from beholder.base.errors import BeholderError
from beholder.base.files import sha256
from beholder.machine.folders import cache_folder
from beholder.machine.turns import least_seconds

E = TypeVar("E")

FAILURES = (BeholderError, RuntimeError, TypeError, ValueError, AttributeError, LookupError, ImportError)
"""What a way to run a net may raise where it cannot be used here; the others remain."""

VERSION = 3
"""Counts the rules by which engines are chosen: what was remembered under earlier ones is tried anew."""


@dataclass(frozen=True)
class Picked(Generic[E]):
    """The fastest engine and its name. rates: pictures/s of those that were tried, empty where the choice was remembered."""

    name: str
    engine: E
    rates: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial(Generic[E]):
    """How engines are compared on a sample.

    run: runs one on the sample, of so many pictures; fault: what is wrong with the answers of the one of this name, "" where
    nothing is; again: whether a remembered choice is compared again: where `key` says the net but not its weights
    key: what the choice depends on besides the names of the engines and the versions of the runtimes, as JSON values
    """

    run: Callable[[E], object]
    fault: Callable[[str, E], str]
    key: Sequence[object]
    pictures: int
    again: bool = False
    rounds: int = 2


def pick(engines: Mapping[str, Callable[[], E]], trial: Trial[E], *, tried: bool = True) -> Picked[E]:
    """Return the fastest of the engines whose answers are right; which it is, is remembered in the cache folder.

    engines: name → what makes it; the first is taken as it is, where no other one is right and faster
    tried: whether they are tried where nothing is remembered; else it is the first. Raises what making the first raises.
    """
    first, *others = engines
    path = cache_folder() / "engine" / f"{_key(engines, trial)}.json"
    known = memo.record(path).get("name")
    if known in others and (engine := _usable(known, engines[known], trial, compared=trial.again)) is not None:
        return Picked(known, engine)
    sound = {first: engines[first]()}
    if not tried or not others or known == first:
        return Picked(first, sound[first])
    for name in others:
        if (engine := _usable(name, engines[name], trial)) is not None:
            sound[name] = engine
    least = least_seconds({name: partial(trial.run, engine) for name, engine in sound.items()}, rounds=trial.rounds)
    rates = {name: round(trial.pictures / max(1e-9, seconds), 1) for name, seconds in least.items()}
    best = max(rates, key=lambda name: rates[name])
    if len(sound) > 1:
        memo.keep_record(path, {"name": best, "rates": rates}, what="the fastest engines")
    return Picked(best, sound[best], rates)


def _usable(name: str, make: Callable[[], E], trial: Trial[E], *, compared: bool = True) -> E | None:
    """Return an engine, made and compared; None where its answers are wrong or it cannot be made, which is said."""
    try:
        engine = make()
        fault = trial.fault(name, engine) if compared else ""
    except FAILURES as error:
        events.note(f"{name} cannot be used: {type(error).__name__}: {str(error).partition(chr(10))[0][:200]}")
        return None
    if fault:
        events.note(f"{name} is not used: {fault}")
    return None if fault else engine


def _key(engines: Mapping[str, object], trial: Trial[E]) -> str:
    versions = [_version(name) for name in ("torch", "onnxruntime", "openvino")]
    return sha256(json.dumps([VERSION, versions, sorted(engines), list(trial.key)], sort_keys=True).encode())[:16]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
