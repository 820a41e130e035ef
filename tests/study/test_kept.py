from __future__ import annotations

import numpy as np
import pytest

from beholder.base.deadline import Deadline
from beholder.base.records import Score
from beholder.data.select import Ground
from beholder.study import kept
from beholder.study.growth import Fits, Grounds
from beholder.study.judge import Judge
from beholder.study.kept import Kept, Point
from beholder.tasks.single import SINGLE

ROUNDS = [(np.arange(0, 80), np.arange(80, 100)), (np.arange(20, 100), np.arange(0, 20))]
TARGETS = np.arange(100) % 2


class Watched:
    """A learner that answers rightly of a picture if its neighbour in number was learnt from, and says what it was given."""

    def __init__(self) -> None:
        self.given: list[tuple[np.ndarray, np.ndarray]] = []

    def __call__(self, rows: np.ndarray, scored: np.ndarray) -> np.ndarray:
        self.given.append((rows, scored))
        right = np.isin(scored % 20, rows % 20)
        return np.where((TARGETS[scored] == 1) == right, 1.0, -1.0)[:, None] * np.array([[-1.0, 1.0]])


def drawn(watched: Watched, *, until: Deadline = Deadline()) -> kept.Drawn:  # noqa: B008  (no deadline)
    grounds = Grounds(TARGETS, np.arange(100), ROUNDS)
    judge = Judge(SINGLE, np.eye(2, dtype=np.float32)[TARGETS[grounds.scored]], np.ones((3, 40), np.int64))
    scores = np.arange(80, dtype=np.float32)
    choose = {name: [Ground(TARGETS[rows], None, scores) for rows, _ in ROUNDS] for name in ("random", "hard")}
    return kept._draws(Fits(watched, grounds, until), judge, choose, [0.1, 0.5], 0, False)


def test_scored_pictures_are_never_learnt_from() -> None:
    watched = Watched()
    found = drawn(watched)
    assert set(found) == {("random", 1.0), *((way, share) for way in ("random", "hard") for share in (0.1, 0.5))}
    assert all(len(draws) == (1 if share == 1 else kept.DRAWS) for (_, share), draws in found.items())
    assert not any(set(rows.tolist()) & set(scored.tolist()) for rows, scored in watched.given)
    assert {len(rows) for rows, _ in watched.given} == {80, 8, 40}
    assert found["random", 1.0][0][0] == 1.0


def test_what_there_is_no_time_for_is_left_out() -> None:
    class Clock:
        now = 0.0

    def learn(rows: np.ndarray, scored: np.ndarray) -> np.ndarray:
        Clock.now += len(rows)
        return np.ones((len(scored), 2))

    grounds = Grounds(TARGETS, np.arange(100), ROUNDS)
    judge = Judge(SINGLE, np.eye(2, dtype=np.float32)[TARGETS[grounds.scored]], np.ones((3, 40), np.int64))
    fits = Fits(learn, grounds, Deadline(200.0, now=lambda: Clock.now), each=1.0)
    choose = {"random": [Ground(TARGETS[rows]) for rows, _ in ROUNDS]}
    assert set(kept._draws(fits, judge, choose, [0.1, 0.5], 0, False)) >= {("random", 1.0)}
    assert ("random", 0.5) not in kept._draws(fits, judge, choose, [0.1, 0.5], 0, False)


def test_a_gain_is_that_of_the_same_scored_pictures() -> None:
    """Both ways vary alike with the pictures that are scored: the interval of the difference knows it."""
    rng = np.random.default_rng(0)
    common = 0.8 + 0.01 * rng.normal(size=41)
    found: kept.Drawn = {
        ("hard", 0.5): [common + 0.05, common + 0.05],
        ("random", 0.5): [common, common],
    }
    point = kept._point(found, "hard", 0.5, 40, 100)
    assert point.gain.value == pytest.approx(0.05)
    assert point.gain.high - point.gain.low < 1e-9
    assert point.score.high - point.score.low > 0.05
    assert point.draws == 2


def test_the_sentences_say_where_it_is_better_and_where_worse() -> None:
    def score(value: float, half: float = 0.01) -> Score:
        return Score(value, value - half, value + half, 100)

    points = (
        Point(0.1, 10, score(0.5), score(0.6), score(-0.1), 3),
        Point(0.3, 30, score(0.7), score(0.7), score(0.0), 3),
        Point(0.5, 50, score(0.8), score(0.75), score(0.05), 3),
    )
    said = " ".join(Kept("accuracy", "hard", "heads", "scored on 100", points, score(0.9), 100, ()).sentences())
    assert "hard is better than chance at 50 % (+0.050 [+0.040, +0.060])." in said
    assert "hard is worse than chance at 10 % (-0.100 [-0.110, -0.090])." in said
    none = Kept("accuracy", "hard", "heads", "scored on 100", points[1:2], score(0.9), 100, ()).sentences()
    assert none[-1] == "No share shows a difference between hard and chance."
