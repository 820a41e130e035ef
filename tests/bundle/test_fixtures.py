"""Bundles of every schema answer as they did when they were written (`fixtures/make.py` says how they were made)."""

from __future__ import annotations

import json
import runpy
import shutil
import zipfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import beholder
from beholder.base.records import PixelPolicy
from beholder.bundle.config import SCHEMA
from beholder.data.cache import cached, policy_name
from beholder.data.vectors import recalled
from beholder.runtime import exported
from beholder.sources.digest import digested

HERE = Path(__file__).parent / "fixtures"
said = runpy.run_path(str(HERE / "make.py"))["said"]
others = runpy.run_path(str(HERE / "make_others.py"))


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


def test_every_schema_of_every_kind_of_bundle_has_a_fixture() -> None:
    """Who raises the number adds bundles that the code before it wrote."""
    for schema in range(1, SCHEMA + 1):
        for name in ("single", "multi"):
            assert json.loads((HERE / f"schema{schema}" / name / "config.json").read_bytes())["schema"] == schema
    for name in ("detector", "generator"):  # which schema 1 did not have
        with zipfile.ZipFile(HERE / "others" / f"{name}.zip") as packed:
            assert json.loads(packed.read("config.json"))["schema"] == 2 == SCHEMA, "add fixtures of the new schema"


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    for name in ("detector", "generator"):
        shutil.unpack_archive(HERE / "others" / f"{name}.zip", tmp_path / f"{name}.beholder")
    return tmp_path


def test_a_detector_finds_what_it_found(unpacked: Path) -> None:
    found = others["found"](beholder.load(unpacked / "detector.beholder"))
    for now, then in zip(found, json.loads((HERE / "others" / "detector.json").read_bytes()), strict=True):
        assert now["counts"] == then["counts"]
        assert now["p"] == pytest.approx(then["p"], abs=1e-3)
        assert now["corners"] == pytest.approx(then["corners"], abs=0.1)


def test_a_generator_makes_what_it_made(unpacked: Path) -> None:
    made = others["made"](beholder.Generator.load(unpacked / "generator.beholder"))
    assert made == pytest.approx(json.loads((HERE / "others" / "generator.json").read_bytes()), abs=3)


def test_a_cache_of_every_released_form_is_read(tmp_path: Path) -> None:
    """Another conversion or layout gives another name of folder: then this fixture stays, and one of the new form joins it."""
    cache = Path(shutil.copytree(HERE / "others" / "cache", tmp_path / "cache"))
    source = digested(beholder.scan(others["drawn"](tmp_path / "source"), labels=False), root=tmp_path / "other")
    policy = PixelPolicy(8, 12, channels=1)
    assert (cache / "pixels" / policy_name(policy)).is_dir(), "the conversion changed: keep a cache that the new one wrote, too"
    pixels = cached(source, policy, root=cache)
    assert pixels.decoded == 0
    assert (pixels.take(np.arange(2)) == cached(source, policy, root=tmp_path / "new").take(np.arange(2))).all()
    assert source.digests is not None
    assert recalled("fixture", source.digests, root=cache).tolist() == [[0, 1, 2], [3, 4, 5]]
