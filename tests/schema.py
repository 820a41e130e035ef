"""The form of scores.json, held against whatever the tests of a folder make."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

import pytest


@pytest.fixture(scope="session", autouse=True)
def scores_have_their_form() -> Iterator[None]:
    """Every scores.json that a test makes is held against the schema."""
    if find_spec("jsonschema") is None:
        yield
        return
    import jsonschema

    from beholder.evaluation.evaluate import Evaluation

    schema = json.loads(files("beholder.evaluation").joinpath("scores.schema.json").read_text("utf-8"))
    validator, plain = jsonschema.Draft202012Validator(schema), Evaluation.json

    def checked(evaluation: Evaluation) -> dict[str, Any]:
        found = plain(evaluation)
        validator.validate(json.loads(json.dumps(found)))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Evaluation, "json", checked)
        yield
