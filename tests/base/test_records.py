from __future__ import annotations

import json
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beholder.base.records import PARTS, Parts, Pictures, PixelPolicy, Prediction, Score


class Nowhere:
    name = "nowhere"

    def read(self, key: str) -> bytes:
        raise KeyError(key)

    def stamp(self, key: str) -> str:
        return ""


def pictures(targets: npt.ArrayLike, *, multi: bool = False, digests: bool = False) -> Pictures:
    array = np.asarray(targets, np.uint8 if multi else np.int64)
    n = len(array)
    return Pictures(
        store=Nowhere(),
        keys=[f"{i}.jpg" for i in range(n)],
        targets=array,
        classes=("a", "b", "c"),
        parts=np.arange(n, dtype=np.int8) % 3,
        groups=np.arange(n, dtype=np.int64) * 10,
        digests=np.arange(n * 32, dtype=np.uint8).reshape(n, 32) if digests else None,
        notes=("odd",),
    )


def test_take_keeps_rows_together_and_in_order() -> None:
    taken = pictures([0, 1, 2, 1], digests=True).take(np.array([3, 0]))
    assert list(taken.keys) == ["3.jpg", "0.jpg"]
    assert taken.targets.tolist() == [1, 0]
    assert taken.parts.tolist() == [0, 0]
    assert taken.groups.tolist() == [30, 0]
    assert taken.digests is not None
    assert taken.digests[:, 0].tolist() == [96, 0]
    assert (taken.classes, taken.notes, len(taken)) == (("a", "b", "c"), ("odd",), 2)


def test_take_of_nothing_is_empty() -> None:
    empty = pictures([0, 1]).take(np.array([], dtype=np.int64))
    assert len(empty) == 0
    assert empty.counts().tolist() == [0, 0, 0]


@given(st.lists(st.integers(0, 2), min_size=1, max_size=30))
def test_counts_agree_with_labels(targets: list[int]) -> None:
    table = pictures(targets)
    assert not table.multi
    labels = [table.labels(i) for i in range(len(table))]
    assert table.counts().tolist() == [labels.count((name,)) for name in table.classes]
    assert table.counts().sum() == len(table)


@given(st.lists(st.tuples(*[st.integers(0, 1)] * 3), min_size=1, max_size=30))
def test_counts_agree_with_labels_of_many(rows: list[tuple[int, ...]]) -> None:
    table = pictures(rows, multi=True)
    assert table.multi
    said = [label for i in range(len(table)) for label in table.labels(i)]
    assert table.counts().tolist() == [said.count(name) for name in table.classes]
    assert table.counts().dtype == np.int64


def test_multi_hot_counts_do_not_overflow() -> None:
    assert pictures(np.ones((300, 3)), multi=True).counts().tolist() == [300, 300, 300]


def test_parts_come_in_the_order_of_their_indices() -> None:
    parts = Parts(*(pictures([k]) for k in range(3)))
    assert tuple(name for name, _ in parts.items()) == PARTS
    assert [part.targets[0] for _, part in parts.items()] == [0, 1, 2]


def test_score_reads_as_the_design_shows_it() -> None:
    assert str(Score(0.962, 0.941, 0.976, 480)) == "0.962 [0.941, 0.976] (n=480)"
    assert str(Score(math.nan, math.nan, math.nan, 1)) == "- (n=1)"
    assert Score(0.5, 0.25, 0.75, 4).json() == {"value": 0.5, "low": 0.25, "high": 0.75, "n": 4}
    undefined = Score(float("nan"), float("nan"), float("nan"), 0)
    assert json.loads(json.dumps(undefined.json(), allow_nan=False)) == {"value": None, "low": None, "high": None, "n": 0}


def test_pixel_policy_survives_json() -> None:
    policy = PixelPolicy(32, 48, 1, "pad", (1, 2, 3), 12)
    fields = json.loads(json.dumps(policy.json()))
    assert fields == {"height": 32, "width": 48, "channels": 1, "fit": "pad", "background": [1, 2, 3], "bits": 12}
    assert PixelPolicy(**{**fields, "background": tuple(fields["background"])}) == policy


def test_a_guess_does_not_print_a_thousand_classes() -> None:
    guess = Prediction("rust", 0.97, {"rust": 0.97, "other": 0.03})
    assert repr(guess) == "Prediction(label='rust', p=0.97)"
    assert guess.beyond() == {}
    marked = Prediction("rust", 0.97, {"rust": 0.97}, abstain=False, ood=True, ood_score=0.98)
    assert repr(marked) == "Prediction(label='rust', p=0.97, abstain=False, ood=True, ood_score=0.98)"
    assert marked.beyond() == {"abstain": False, "ood": True, "ood_score": 0.98}


def test_records_are_frozen() -> None:
    with pytest.raises(AttributeError):
        pictures([0]).classes = ("x",)  # type: ignore[misc]
