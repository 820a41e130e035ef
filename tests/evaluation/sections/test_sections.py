"""Sections are chosen by name, and one that fails leaves the others."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from beholder.base import events
from beholder.base.errors import DataError, UsageError
from beholder.base.registry import Registry
from beholder.evaluation import sections
from beholder.evaluation.evaluate import Evaluation
from beholder.measure.scores import single


def fine(bundle: object, evaluation: object) -> dict[str, int]:
    return {"n": 1}


def failing(bundle: object, evaluation: object) -> None:
    raise DataError("too few pictures", code="few", hint="give more")


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {name: f"{__name__}:{name}" for name in ("fine", "failing")}
    monkeypatch.setattr(sections, "SECTIONS", Registry("section", {**rows, "cost": f"{__name__}:fine"}))


def test_words_choose_sections() -> None:
    assert sections.chosen("none") == []
    assert sections.chosen("usual") == ["fine", "failing"]
    assert sections.chosen("all") == ["fine", "failing", "cost"]
    assert sections.chosen("cost, fine") == ["cost", "fine"]
    with pytest.raises(UsageError, match="no section named 'fien'"):
        sections.chosen("fien")


def test_a_section_that_fails_leaves_the_others() -> None:
    scores = single(np.eye(2), [0, 1], ["cat", "dog"])
    told = Evaluation(scores, np.eye(2, dtype=np.float32), np.array([0, 1]), ["a", "b"], (), 0.0, "s")
    with events.listen(alone=True):
        found = sections.examined(SimpleNamespace(task=SimpleNamespace(without=())), told, ["failing", "fine"])  # type: ignore[arg-type]
    assert found.sections == {"fine": {"n": 1}}


def test_out_of_distribution_sets_are_given_to_their_section(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sections, "SECTIONS", Registry("section", {"ood": f"{__name__}:against"}))
    scores = single(np.eye(2), [0, 1], ["cat", "dog"])
    told = Evaluation(scores, np.eye(2, dtype=np.float32), np.array([0, 1]), ["a", "b"], (), 0.0, "s")
    found = sections.examined(SimpleNamespace(task=SimpleNamespace(without=())), told, [], ood=["x.zip"])  # type: ignore[arg-type]
    assert found.sections == {"ood": {"sets": ["x.zip"], "allow_download": False}}


def against(bundle: object, evaluation: object, *, sources: list[str], allow_download: bool) -> dict[str, object]:
    return {"sets": sources, "allow_download": allow_download}
