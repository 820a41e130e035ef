from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beholder.base.arrays import F32, I64
from beholder.data import clusters
from beholder.data.select import BINS, WAYS, Ground, covering, cut_of, el2n, quotas, select, strata_of, to_label
from beholder.measure.neighbours import unit

SIZES = st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(any)


def ground(sizes: list[int], *, doubled: bool = False) -> Ground:
    strata = np.repeat(np.arange(len(sizes)), sizes)
    rng = np.random.default_rng(7)
    units = np.arange(len(strata)) // 2 if doubled else None
    return Ground(strata, units, rng.random(len(strata)).astype(np.float32), unit(rng.normal(size=(len(strata), 5))))


@given(SIZES, st.floats(0.01, 1), st.booleans())
def test_quotas_are_the_shares_and_no_more_than_there_are(sizes: list[int], share: float, balanced: bool) -> None:
    there = np.array(sizes)
    count = max(1, round(share * there.sum()))
    found = quotas(there, count, balanced=balanced)
    assert found.sum() == count
    assert ((found >= 0) & (found <= there)).all()
    if count >= np.count_nonzero(there):
        assert (found[there > 0] > 0).all()
    if balanced:
        full = found < there
        assert not full.any() or found[full].max() - found[full].min() <= 1
    elif count >= 2 * len(there):
        roomy = count * there / there.sum() >= 1
        assert (np.abs(found - count * there / there.sum())[roomy] <= len(there)).all()


@pytest.mark.parametrize("by", WAYS)
@given(sizes=SIZES, share=st.floats(0.05, 1), seed=st.integers(0, 3), balanced=st.booleans(), doubled=st.booleans())
def test_every_way_keeps_its_promises(
    by: str, sizes: list[int], share: float, seed: int, balanced: bool, doubled: bool
) -> None:
    on = ground(sizes, doubled=doubled)
    count = max(len(np.unique(on.strata)), round(share * len(on.strata)))
    rows = select(by, on, count, seed=seed, balanced=balanced)
    assert len(rows) == count
    assert (np.diff(rows) > 0).all()
    assert rows.max() < len(on.strata)
    counts = np.bincount(on.strata[rows], minlength=len(sizes))
    assert (counts == quotas(np.array(sizes), count, balanced=balanced)).all()
    assert (rows == select(by, on, count, seed=seed, balanced=balanced)).all()
    if on.units is not None:
        for k in np.unique(on.strata):
            inside = on.units[on.strata == k]
            if counts[k] <= len(np.unique(inside)):
                assert len(np.unique(on.units[rows][on.strata[rows] == k])) == counts[k]


def test_hard_takes_the_highest_scores_of_each_class() -> None:
    strata = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    scores = np.array([0.1, 0.9, 0.5, 0.3, 0.2, 0.0, 0.7, 0.6])
    assert select("hard", Ground(strata, None, scores), 4).tolist() == [1, 2, 6, 7]


def test_spread_takes_one_of_each_blob() -> None:
    centres = np.eye(6)
    rng = np.random.default_rng(0)
    features = unit(np.repeat(centres, 10, axis=0) + 0.02 * rng.normal(size=(60, 6)))
    rows = select("spread", Ground(np.zeros(60, np.int64), None, None, features), 6)
    assert (rows // 10).tolist() == list(range(6))


def test_mixed_is_the_coverage_centric_selection_of_the_paper() -> None:
    """Algorithm 1 by hand: the hardest are dropped, and each range of scores gives what it has, or its share of what is left.

    Of the scores 0 to 99 those from 90 on go with a cut of 0.1; 9 ranges of 10 give one each for 9.
    """
    scores, rows = np.arange(100.0), np.arange(100)
    found = covering(scores, rows, 9, cut=0.1, rng=np.random.default_rng(0))
    assert np.sort(found // 10).tolist() == list(range(9))
    lumpy = np.concatenate([np.zeros(90), [50, 51, 98, 99, 100, 100, 100, 100, 100, 100]])
    found = covering(lumpy, rows, 20, cut=0.0, rng=np.random.default_rng(0))
    counts = np.bincount((lumpy[found] / 100 * 20).astype(int).clip(max=19), minlength=20)
    # The ranges at 50, 51 (one), 98 to 100 (eight) and 0 (ninety): the two of 50 first, then eight, and the rest from the easy.
    assert (counts[10], counts[19], counts[0]) == (2, 8, 10)


def test_mixed_drops_the_hardest_only_where_few_are_kept() -> None:
    assert [round(cut_of(kept), 3) for kept in (0.9, 0.5, 0.3, 0.1)] == [0, 0, 0.15, 0.3]
    scores = np.linspace(0, 1, 1000)
    strata = np.zeros(1000, np.int64)
    assert scores[select("mixed", Ground(strata, None, scores), 500)].max() > 0.99
    few = scores[select("mixed", Ground(strata, None, scores), 100)]
    assert few.max() < 0.71
    assert few.min() < 0.03
    assert np.histogram(few, BINS, (0, 0.7))[0].min() >= 1  # every range is covered


def test_equal_scores_are_no_trouble() -> None:
    assert len(select("mixed", Ground(np.zeros(30, np.int64), None, np.ones(30)), 10)) == 10


def test_near_duplicates_go_first() -> None:
    strata = np.zeros(10, np.int64)
    units = np.array([0, 0, 0, 0, 0, 0, 1, 2, 3, 4])
    scores = np.array([9.0] * 6 + [1, 2, 3, 4])
    assert np.unique(units[select("hard", Ground(strata, units, scores), 5)]).tolist() == [0, 1, 2, 3, 4]
    seven = select("hard", Ground(strata, units, scores), 7)
    assert np.bincount(units[seven]).tolist() == [3, 1, 1, 1, 1]


def test_of_several_labels_the_rarest_counts() -> None:
    hot = np.array([[1, 1, 0]] * 2 + [[1, 0, 0]] * 6 + [[0, 0, 0]] * 2, np.uint8)
    strata = strata_of(hot)
    assert strata.tolist() == [1] * 2 + [0] * 6 + [3] * 2
    rows = select("random", Ground(strata), 4)
    assert {1, 3} <= set(strata[rows].tolist())


def test_el2n_is_the_length_of_the_error() -> None:
    p = np.array([[0.6, 0.4, 0.0], [0.0, 1.0, 0.0]])
    assert np.allclose(el2n(p, np.array([[1, 0, 0], [0, 1, 0]])), [np.sqrt(0.16 + 0.16), 0])


def three_blobs() -> tuple[F32, I64]:
    """Rows of 30, 20 and 10 that are alike, and which they are."""
    blob = np.repeat(np.arange(3), [30, 20, 10])
    return unit(np.eye(3)[blob] + 0.05 * np.random.default_rng(0).normal(size=(60, 3))), blob


def test_where_all_is_doubtful_each_kind_comes_once_the_commonest_first() -> None:
    features, blob = three_blobs()
    assert blob[to_label(features, np.zeros(60), 3)].tolist() == [0, 1, 2]
    assert blob[to_label(features, np.zeros(60), 2, known=features[:1])].tolist() == [1, 2]


def test_what_the_model_is_sure_of_comes_last() -> None:
    features, blob = three_blobs()
    assert blob[to_label(features, np.where(blob == 0, 1.0, 0.0), 3)].tolist() == [1, 2, 0]  # thirty of weight 0.3
    margins = np.where(blob == 1, 0.0, 0.9)  # twenty of weight 1 outweigh thirty of weight 0.37
    assert blob[to_label(features, margins, 3)].tolist() == [1, 0, 2]
    assert blob[to_label(features, np.ones(60), 3)].tolist() == [0, 1, 2]  # sure of all: still one of each kind


def test_to_label_is_the_greedy_choice_of_all_rows() -> None:
    rng = np.random.default_rng(1)
    features, margins = unit(rng.normal(size=(300, 8))), rng.random(300)
    known, left = unit(rng.normal(size=(5, 8))), list(range(300))
    squares = ((features[:, None] - features[None]) ** 2).sum(axis=2)
    covered = np.exp(-((features[:, None] - known[None]) ** 2).sum(axis=2)).max(axis=1)
    found: list[int] = []
    for _ in range(20):
        sums = [((1 - 0.7 * margins) * np.maximum(covered, np.exp(-squares[row]))).sum() for row in left]
        found.append(left.pop(int(np.argmax(sums))))
        covered = np.maximum(covered, np.exp(-squares[found[-1]]))
    assert to_label(features, margins, 20, known=known).tolist() == found


def test_to_label_of_all_equal_or_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    features, blob = three_blobs()
    assert sorted(to_label(features, np.zeros(60), 60).tolist()) == list(range(60))
    same = np.tile(np.float32([1, 0]), (100, 1))
    assert len(np.unique(to_label(same, np.ones(100), 70))) == 70
    monkeypatch.setattr(clusters, "AT_ONCE", 60)  # four blocks of rows by chance
    found = to_label(features, np.zeros(60), 12)
    assert len(np.unique(found)) == 12
    assert set(blob[found].tolist()) == {0, 1, 2}
