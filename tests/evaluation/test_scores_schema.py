"""scores.json has the form that its schema states; the schema refuses what is not of that form."""

from __future__ import annotations

import copy
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.evaluation.fakes import evaluated, evaluated_multi, sections

from beholder.base.records import Bad
from beholder.evaluation.evaluate import Evaluation

jsonschema = pytest.importorskip("jsonschema")
SCHEMA = json.loads(files("beholder.evaluation").joinpath("scores.schema.json").read_text("utf-8"))
PAGE = Path(__file__).parent.parent.parent / "docs" / "SCORES.md"


def made(fake: Any, **changes: Any) -> dict[str, Any]:
    given = {"scores": fake.scores, "probabilities": fake.probabilities, "targets": fake.targets, "keys": fake.keys}
    text = json.dumps(Evaluation(**given, bad=(Bad("x", "cut", "cut off"),), seconds=1.0, source="s", **changes).json())
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    fake = evaluated(["a", "b", "rust"], n=90)
    return made(fake, sections=sections(), unleaked=fake.scores.headline)


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_what_evaluate_says_is_of_the_form(whole: dict[str, Any]) -> None:
    for found in (whole, made(evaluated_multi(["a", "b"])), made(evaluated(["a", "b", "absent"], n=2))):
        jsonschema.validate(found, SCHEMA)
    assert np.isfinite(whole["scores"]["accuracy"]["value"])
    assert whole["summary"]["findings"][0].startswith("It classified")


WHERE = ["n", "summary", "scores/accuracy/low", "sections/calibration/method", "bad/0/error"]
DEEP = ["sections/reuse/corrected", "sections/cost/latency/p99", "sections/cost/throughput/per_second"]


@pytest.mark.parametrize("where", [*WHERE, *DEEP])
def test_what_lacks_a_key_is_refused(whole: dict[str, Any], where: str) -> None:
    broken = at = copy.deepcopy(whole)
    *way, last = [int(step) if step.isdigit() else step for step in where.split("/")]
    for step in way:
        at = at[step]
    del at[last]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, SCHEMA)


def test_what_a_machine_does_not_tell_may_be_absent(whole: dict[str, Any]) -> None:
    less = copy.deepcopy(whole)
    for section, key in (("cost", "energy"), ("cost", "memory"), ("cost", "opening"), ("reuse", "with"), ("reuse", "only")):
        del less["sections"][section][key]
    less["sections"]["cost"] |= {"flops": None, "bundle_bytes": None}
    jsonschema.validate(less, SCHEMA)


def test_the_page_names_every_key() -> None:
    text = PAGE.read_text("utf-8")
    assert {key for key in SCHEMA["properties"] if f"`{key}`" not in text} == set()
    assert {key for key in SCHEMA["$defs"]["sections"]["properties"] if f"`{key}`" not in text} == set()
