"""Bundles of schema 1: their config.json in the words of schema 2."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

RENAMED = {"conformal": "prediction_sets", "strangers": "ood", "operating": "operating_points"}


def upgraded(values: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """Return the values of a config.json of schema 1 under the names of schema 2, those that it knows.

    What is gone follows from the rest. Raises `KeyError`, `TypeError`, … where they are something else.
    """
    found = {RENAMED.get(name, name): value for name, value in values.items() if value is not None}
    for name, follows in (("calibration", "temperature"), ("prediction_sets", "spread")):
        if name in found:
            found[name] = {key: value for key, value in found[name].items() if key != follows}
    if "ood" in found:
        found["ood"] = {**found["ood"], **found["ood"]["references"]}
        del found["ood"]["references"]
    found["operating_points"] = [{**point, "kind": kind} for kind, point in found.get("operating_points", {}).items()]
    return {name: value for name, value in found.items() if name in known}
