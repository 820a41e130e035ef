from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beholder.base import events
from beholder.base.errors import DataError, UsageError
from beholder.base.records import Pictures
from beholder.data.split import split
from beholder.duplicates.near import Twins
from beholder.sources.arrays import ArrayStore


def table(
    targets: np.ndarray,
    *,
    contents: Sequence[int] | None = None,
    groups: Sequence[int] | None = None,
    parts: Sequence[int] | None = None,
) -> Pictures:
    """Pictures with digests drawn from `contents`: equal numbers are exact duplicates."""
    n = len(targets)
    numbers = np.arange(n) if contents is None else np.asarray(contents)
    digests = np.stack([np.random.default_rng(int(c)).integers(0, 256, 32, np.uint8) for c in numbers.tolist()])
    return Pictures(
        store=ArrayStore(np.zeros((n, 1, 1), np.uint8)),
        keys=[str(i) for i in range(n)],
        targets=targets,
        classes=tuple(str(k) for k in range(targets.shape[1] if targets.ndim == 2 else int(targets.max()) + 1)),
        parts=np.full(n, -1, np.int8) if parts is None else np.asarray(parts, np.int8),
        groups=np.full(n, -1, np.int64) if groups is None else np.asarray(groups, np.int64),
        digests=digests,
    )


def test_unreadable_pictures_of_the_same_bytes_are_dealt_one_by_one() -> None:
    pictures = table(np.arange(40) % 2, contents=[*range(20), *[20] * 20])
    assert min(len(part) for _, part in split(pictures, near=False, unreadable=np.arange(40) >= 20).items()) == 6
    held = [set(part.keys) & {str(i) for i in range(20, 40)} for _, part in split(pictures, near=False).items()]
    assert sorted(map(len, held)) == [0, 0, 20]


def assignment(pictures: Pictures, **options: Any) -> tuple[np.ndarray, list[events.Event]]:
    """The part of each picture in the order of the table, and what was said."""
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        parts = split(pictures, near=False, **options)
    part = {key: p for p, (_, rows) in enumerate(parts.items()) for key in rows.keys}
    assert sum(len(rows) for _, rows in parts.items()) == len(pictures) == len(part)
    assert all((rows.parts == p).all() and rows.parts.dtype == np.int8 for p, (_, rows) in enumerate(parts.items()))
    return np.array([part[key] for key in pictures.keys]), said


@given(st.data())
def test_it_is_a_partition_that_keeps_ties_and_depends_on_content_alone(data: st.DataObject) -> None:
    n = data.draw(st.integers(12, 80))
    targets = np.array(data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)))
    contents = data.draw(st.lists(st.integers(0, 2 * n), min_size=n, max_size=n))
    groups = data.draw(st.lists(st.integers(-1, n), min_size=n, max_size=n))
    seed = data.draw(st.integers(0, 9))
    pictures = table(targets, contents=contents, groups=groups)
    part, _ = assignment(pictures, seed=seed)
    for ties in (np.array(contents), np.array(groups)):
        for value in np.unique(ties[ties >= 0]):
            assert len(set(part[ties == value].tolist())) == 1
    order = np.random.default_rng(seed).permutation(n)
    again, _ = assignment(pictures.take(order), seed=seed)
    np.testing.assert_array_equal(again, part[order])


@given(st.integers(60, 400), st.integers(2, 8), st.floats(0.05, 0.4), st.floats(0.05, 0.4), st.integers(0, 99))
def test_shares_are_those_asked_in_every_class(n: int, k: int, valid: float, test: float, seed: int) -> None:
    targets = np.random.default_rng(n).integers(0, k, n)
    part, _ = assignment(table(targets), seed=seed, val=valid, test=test)
    for label in range(k):
        rows = part[targets == label]
        for number, share in ((1, valid), (2, test)):
            assert abs((rows == number).sum() - share * len(rows)) <= 1 + 1e-9
    for number, share in ((1, valid), (2, test)):
        assert abs((part == number).sum() - share * n) <= k


@given(st.lists(st.integers(3, 6), min_size=2, max_size=8), st.integers(0, 9))
def test_every_part_sees_every_class_of_three_pictures(sizes: list[int], seed: int) -> None:
    targets = np.repeat(np.arange(len(sizes)), sizes)
    part, said = assignment(table(targets), seed=seed)
    for label in range(len(sizes)):
        assert set(part[targets == label].tolist()) == {0, 1, 2}
    assert said == []


@given(st.integers(0, 20))
def test_every_part_sees_every_class_of_three_groups(seed: int) -> None:
    targets = np.repeat([0, 1, 2], 30)
    part, said = assignment(table(targets, groups=np.arange(90) // 10), seed=seed)
    for label in range(3):
        assert set(part[targets == label].tolist()) == {0, 1, 2}
    assert said == []


def test_another_seed_is_another_split() -> None:
    pictures = table(np.arange(200) % 2)
    first, second = (assignment(pictures, seed=seed)[0] for seed in (0, 1))
    assert 0.3 < (first == second).mean() < 0.8


def test_groups_come_near_the_shares() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 10, 2000)
    groups = rng.integers(0, 200, 2000)
    part, _ = assignment(table(targets, groups=groups), seed=0)
    assert abs((part == 1).mean() - 0.15) < 0.02
    assert abs((part == 2).mean() - 0.15) < 0.02


def test_several_labels_are_balanced() -> None:
    rng = np.random.default_rng(0)
    targets = (rng.random((1500, 6)) < [0.9, 0.5, 0.3, 0.1, 0.05, 0.02]).astype(np.uint8)
    part, _ = assignment(table(targets), seed=3)
    for label in range(6):
        rows = part[targets[:, label] == 1]
        for number in (1, 2):
            assert abs((rows == number).sum() - 0.15 * len(rows)) <= max(3, 0.03 * len(rows))
    assert abs((part == 0).mean() - 0.7) < 0.02


def test_given_parts_stay_and_the_missing_one_is_taken_from_train() -> None:
    given_parts = np.array([0] * 80 + [2] * 20)
    part, said = assignment(table(np.arange(100) % 2, parts=given_parts), val=0.25)
    assert (part[80:] == 2).all()
    assert (part[:80] == 1).sum() == 20
    assert said == []


def test_a_whole_given_split_is_left_alone() -> None:
    given_parts = np.arange(90) // 10 % 3
    part, _ = assignment(table(np.arange(90) % 2, parts=given_parts))
    np.testing.assert_array_equal(part, given_parts)


def test_pictures_without_a_part_are_divided_and_follow_their_twins() -> None:
    given_parts = np.array([2] * 10 + [-1] * 60)
    contents = np.arange(70)
    contents[10] = 3
    part, said = assignment(table(np.arange(70) % 2, parts=given_parts, contents=contents), val=0.25)
    assert (part[:11] == 2).all()
    assert (part[11:] == 1).sum() in (14, 15, 16)
    assert (part[11:] != 2).all()
    assert said == []


def test_twins_across_given_parts_are_counted_and_not_moved() -> None:
    given_parts = np.array([0] * 40 + [2] * 20)
    contents = np.arange(60)
    contents[40:43] = [0, 1, 1]
    part, said = assignment(table(np.arange(60) % 2, parts=given_parts, contents=contents))
    assert (part[40:] == 2).all()
    assert (part[:2] == 0).all()
    assert [(e.kind, e.fields["code"]) for e in said] == [("warn", "leak")]
    assert said[0].message.startswith("5 pictures")
    assert said[0].fields["keys"] == ["0", "1", "40", "41", "42"]


def test_given_pictures_stay_where_others_are_divided_or_a_part_is_taken_from_them() -> None:
    part, _ = assignment(table(np.arange(60) % 2, parts=[0] * 20 + [-1] * 40))
    assert (part[:20] == 0).all()
    assert sorted(np.bincount(part[20:]).tolist()) == [6, 6, 28]
    contents = np.arange(60)
    contents[40:43] = [0, 1, 2]
    part, _ = assignment(table(np.arange(60) % 2, parts=[0] * 40 + [2] * 20, contents=contents), val=0.5)
    assert (part[:3] == 0).all()  # of the pictures of train, those that have a duplicate in the test stay


def test_a_class_whose_pictures_all_look_alike_is_divided_and_that_is_said() -> None:
    pairs = np.array([*([k, k + 1] for k in range(19)), [20, 21]])
    scores = np.full(20, 0.9)
    scores[4] = 0.97
    twins = Twins(np.arange(60), pairs, scores)
    for seed in range(5):
        part, said = assignment(table(np.array([0] * 20 + [1] * 40)), twins=twins, seed=seed)
        assert np.bincount(part[:20], minlength=3).min() >= 2
        assert part[4] == part[5]  # the surest stay together, and so do those of other classes
        assert part[20] == part[21]
        assert [event.fields["code"] for event in said] == ["near-ties"]
        assert "pictures of 0 look alike" in said[0].message


def test_the_largest_remainder_gets_the_odd_picture_and_an_empty_part_takes_from_the_fullest() -> None:
    targets = np.arange(20) % 2
    part, _ = assignment(table(targets), val=0.24, test=0.235)
    assert [np.bincount(part[targets == label]).tolist() for label in (0, 1)] == [[5, 3, 2], [5, 3, 2]]
    part, _ = assignment(table(np.arange(6) % 2), val=0.6, test=0.3)
    assert [np.bincount(part[k::2], minlength=3).tolist() for k in (0, 1)] == [[1, 1, 1], [1, 1, 1]]


def test_the_old_name_of_a_share_is_understood_and_said() -> None:
    part, said = assignment(table(np.arange(40) % 2), valid=0.25)
    assert (part == 1).sum() == 10
    assert ["valid" in event.message and "val" in str(event.fields) for event in said] == [True]


def test_a_class_with_one_picture_is_allowed_with_a_warning() -> None:
    targets = np.array([0] * 20 + [1] * 20 + [2])
    part, said = assignment(table(targets))
    assert part[-1] == 0
    assert [e.fields["code"] for e in said] == ["lone-class"]


def test_a_class_of_two_pictures_is_missing_somewhere_and_that_is_said() -> None:
    said = assignment(table(np.array([0] * 20 + [1] * 20 + [2] * 2)))[1]
    assert {e.fields["code"] for e in said} == {"missing-class"}
    assert all("of 3 classes: 2" in e.message for e in said)


def test_a_share_of_zero_leaves_the_part_empty() -> None:
    part, said = assignment(table(np.arange(40) % 2), val=0.0, test=0.25)
    assert (part == 1).sum() == 0
    assert (part == 2).sum() == 10
    assert said == []


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(DataError, match="too few") as few:
        split(table(np.array([0, 1])))
    assert few.value.code == "too-few-pictures"
    with pytest.raises(UsageError) as share:
        split(table(np.array([0, 1] * 4)), val=0.5, test=0.5)
    assert share.value.code == "bad-share"
    with pytest.raises(DataError) as train:
        split(table(np.array([0, 1] * 4), parts=[2] * 8))
    assert train.value.code == "no-train"


def test_sixty_thousand_pictures_take_less_than_two_seconds() -> None:
    n = 60_000
    rng = np.random.default_rng(0)
    digests = rng.integers(0, 256, (n, 32), np.uint8)
    digests[1::50] = digests[::50]
    small = table(rng.integers(0, 10, 20))
    large = Pictures(
        store=small.store, keys=[str(i) for i in range(n)], targets=rng.integers(0, 10, n), classes=small.classes,
        parts=np.full(n, -1, np.int8), groups=np.full(n, -1, np.int64), digests=digests,
    )  # fmt: skip
    start = time.process_time()
    split(large, near=False)
    assert time.process_time() - start < 2
