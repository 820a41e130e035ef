from __future__ import annotations

import copy
import gc
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from beholder.base.display import SMALL, Given, html
from beholder.base.records import Prediction, Score


def test_what_is_small_or_a_name_stays_and_what_is_large_is_not_held() -> None:
    assert Given("new.jpg")() == "new.jpg"
    assert Given(Path("new.jpg"))() == Path("new.jpg")
    assert Given(b"abc")() == b"abc"
    assert Given(bytes(SMALL + 1))() is None
    assert Given(3)() is None
    small = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    kept = Given(small[:1])
    small[:] = 0
    assert kept().tolist() == [[[0, 1, 2], [3, 4, 5]]], "a copy, not the batch that it is a part of"
    assert Given(small.tobytes(), keep=False)() is None
    loose = Given(small[:1], keep=False)
    assert loose() is None, "nobody holds that slice"
    held = small[:1]
    assert Given(held, keep=False)() is held
    large, picture = np.zeros((100, 100, 3), np.uint8), Image.new("RGB", (300, 300))
    each = [Given(large), Given(picture)]
    assert each[0]() is large
    assert each[1]() is picture
    del large, picture
    gc.collect()
    assert [one() for one in each] == [None, None]


def through_pickle(answer: Prediction) -> Prediction:
    found: Prediction = pickle.loads(pickle.dumps(answer))  # noqa: S301  (made here)
    return found


def test_answers_are_copied_compared_and_pickled_without_their_pictures() -> None:
    picture = Image.new("RGB", (300, 300))
    answer = Prediction("a", 1.0, {"a": 1.0}, given=Given(picture))
    assert answer.picture is picture
    assert answer == Prediction("a", 1.0, {"a": 1.0})
    assert "given" not in repr(answer)
    for again in (copy.deepcopy(answer), through_pickle(answer)):
        assert again == answer
        assert again.picture is None
    assert through_pickle(Prediction("a", 1.0, {}, given=Given("x.jpg"))).picture == "x.jpg"
    assert Prediction("a", 1.0, {}).picture is None


def test_a_value_is_html_in_a_notebook_and_what_has_none_has_its_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Score(0.9, 0.8, 0.95, 100)._repr_html_()
    assert made is not None
    assert "0.900 [0.800, 0.950] (n=100)" in made
    assert html(3) is None

    def broken(_: object) -> None:
        raise RuntimeError("a bug in what is only a decoration")

    monkeypatch.setattr("beholder.reporting.display.blocks", broken)
    assert Score(0.9, 0.8, 0.95, 100)._repr_html_() is None
