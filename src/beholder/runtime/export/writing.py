"""What an export is written to, and what cannot be."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from beholder.base import events
from beholder.base.brief import shown
from beholder.base.errors import UsageError, did_you_mean
from beholder.base.files import sha256, write_atomic
from beholder.bundle.format import add_file
from beholder.runtime import exports

if TYPE_CHECKING:
    from beholder.bundle.bundle import Bundle
    from beholder.bundle.detector import Detector


class Measured(Protocol):
    """How near an export is to what it was made of."""

    def json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""


@dataclass(frozen=True)
class Written:
    """What an export wrote: the file, its kind, its facts as in exports.json, and how near it is to the bundle."""

    path: Path
    kind: str
    facts: dict[str, Any]
    parity: Measured

    __repr__ = shown

    def json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {"path": str(self.path), **self.facts}

    def __str__(self) -> str:
        opset = f", opset {self.facts['opset']}" if "opset" in self.facts else ""
        size = f"{self.facts['bytes'] / 1e6:.1f} MB"
        return f"{self.path}  {self.kind} {self.facts['precision']}, {size}{opset}\n{self.parity}"


def checked(bundle: Bundle | Detector, out: str | Path | None, to: str, precision: str, like: object) -> exports.Form:
    """Return the form `to`, after what cannot be is refused."""
    form: exports.Form = exports.EXPORTS.load(to, of=exports.Form)
    allowed = [word for word in exports.PRECISIONS if word in form.precisions]
    if precision not in allowed:
        hint = did_you_mean(precision, allowed)
        raise UsageError(f"{to} has no precision '{precision}' here", code="unknown-precision", hint=hint)
    if precision == "int8" and like is None:
        hint = "name what it was trained on with --like SOURCE"
        raise UsageError("int8 is calibrated on training pictures", code="needs-pictures", hint=hint)
    if out is None and bundle.path is None:
        raise UsageError("the bundle lies in no folder yet", code="no-place", hint="save it first, or say where with out=")
    if out is not None and Path(out).suffix != form.ending:
        hint = f"{Path(out).stem or 'model'}{form.ending}"
        raise UsageError(f"{out} should end in {form.ending}", code="wrong-ending", hint=hint)
    return form


def written(bundle: Bundle | Detector, out: str | Path | None, name: str, data: list[bytes], facts: dict[str, Any]) -> Path:
    """Write the files of an export, in the bundle with their hashes, and return the path of the first."""
    if out is not None:
        for file, part in zip(exports.files(Path(out).name), data, strict=True):
            write_atomic(Path(out).with_name(file), part)
        return Path(out)
    assert bundle.path is not None
    kept = exports.listed(bundle.path)
    for file, part in zip(exports.files(name), data, strict=True):
        add_file(bundle.path, file, part)
        kept[file] = {**facts, "bytes": len(part), "sha256": sha256(part), "of": exports.weights(bundle.config)}
    add_file(bundle.path, exports.LIST, json.dumps(kept, indent=1).encode())
    if name.endswith(".onnx") and name != exports.GRAPH and exports.GRAPH not in kept:
        hint = f"beholder export {bundle.path} writes {exports.GRAPH} beside it; the file itself runs alone"
        events.note(f"predict and serve take {name} only beside {exports.GRAPH}, which they compare it with: {hint}")
    return bundle.path / name
