"""What is to be served: names and paths, as given at the start; nothing is loaded later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from beholder.base.errors import UsageError
from beholder.base.files import file_sha256
from beholder.bundle.finder import Finder
from beholder.bundle.format import unsealed
from beholder.bundle.recogniser import Recogniser
from beholder.runtime.engines import fastest
from beholder.runtime.finders import fastest_finder, finds_boxes
from beholder.server.nearby import Nearby, indexes


@dataclass(frozen=True)
class Loaded:
    """What answers, by name. explaining: what makes heat maps, where that is another; nearby: training pictures."""

    recognisers: Mapping[str, Recogniser | Finder]
    explaining: Mapping[str, Recogniser]
    nearby: Mapping[str, Nearby]


@dataclass(frozen=True)
class Bundles:
    """What is loaded.

    paths: of bundles by name; explain: load exported bundles in torch too; trust: as `beholder.load` has it; like: a source
    that bundles were trained on; engine: as `fastest` has it; allow_download: whether `like` may be fetched
    """

    paths: Mapping[str, Path]
    explain: bool = False
    trust: bool = False
    like: str | None = None
    engine: str = "exact"
    allow_download: bool = False

    def load(self, threads: int = 0, *, alone: bool = True) -> Loaded:
        """Return it loaded. threads, alone: as `opened` has it. Raises `BundleError`, `UsageError` and `DataError`."""
        how: dict[str, Any] = {"engine": self.engine, "trust": self.trust, "threads": threads, "alone": alone}
        found = {name: opened(path, **how) for name, path in self.paths.items()}
        maps = {}
        if self.explain:
            bare = [name for name, each in found.items() if not isinstance(each, Finder) and not hasattr(each, "net")]
            maps = {name: in_torch(self.paths[name], trust=self.trust) for name in bare}
        return Loaded(found, maps, indexes(found, self.paths, self.like, allow_download=self.allow_download))

    def digests(self) -> dict[str, str]:
        """Return SHA-256 by name: of a bundle's config.json, which has those of its files, or of an exported file.

        Raises `UsageError` and `BundleError` where there is no bundle.
        """
        for path in self.paths.values():
            if not path.is_file():
                unsealed(path)
        files = {name: path if path.is_file() else path / "config.json" for name, path in self.paths.items()}
        return {name: file_sha256(file) for name, file in files.items()}

    def absolute(self) -> Bundles:
        """Return the same for a process that works in another folder."""
        like = str(Path(self.like).absolute()) if self.like and Path(self.like).exists() else self.like
        return replace(self, paths={name: path.absolute() for name, path in self.paths.items()}, like=like)


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


def opened(
    path: Path, *, engine: str = "exact", trust: bool = False, threads: int = 0, alone: bool = True
) -> Recogniser | Finder:
    """Return what recognises, or finds boxes: the engine that is remembered or named, else the exported graph, else torch.

    path: a bundle's folder, or an exported file; engine, threads: as `fastest` has it. Ways are tried for "fast", and only
    by a process that is alone: several that do the same at once would time each other.
    Raises `UsageError`, `BundleError`.
    """
    probe = engine == "fast" and alone
    if finds_boxes(path):
        return fastest_finder(path, engine=engine, probe=probe, threads=threads)
    return fastest(path, engine=engine, trust=trust, probe=probe, threads=threads)


def in_torch(path: Path, *, trust: bool = False) -> Recogniser:
    """Return the net of a bundle in torch, on the best device. Raises `UsageError`, `BundleError`."""
    from beholder.bundle.bundle import load

    return load(path, trust=trust).ready()
