"""The last layer in numbers: features × weights = logits, calibrated, and what they say of each class."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from beholder.base.arrays import F32, F64, Values
from beholder.bundle.bundle import Bundle
from beholder.explanation.look.blob import Blob
from beholder.explanation.look.trace import First
from beholder.nets.features import Net
from beholder.nets.features import head as last_layer
from beholder.nets.plain import Stack

TERMS = 12
"""Features that are shown of a logit: those whose products are largest; the others are one sum."""

FEATURES = 4096
"""Features that are drawn, at most; of more only the largest products are on the page."""

ROWS = 40
"""Logits whose products are shown: the most probable classes, and the one that was asked for."""

PRODUCTS = 16_000_000
"""Products that are worked out for that: of many features those of fewer logits are shown, but of `FEWEST`."""

FEWEST = 4

CLASSES = 1000
"""Classes that are listed, the most probable ones."""


def logits_of(bundle: Bundle, features: F32, logits: F32) -> F64:
    """Return the logits float64 (W,) as the head's weights make them of features (F,), or, where it has none, those given."""
    head = last_layer(bundle.net)
    if head is None:
        return logits.astype(np.float64)
    weight, bias = weights(head)
    return np.asarray(scale_of(bundle.net) * (times(weight, features.astype(np.float64)) + bias))


def times(weight: F32, x: F64) -> F64:
    """Return weight (O, F) @ x (F,) in float64, some rows at a time: float64 copies of all weights may not fit memory."""
    rows = rows_of(weight)
    return np.concatenate([weight[k : k + rows].astype(np.float64) @ x for k in range(0, len(weight), rows)])


def rows_of(weight: F32) -> int:
    """Return how many rows of weights (O, F) are brought to float64 at a time: 32 MB of them, or one."""
    return max(1, 4_000_000 // max(1, int(weight.shape[1])))


def largest(values: Values, most: int) -> list[int]:
    """Return where the values (n,) of the largest magnitude are, at most so many, the largest first."""
    size = np.abs(values)
    at = np.flatnonzero(size >= np.partition(size, -most)[-most]) if most < len(size) else np.arange(len(size))
    found: list[int] = at[np.argsort(-size[at], kind="stable")][:most].tolist()
    return found


def weights(head: nn.Linear) -> tuple[F32, F32]:
    """Return the weights float32 (W, F) and the bias float32 (W,) of a dense layer, zeros where it has none."""
    weight: F32 = head.weight.detach().float().cpu().numpy()
    bias = head.bias.detach().float().cpu().numpy() if head.bias is not None else np.zeros(len(weight), np.float32)
    return weight, bias


def scale_of(net: nn.Module) -> float:
    """Return by what a net multiplies what its head gives."""
    return float(net.scale) if isinstance(net, Net) else 1.0


def facts(bundle: Bundle, features: F32, logits: F64, *, first: int, blob: Blob) -> dict[str, Any]:
    """Return features (F,), logits (W,) and what follows from them; `first`: the class that the page begins with.

    {"head", "scale", "count", "shape", "features", "rows", "of", "family", "calibration", "steps", "classes", "others"}
    """
    config, family = bundle.config, bundle.task.family
    calibrated = logits if config.calibration is None else config.calibration(logits[None])[0]
    p = family.probabilities(calibrated[None])[0]
    order = [first, *(k for k in np.argsort(-p, kind="stable").tolist() if k != first)]
    names = _named(bundle)
    asked = [k for k in order if k < len(logits)] if len(logits) == len(p) else list(range(len(logits)))
    head, scale = last_layer(bundle.net), scale_of(bundle.net)
    rows = [] if head is None else [_row(k, names[k], features, head, scale) for k in asked[: shown(len(features))]]
    shift = float(calibrated.max()) if family.name == "categorical" else 0.0
    listed = sorted(order[:CLASSES], key=lambda k: -p[k])
    return {
        "head": head is not None,
        "scale": scale,
        "count": len(features),
        "shape": _shape(bundle, len(features)),
        "features": blob.add(features) if len(features) <= FEATURES else None,
        "rows": rows,
        "of": len(logits),
        "family": family.name,
        "mirror": config.mirror,
        "calibration": _calibration(bundle),
        "steps": [_step(k, names[k], logits, calibrated) for k in range(len(logits))] if len(logits) != len(p) else None,
        "classes": [_class(bundle, k, logits, calibrated, p, shift) for k in listed],
        "others": {"count": len(p) - len(listed), "p": float(p.sum() - p[listed].sum())},
        "sum": float(np.exp(calibrated - shift).sum()) if family.name == "categorical" else None,
        "first": first,
    }


def shown(count: int) -> int:
    """Return of how many logits the products are shown, with so many features."""
    return min(ROWS, max(FEWEST, PRODUCTS // max(1, count)))


def _named(bundle: Bundle) -> list[str]:
    """Return what each logit is about: a class, or, of ordered classes, whether the picture is beyond one."""
    if bundle.width == len(bundle.classes):
        return list(bundle.classes)
    if bundle.task.family.name == "sequential":
        return [f"beyond {name}" for name in bundle.classes[:-1]]
    return [f"logit {k}" for k in range(bundle.width)]


def named_units(bundle: Bundle, ran: First | None, facts: dict[str, Any] | None, at: int) -> dict[str, Any] | None:
    """Return the facts of the first layer; where it is the head too, with what its units are called, the class `at` first."""
    if ran is None or facts is None or facts["kind"] != "dense" or ran.module is not last_layer(bundle.net):
        return facts
    names, units = _named(bundle), facts["channels"]
    start = [units.index(at) if at in units else facts["start"][0], facts["start"][1]]
    return {**facts, "names": [names[unit] for unit in units], "start": start}


def _row(k: int, name: str, features: F32, head: nn.Linear, scale: float) -> dict[str, Any]:
    """Return one logit as a sum: its largest products [feature, value, weight, product], the others, the bias."""
    weight = head.weight[k].detach().double().cpu().numpy()
    bias = float(head.bias[k].detach()) if head.bias is not None else 0.0
    products = features.astype(np.float64) * weight
    best = largest(products, TERMS)
    rest = float(products.sum() - products[best].sum())
    terms = [[j, float(features[j]), float(weight[j]), float(products[j])] for j in best]
    whole = scale * (float(products.sum()) + bias)
    return {"at": k, "name": name, "terms": terms, "rest": rest, "bias": bias, "logit": whole}


def _shape(bundle: Bundle, count: int) -> list[int] | None:
    """Return (channels, height, width) where features are maps in one row, so that each has a place; None elsewhere."""
    net, pixels = bundle.net, bundle.policy
    if not isinstance(net, Stack):
        return None
    kinds = [type(layer) for layer in net.layers]
    if nn.Linear in kinds:
        return None
    if nn.Conv2d not in kinds:
        return [pixels.channels, pixels.height, pixels.width]
    height, width = (pixels.height - 2) // 2, (pixels.width - 2) // 2
    return [count // (height * width), height, width]


def _calibration(bundle: Bundle) -> dict[str, Any] | None:
    """Return how logits are calibrated; None where they are not changed."""
    found = bundle.config.calibration
    if found is None or found.method == "none":
        return None
    one = len(set(found.scale)) == 1 and not any(found.bias)
    return {"method": found.method, "temperature": found.temperature, "one": one, "n": found.n}


def _step(k: int, name: str, logits: F64, calibrated: F64) -> dict[str, Any]:
    return {"name": name, "logit": float(logits[k]), "calibrated": float(calibrated[k]), "p": _sigmoid(float(calibrated[k]))}


def _class(bundle: Bundle, k: int, logits: F64, calibrated: F64, p: F64, shift: float) -> dict[str, Any]:
    own = {"at": k, "name": bundle.classes[k], "p": float(p[k])}
    if len(logits) == len(p):
        own |= {"logit": float(logits[k]), "calibrated": float(calibrated[k])}
        if bundle.task.family.name == "categorical":
            own["exp"] = float(np.exp(calibrated[k] - shift))
    if bundle.task.several:
        own["threshold"] = float(bundle.config.thresholds[k])
    return own


def _sigmoid(z: float) -> float:
    return float(np.exp(-np.logaddexp(0.0, -z)))
