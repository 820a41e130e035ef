"""A bundle carried to other runtimes: what is made, that it gives the bundle's answers, and where it is written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beholder.base import events
from beholder.base.errors import BundleError, UsageError, did_you_mean
from beholder.base.files import sha256, write_atomic
from beholder.bundle import exports
from beholder.bundle.format import add_file

if TYPE_CHECKING:
    from beholder.base.records import Pictures
    from beholder.bundle.bundle import Bundle
    from beholder.bundle.export.parity import Parity
    from beholder.bundle.export.samples import Sample
    from beholder.bundle.exported import Exported


@dataclass(frozen=True)
class Written:
    """What an export wrote: the file, its kind, its facts as in exports.json, and how near it is to the bundle."""

    path: Path
    kind: str
    facts: dict[str, Any]
    parity: Parity

    def json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {"path": str(self.path), **self.facts}

    def __str__(self) -> str:
        opset = f", opset {self.facts['opset']}" if "opset" in self.facts else ""
        size = f"{self.facts['bytes'] / 1e6:.1f} MB"
        return f"{self.path}  {self.kind} {self.facts['precision']}, {size}{opset}\n{self.parity}"


def export(
    bundle: Bundle,
    out: str | Path | None = None,
    *,
    to: str = "onnx",
    precision: str = "fp32",
    like: str | Path | Pictures | None = None,
    force: bool = False,
) -> Written:
    """Write the bundle in another form, after it has given the bundle's answers, and return what was written.

    out: a file of your own; left out, one in the bundle's folder, from where `predict` and `serve` may use it
    to: onnx | openvino | torch; precision: fp32 | fp16 | int8
    like: what the bundle was trained on, to try the export on, and to quantise on (int8 needs it)
    force: write it even where too few labels agree
    Raises `UsageError` for a kind or precision that does not exist, or a bundle that lies nowhere and no `out`; `BundleError`
    (not-the-same) where too few pictures get the bundle's label.
    """
    _check(bundle, out, to, precision, like)
    from beholder.bundle.export.parity import check, parity
    from beholder.bundle.export.samples import sample

    tried = sample(bundle, like)
    data = _made(bundle, to, precision, tried)
    found = parity(bundle, _running(bundle, to, data), tried, resizes=to != "torch")
    try:
        check(found, precision)
    except BundleError as error:
        if not force:
            raise
        events.warn(error.message)
    facts = {"to": to, "precision": precision, **_opset(to), "parity": found.json()}
    path = _written(bundle, out, exports.name(to, precision), data, facts)
    return Written(path, to, {**facts, "bytes": sum(map(len, data)), "sha256": sha256(data[0])}, found)


def _check(bundle: Bundle, out: str | Path | None, to: str, precision: str, like: object) -> None:
    if to not in exports.ENDINGS:
        raise UsageError(f"there is no export to '{to}'", code="unknown-export", hint=did_you_mean(to, exports.ENDINGS))
    if precision not in exports.PRECISIONS or (to == "torch" and precision == "int8"):
        hint = "fp32 or fp16" if to == "torch" else did_you_mean(precision, exports.PRECISIONS)
        raise UsageError(f"{to} has no precision '{precision}' here", code="unknown-precision", hint=hint)
    if precision == "int8" and like is None:
        hint = "name what it was trained on with --like SOURCE"
        raise UsageError("int8 is calibrated on training pictures", code="needs-pictures", hint=hint)
    if out is None and bundle.path is None:
        raise UsageError("the bundle lies in no folder yet", code="no-place", hint="save it first, or say where with out=")
    if out is not None and Path(out).suffix != exports.ENDINGS[to]:
        hint = f"{Path(out).stem or 'model'}{exports.ENDINGS[to]}"
        raise UsageError(f"{out} should end in {exports.ENDINGS[to]}", code="wrong-ending", hint=hint)


def _made(bundle: Bundle, to: str, precision: str, tried: Sample) -> list[bytes]:
    """Return the bytes of each file of the export."""
    if to == "torch":
        from beholder.bundle.export.others import program

        return [program(bundle, precision)]
    from beholder.bundle.export.onnx import encoded

    if precision == "int8" and not len(tried.training):
        raise UsageError("none of those pictures is of training", code="needs-pictures", hint="int8 is calibrated on some")
    if to == "onnx":
        return [encoded(bundle, precision=precision, training=tried.training)]
    from beholder.bundle.export.others import openvino

    inner = "int8" if precision == "int8" else "fp32"
    return openvino(bundle, encoded(bundle, precision=inner, training=tried.training, branch=False), precision)


def _running(bundle: Bundle, to: str, data: list[bytes]) -> Exported:
    """Return the export as it will run, with what the bundle knows beside its net."""
    from beholder.bundle.exported import Exported, opened

    if to == "torch":
        from beholder.bundle.export.others import running

        return Exported(bundle.config, running(data[0]), bundle.references)
    return Exported(bundle.config, opened(data, Path(exports.name(to, "fp32")))[1], bundle.references)


def _opset(to: str) -> dict[str, int]:
    if to != "onnx":
        return {}
    from beholder.bundle.export.onnx import OPSET

    return {"opset": OPSET}


def _written(bundle: Bundle, out: str | Path | None, name: str, data: list[bytes], facts: dict[str, Any]) -> Path:
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
    return bundle.path / name
