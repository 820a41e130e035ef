"""The exports inside a bundle, their names and integrity: `exports.json`.

exports.json   file name → {"bytes", "sha256", "precision", "of": SHA-256 of the weights it was made of, "parity", …}
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from beholder.base.arrays import U8
from beholder.base.errors import BundleError
from beholder.base.files import sha256
from beholder.base.registry import Registry
from beholder.bundle.config import File
from beholder.bundle.format import WEIGHTS

if TYPE_CHECKING:
    from beholder.bundle.bundle import Bundle


class Weighted(Protocol):
    """The config of a bundle, of labels or of boxes."""

    @property
    def files(self) -> Mapping[str, File]:
        """Return its files by name."""


LIST = "exports.json"
GRAPH = "model.onnx"
OPSET = 18
EXPORTS = Registry("export", {name: f"beholder.runtime.export.forms:{name.upper()}" for name in ("onnx", "openvino", "torch")})
"""What a bundle can be exported to: values of `Form`."""
LEAST = {"fp32": 0.995, "fp16": 0.99, "int8": 0.98}
"""The least share of pictures that get the same label, by precision, below which an export is refused."""
PRECISIONS = tuple(LEAST)


@dataclass(frozen=True)
class Form:
    """One row of `EXPORTS`.

    make:       (bundle, precision, training) → the bytes of each file, as `files` names them; training: uint8
                (N, C, height, width), what int8 is calibrated on, N 0 for other precisions
    run:        those bytes → what runs them here, as in `Exported`: the export is tried before it is written
    ending:     of the file, with its dot; precisions: fp32, fp16, int8, those that it has
    resizes:    whether it takes pictures of any size; facts: what exports.json says of it beside
    """

    make: Callable[[Bundle, str, U8], list[bytes]]
    run: Callable[[list[bytes]], Callable[[U8], tuple[Any, Any]]]
    ending: str
    precisions: tuple[str, ...] = ("fp32",)
    resizes: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)


def name(kind: str, precision: str) -> str:
    """Return what an export is called in a bundle; that of a plug-in by its kind, so that it takes no other's place.

    >>> name("onnx", "fp32"), name("openvino", "int8")
    ('model.onnx', 'model.int8.xml')
    """
    stem = "model" if kind in EXPORTS.builtin else kind
    return f"{stem}{'' if precision == 'fp32' else '.' + precision}{EXPORTS.load(kind, of=Form).ending}"


def files(name: str) -> tuple[str, ...]:
    """Return the files that an export consists of: OpenVINO keeps the weights beside the graph."""
    return (name, f"{name.removesuffix('.xml')}.bin") if name.endswith(".xml") else (name,)


def precision(name: str) -> str:
    """Return the precision of an export in a bundle, by its name."""
    return next((word for word in PRECISIONS if f".{word}." in name), "fp32")


def listed(path: Path) -> dict[str, dict[str, Any]]:
    """Return file name → facts of the exports that lie in a bundle's folder; empty where the list is absent or no list."""
    try:
        found = json.loads((path / LIST).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: facts for name, facts in found.items() if isinstance(facts, dict) and (path / name).is_file()}


def weights(config: Weighted) -> str:
    """Return the SHA-256 of the weights that a bundle's config names; "" for a bundle that was never saved."""
    return config.files[WEIGHTS].sha256 if WEIGHTS in config.files else ""


def sound(facts: Mapping[str, Any], config: Weighted) -> bool:
    """Return whether an export is of the weights that a bundle has, and gave enough pictures the bundle's labels."""
    try:
        enough = float(facts["parity"]["agreement"]["value"]) >= LEAST[facts["precision"]]
    except (KeyError, TypeError, ValueError):
        return False
    return enough and facts.get("of") == weights(config)


def read(path: Path, name: str, config: Weighted) -> bytes:
    """Return the bytes of an export in a bundle's folder; raise `BundleError` if it is absent, changed, or of other weights."""
    facts = listed(path).get(name)
    if facts is None:
        raise BundleError(f"{path} has no {name}", code="no-export", hint=f"make it with: beholder export {path}")
    data = (path / name).read_bytes()
    if sha256(data) != facts.get("sha256") or facts.get("of") != weights(config):
        hint = f"make it again with: beholder export {path}"
        raise BundleError(f"{name} in {path} is not what was exported from these weights", code="damaged", hint=hint)
    return data
