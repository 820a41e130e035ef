"""What is to be served: names and paths, as given at the start; nothing is loaded later."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from beholder.base.errors import UsageError
from beholder.bundle.finder import Finder
from beholder.bundle.recogniser import Recogniser
from beholder.runtime.engines import fastest
from beholder.runtime.finders import fastest_finder, finds_boxes


def named(given: Sequence[str]) -> dict[str, Path]:
    """Return paths by name for PATH or NAME=PATH each. Raises `UsageError` where a name is not fit, or comes twice.

    >>> named(["pets=models/a.beholder", "models/leaves.beholder"])
    {'pets': PosixPath('models/a.beholder'), 'leaves': PosixPath('models/leaves.beholder')}
    """
    found: dict[str, Path] = {}
    for word in given:
        name, equals, path = word.partition("=")
        if not equals or Path(word).exists():
            name, path = Path(word).resolve().stem, word
        if not name or not all(letter.isalnum() or letter in "-_." for letter in name):
            raise UsageError(
                f"{name!r} cannot be the name of a model", code="bad-name", hint="letters, digits, - _ . make one: NAME=PATH"
            )
        if name in found:
            raise UsageError(f"two models are called {name}", code="name-twice", hint="name one of them: NAME=PATH")
        found[name] = Path(path)
    return found


def opened(path: Path, *, engine: str = "exact", trust: bool = False, threads: int = 0) -> Recogniser | Finder:
    """Return what recognises, or finds boxes: the engine that is remembered or named, else the exported graph, else torch.

    path: a bundle's folder, or an exported file; engine, threads: as `fastest` has it. Ways are tried for "fast" alone, and not
    where `threads` are given: there several processes do the same at once, and would time each other.
    Raises `UsageError`, `BundleError`.
    """
    probe = engine == "fast" and not threads
    if finds_boxes(path):
        return fastest_finder(path, engine=engine, probe=probe, threads=threads)
    return fastest(path, engine=engine, trust=trust, probe=probe, threads=threads)


def in_torch(path: Path, *, trust: bool = False) -> Recogniser:
    """Return the net of a bundle in torch, on the best device. Raises `UsageError`, `BundleError`."""
    from beholder.bundle.bundle import load

    return load(path, trust=trust).ready()
