"""The folder `NAME.beholder/`: which files, how they are written whole, how they are verified before use.

config.json         what `config.Config` holds, hashes of the files below, its own hash
model.safetensors   weights
recipe.toml         the run as one value
scores.json         scores on the test part
history.json        one row per epoch
splits.csv          digest, part of every picture
README.md           model card
readings.json       how often the test part was read (not hashed: evaluation adds to it)
hashes.npy          perceptual hashes of the pictures trained on, 64 bytes each (not hashed itself; absent for small pictures)
audit.csv           what the audit found, and what was done about it (not hashed; absent where it was off)
references.npy      what out-of-distribution pictures are told by (config.json holds its hash; absent where nothing was fitted)
report.html         for people (not hashed)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from beholder.base.errors import BeholderError, BundleError, UsageError
from beholder.base.files import adopt, file_sha256, folder_atomic, sha256, write_atomic
from beholder.bundle.config import SCHEMA, Config, File, newer, read

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
HASHES = "hashes.npy"
GENERATOR = "generator"
DETECTOR = "detector"
"""What config.json calls the kinds of a bundle that makes pictures, and of one that finds boxes; of others it says no kind."""
HASHED = (WEIGHTS, "recipe.toml", "scores.json", "history.json", "splits.csv")
_LARGEST_CONFIG = 16 * 2**20
_LARGEST_HEADER = 2 * 2**20


def check_place(path: Path) -> None:
    """Raise `UsageError` if something that is not a bundle lies at `path`: it is never overwritten."""
    if path.exists() and not (path.is_dir() and (_is_bundle(path) or not any(path.iterdir()))):
        hint = "choose another name with --out, such as model.beholder"
        raise UsageError(f"{path} exists and is not a bundle", code="place-taken", hint=hint)


def _is_bundle(path: Path) -> bool:
    """Return whether a folder is a bundle, even a damaged one; other model folders have a config.json too."""
    try:
        return b'"seal"' in (path / CONFIG).read_bytes() or (path / "splits.csv").is_file()
    except OSError:
        return False


def finished(path: Path) -> bool:
    """Return whether a whole bundle lies at `path` whose training was not interrupted."""
    return _interrupted(path) is False


def unfinished(path: Path) -> bool:
    """Return whether a whole bundle lies at `path` whose training was interrupted, or has not begun."""
    return _interrupted(path) is True


def _interrupted(path: Path) -> bool | None:
    """Return what a whole bundle of a model or a detector says of itself, None where there is none."""
    try:
        if finds_boxes(path):
            values = unsealed(path)
            check_files(path, {name: File(**row) for name, row in values["files"].items()})
            return bool(values.get("interrupted"))
        return bool(verified(path).interrupted)
    except (BeholderError, KeyError, TypeError, AttributeError):
        return None


class Said(Protocol):
    """What config.json says: of a model, or of a generator."""

    def json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""


def write(path: Path, config: Said, contents: Mapping[str, bytes]) -> None:
    """Write a bundle that is whole or absent. `contents`: file name → bytes, all of `HASHED` among them."""
    check_place(path)
    with folder_atomic(path) as folder:
        for name, data in contents.items():
            (folder / name).write_bytes(data)
        hashes = {name: {"bytes": len(contents[name]), "sha256": sha256(contents[name])} for name in HASHED}
        (folder / CONFIG).write_bytes(_sealed({**config.json(), "files": hashes}))


def add_file(path: Path, name: str, data: bytes) -> None:
    """Write one unhashed file (report, readings) into a bundle that is there already."""
    if name in HASHED or name == CONFIG:
        raise ValueError(f"{name} is sealed")
    write_atomic(path / name, data)


def verified(path: Path) -> Config:
    """Return the config of a bundle after its schema, sizes and hashes, and what it says of itself, have been checked.

    Raises `UsageError` if there is nothing at `path`, or a bundle of another kind (a-generator, a-detector), and `BundleError`
    for anything that is not a whole bundle of a known schema.
    """
    values = unsealed(path)
    if values.get("kind") == GENERATOR:
        raise no_labels(str(path), GENERATOR)
    if values.get("kind") == DETECTOR:
        raise no_labels(str(path), DETECTOR)
    found = read(values, path)
    check_files(path, found.files)
    return found


def no_labels(name: str, kind: str) -> UsageError:
    """Return the error for a generator or a detector that was given where a model of labels is needed; name: of it."""
    if kind == GENERATOR:
        hint = "beholder sample makes pictures with it; in Python beholder.Generator.load(path).sample(n)"
        return UsageError(f"{name} makes pictures and recognises none", code="a-generator", hint=hint)
    hint = "predict, evaluate, explain, export, compare and serve take a detector"
    return UsageError(f"{name} finds boxes; a model of labels is needed here", code="a-detector", hint=hint)


def no_bundle(given: object) -> UsageError:
    """Return the error for an object that is no bundle of labels: a model of another kind, or no model at all."""
    kind = getattr(getattr(given, "config", None), "kind", None)
    if kind in (GENERATOR, DETECTOR):
        return no_labels("this model", kind)
    hint = "give what beholder.train or beholder.load returns, or the path of a bundle"
    return UsageError(f"{type(given).__name__} is no bundle", code="no-bundle", hint=hint)


def makes_pictures(path: Path) -> bool:
    """Return whether a whole bundle of a generator lies at `path`."""
    return _kind(path) == GENERATOR


def finds_boxes(path: str | Path) -> bool:
    """Return whether a whole bundle of a detector lies at `path`."""
    return _kind(Path(path)) == DETECTOR


def _kind(path: Path) -> object:
    try:
        return unsealed(path).get("kind")
    except BeholderError:
        return None


def unsealed(path: Path) -> dict[str, Any]:
    """Return what config.json says, without its seal, once that and the schema are checked. Raises as `verified` does."""
    adopt(path)
    config = _config(path)
    schema = config.get("schema")
    if type(schema) is not int or schema < 1:
        raise _damaged(path, f"{CONFIG} names no schema")
    if schema > SCHEMA:
        raise newer(schema, path)
    seal = config.pop("seal", None)
    try:
        sealed = seal == sha256(_canonical(config))
    except (ValueError, RecursionError):
        sealed = False
    if not sealed:
        raise _damaged(path, f"{CONFIG} was changed after it was written")
    return config


def check_files(path: Path, files: Mapping[str, File]) -> None:
    """Raise `BundleError` (damaged) where a file in a bundle is not what its config says."""
    for name in HASHED:
        _verify(path / name, files.get(name, File(0, "")), path)
    _check_header(path)


def readings(path: Path) -> list[dict[str, Any]]:
    """Return how often the test part of a bundle was read; [] where that is not known."""
    file = path / "readings.json"
    try:
        rows = json.loads(file.read_bytes()) if file.is_file() else []
    except ValueError:
        rows = []
    return rows if isinstance(rows, list) else []


def _config(path: Path) -> dict[str, Any]:
    if not path.exists():
        near = sorted(p.name for p in path.parent.glob("*.beholder")) if path.parent.is_dir() else []
        raise UsageError(
            f"there is no bundle at {path}", code="path-missing", hint="found here: " + (", ".join(near) or "none")
        )
    file = path / CONFIG
    if not file.is_file():
        raise BundleError(
            f"{path} is not a bundle: it has no {CONFIG}", code="not-a-bundle", hint="make one with beholder train"
        )
    if file.stat().st_size > _LARGEST_CONFIG:
        raise _damaged(path, f"{CONFIG} is larger than {_LARGEST_CONFIG} bytes")
    try:
        config = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"{CONFIG} is not JSON") from error
    if not isinstance(config, dict):
        raise _damaged(path, f"{CONFIG} is not an object")
    return config


def _verify(file: Path, expected: File, path: Path) -> None:
    if not file.is_file() or file.is_symlink():
        raise _damaged(path, f"{file.name} is missing")
    if file.stat().st_size != expected.bytes:
        raise _damaged(path, f"{file.name} has {file.stat().st_size} bytes instead of {expected.bytes}")
    if file_sha256(file) != expected.sha256:
        raise _damaged(path, f"{file.name} was changed: its SHA-256 is not the recorded one")


def _check_header(path: Path) -> None:
    with (path / WEIGHTS).open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > _LARGEST_HEADER:
        raise _damaged(path, f"the header of {WEIGHTS} claims {length} bytes")


def _damaged(path: Path, what: str) -> BundleError:
    return BundleError(
        f"{path} is damaged: {what}", code="damaged", hint="copy it again from where it was made, or train again"
    )


def _canonical(config: Mapping[str, Any]) -> bytes:
    return json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def _sealed(config: dict[str, Any]) -> bytes:
    return json.dumps({**config, "seal": sha256(_canonical(config))}, indent=1, allow_nan=False).encode()
