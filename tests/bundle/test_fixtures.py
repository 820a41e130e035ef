"""Bundles of every schema answer as they did when they were written (`fixtures/make.py` says how they were made)."""

from __future__ import annotations

import json
import runpy
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import beholder
from beholder.runtime import exported

HERE = Path(__file__).parent / "fixtures"
said = runpy.run_path(str(HERE / "make.py"))["said"]


def close(found: list[dict[str, Any]], kept: list[dict[str, Any]]) -> None:
    for answer, known in zip(found, kept, strict=True):
        for name, value in known.items():
            if isinstance(value, float | dict):
                assert answer[name] == pytest.approx(value, abs=1e-5), name
            else:
                assert json.loads(json.dumps(answer[name])) == value, name


@pytest.mark.parametrize("schema", ["schema1", "schema2"])
@pytest.mark.parametrize("name", ["single", "multi", "single.onnx"])
def test_a_bundle_of_a_schema_answers_as_it_did(schema: str, name: str) -> None:
    path = HERE / schema / name
    found = exported.load(path) if path.is_file() else beholder.load(path)
    close(said(found), json.loads(path.with_suffix(".json").read_bytes()))


def test_the_fixed_pictures_are_of_every_kind() -> None:
    """Of what could go wrong each is there: known and unknown pictures, none and several labels, sets of one and of more."""
    answers = [answer for file in (HERE / "schema1").glob("*.json") for answer in json.loads(file.read_bytes())]
    assert {answer["ood"] for answer in answers} == {True, False}
    assert {len(answer["set"]) for answer in answers} >= {1, 2}
    assert {answer["positive"] for answer in answers} == {True, False}
    assert {str(answer["label"]).count(";") for answer in answers} == {0, 1}
    assert np.ptp([answer["p"] for answer in answers]) > 0.3


@pytest.mark.parametrize("name", ["single", "multi"])
def test_schema_1_is_saved_as_schema_2_and_answers_the_same(name: str, tmp_path: Path) -> None:
    bundle = beholder.load(HERE / "schema1" / name)
    again = beholder.load(bundle.save(tmp_path / "again.beholder"))
    assert json.loads((tmp_path / "again.beholder" / "config.json").read_bytes())["schema"] == 2
    assert replace(again.config, files={}) == replace(bundle.config, files={})
    assert again.config.operating_points
    assert again.config.ood
    assert again.config.audit
    assert again.config.floor
    assert said(again) == said(bundle)


def test_both_schemas_hold_the_same() -> None:
    """The fixtures were made of the same pictures and recipe, before and after the change of the schema."""
    old, new = (beholder.load(HERE / schema / "single").config for schema in ("schema1", "schema2"))
    unlike = {each.name for each in fields(old) if getattr(old, each.name) != getattr(new, each.name)}
    assert unlike <= {"files", "floor", "ood", "profile", "seconds", "valid_score"}, unlike
