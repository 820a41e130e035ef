"""Which exports lie in a bundle, what they are called, and whether they are what was written: `exports.json`.

exports.json   file name → {"bytes", "sha256", "precision", "of": SHA-256 of the weights it was made of, "parity", …}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from beholder.base.errors import BundleError
from beholder.base.files import sha256

LIST = "exports.json"
GRAPH = "model.onnx"
ENDINGS = {"onnx": ".onnx", "openvino": ".xml", "torch": ".pt2"}
LEAST = {"fp32": 0.995, "fp16": 0.99, "int8": 0.98}
"""The least share of pictures that get the same label, by precision, below which an export is refused."""
PRECISIONS = tuple(LEAST)


def name(kind: str, precision: str) -> str:
    """Return what an export is called in a bundle.

    >>> name("onnx", "fp32"), name("openvino", "int8")
    ('model.onnx', 'model.int8.xml')
    """
    return f"model{'' if precision == 'fp32' else '.' + precision}{ENDINGS[kind]}"


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


def weights(config: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the weights that a bundle's config names; "" for a bundle that was never saved."""
    return str(config.get("files", {}).get("model.safetensors", {}).get("sha256", ""))


def sound(facts: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Return whether an export is of the weights that a bundle has, and gave enough pictures the bundle's labels."""
    try:
        enough = float(facts["parity"]["agreement"]["value"]) >= LEAST[facts["precision"]]
    except (KeyError, TypeError, ValueError):
        return False
    return enough and facts.get("of") == weights(config)


def read(path: Path, name: str, config: Mapping[str, Any]) -> bytes:
    """Return the bytes of an export in a bundle's folder; raise `BundleError` if it is absent, changed, or of other weights."""
    facts = listed(path).get(name)
    if facts is None:
        raise BundleError(f"{path} has no {name}", code="no-export", hint=f"make it with: beholder export {path}")
    data = (path / name).read_bytes()
    if sha256(data) != facts.get("sha256") or facts.get("of") != weights(config):
        raise BundleError(
            f"{name} in {path} is not what was exported from these weights",
            code="damaged",
            hint=f"make it again with: beholder export {path}",
        )
    return data
