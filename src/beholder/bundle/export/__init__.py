"""A bundle as one file for other runtimes: what is written where, and that it is whole."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beholder.base.errors import UsageError
from beholder.base.files import sha256, write_atomic
from beholder.bundle import exports
from beholder.bundle.format import add_file

if TYPE_CHECKING:
    from beholder.bundle.bundle import Bundle


@dataclass(frozen=True)
class Written:
    """What an export wrote: the file, its kind, and what is said of it in exports.json."""

    path: Path
    kind: str
    facts: dict[str, Any]

    def json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {"path": str(self.path), "to": self.kind, **self.facts}

    def __str__(self) -> str:
        size = f"{self.facts['bytes'] / 1e6:.1f} MB"
        return f"{self.path}  {self.kind}, {self.facts['precision']}, {size}, opset {self.facts['opset']}"


def export(bundle: Bundle, out: str | Path | None = None, *, to: str = "onnx") -> Written:
    """Write the bundle as one ONNX graph and return what was written.

    out: a file of your own; left out, `model.onnx` in the bundle's folder, from where `predict` and `serve` may use it.
    Raises `UsageError` for a kind that does not exist, or a bundle that lies nowhere and no `out`.
    """
    if to != "onnx":
        raise UsageError(f"there is no export to '{to}'", code="unknown-export", hint="onnx")
    from beholder.bundle.export.onnx import OPSET, encoded

    data = encoded(bundle)
    facts = {"precision": "fp32", "opset": OPSET, "bytes": len(data), "sha256": sha256(data)}
    if out is not None:
        write_atomic(Path(out), data)
        return Written(Path(out), to, facts)
    if bundle.path is None:
        raise UsageError("the bundle lies in no folder yet", code="no-place", hint="save it first, or say where with out=")
    add_file(bundle.path, exports.GRAPH, data)
    kept = {**exports.listed(bundle.path), exports.GRAPH: {**facts, "of": exports.weights(bundle.config)}}
    add_file(bundle.path, exports.LIST, json.dumps(kept, indent=1).encode())
    return Written(bundle.path / exports.GRAPH, to, facts)
