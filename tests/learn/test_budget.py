from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import beholder
from beholder.base import events
from beholder.base.recipe import load
from beholder.data.cache import cached
from beholder.learn import budget as room
from beholder.learn.begin import budget_of
from beholder.learn.budget import CLOSING, OPENING, Budget, sampled
from beholder.learn.prepare import Prepared, prepare


@pytest.fixture
def parts(leaves: Path) -> beholder.Parts:
    return beholder.split(beholder.scan(leaves), seed=0)


@pytest.fixture
def prepared(parts: beholder.Parts) -> Prepared:
    return prepare(parts, load("quick").set(net="cnn", minutes=1.0))


class Time:
    """A clock that stands still but for what is done."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    found = Time()
    monkeypatch.setattr(room, "time", found)
    return found


def test_what_is_left_counts_from_the_beginning_and_leaves_room_for_what_follows(clock: Time) -> None:
    limits = Budget(60.0, clock.now - 20, validation=2.0, after=10.0)
    assert (limits.left(), limits.training()) == (40.0, 30.0)
    late = Budget(60.0, clock.now - 100, after=10.0)
    assert late.left() == late.training() == pytest.approx(1.2)
    free = Budget(0.0, clock.now - 100)
    assert free.left() == free.training() == 0


def test_without_minutes_nothing_is_measured(parts: beholder.Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_each", lambda *_, **__: pytest.fail("measured"))
    found = budget_of(prepare(parts, load("quick").set(net="cnn")), parts, 5.0, 0.0)
    assert found == Budget(0.0, 5.0)


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "slowness", lambda: 1.0)


def test_costs_are_those_measured_here(
    parts: beholder.Parts, prepared: Prepared, monkeypatch: pytest.MonkeyPatch, idle: None, clock: Time
) -> None:
    monkeypatch.setattr(room, "_each", lambda work, **_: 0.5)
    cached(parts.test, prepared.policy)
    found = budget_of(prepared, parts, clock.now, 0.0)
    assert found.validation == 0.5 * len(prepared.valid.pixels) == 3.0
    assert found.after == CLOSING + OPENING + 0.5 * len(parts.test) + 0.5 * len(prepared.valid.pixels)
    assert budget_of(prepared, parts, clock.now, 7.0, 4).after == found.after + 7.0 + 2.0


def test_a_test_that_takes_long_is_a_sample_and_a_busy_machine_closes_later(
    parts: beholder.Parts, prepared: Prepared, monkeypatch: pytest.MonkeyPatch, idle: None, clock: Time
) -> None:
    monkeypatch.setattr(room, "_each", lambda work, **_: 100.0)
    assert budget_of(prepared, parts, clock.now, 0.0).after == pytest.approx(CLOSING + OPENING + 0.2 * 60 + 0.1 * 60)
    monkeypatch.setattr(room, "slowness", lambda: 4.0)
    again = budget_of(prepared, parts, clock.now, 0.0)
    assert again.after == pytest.approx(4 * (CLOSING + OPENING) + 0.2 * 60 + 0.1 * 60)


def test_decoding_the_test_part_is_planned_for_where_only_the_others_are_in_the_cache(
    parts: beholder.Parts, prepared: Prepared, monkeypatch: pytest.MonkeyPatch, idle: None, clock: Time
) -> None:
    monkeypatch.setattr(room, "_each", lambda work, **_: 0.0)
    again = prepare(parts, prepared.recipe)  # from the cache
    unread = replace(parts.test, digests=np.roll(parts.test.digests, 1, axis=1))  # pictures that no run has seen
    found = budget_of(again, replace(parts, test=unread), clock.now, 0.0)
    kept = room.pace(again.policy)
    assert kept > 0
    assert found.after == CLOSING + OPENING + kept * len(parts.test)
    monkeypatch.setattr(room, "pace", lambda policy: 1.0)
    told = budget_of(again, replace(parts, test=unread), clock.now, 0.0)
    assert told.after == CLOSING + OPENING + 1.0 * len(parts.test)


def test_a_validation_part_that_takes_too_long_is_sampled(prepared: Prepared, clock: Time) -> None:
    valid, now = prepared.valid, clock.now
    many = replace(valid, pixels=valid.pixels.subset(np.arange(600) % 6), pictures=valid.pictures.take(np.arange(600) % 6))
    many = replace(many, targets=valid.targets[np.arange(600) % 6])
    some, limits, rows = sampled(many, Budget(100.0, now, validation=100.0), train=3400)
    assert len(some.pixels) == len(some.targets) == len(some.pictures) == 120
    assert limits.validation == pytest.approx(20)
    assert (some.targets.argmax(1).numpy() == some.pictures.targets).all()
    assert len(rows) == len(some.pixels)
    among = np.arange(0, 600, 4)
    assert set(sampled(many, Budget(0.0, now), train=3400, among=among)[2]) == set(among)
    assert sampled(many, Budget(100.0, now, validation=10.0), train=3400)[0] is many
    assert sampled(many, Budget(0.0, now, validation=100.0), train=3400)[0] is many
    assert len(sampled(many, Budget(1.0, now, validation=1e6), train=3400)[0].pixels) == 64


def test_a_large_validation_part_is_sampled(prepared: Prepared, clock: Time) -> None:
    valid, rows = prepared.valid, np.arange(5000) % 6
    many = replace(valid, pixels=valid.pixels.subset(rows), pictures=valid.pictures.take(rows), targets=valid.targets[rows])
    none = Budget(0.0, clock.now)
    assert len(sampled(many, none, train=10_000)[0].pixels) == 4000
    assert len(sampled(many, none, train=80_000)[0].pixels) == 4800
    assert sampled(many, none, train=100_000)[0] is many
    some, limits, rows = sampled(many, Budget(100.0, clock.now, validation=5.0), train=10_000)
    assert len(some.pixels) == 4000
    assert limits.validation == pytest.approx(4.0)


def test_the_test_part_is_not_read_for_its_budget(
    parts: beholder.Parts, prepared: Prepared, monkeypatch: pytest.MonkeyPatch, idle: None, clock: Time
) -> None:
    asked: list[int] = []

    def measured(work: Any, *, most: int, enough: float) -> float:
        asked.append(most)
        work(most)
        return 0.0

    class Sealed:
        name = "sealed"

        def read(self, key: str) -> bytes:
            raise AssertionError(f"{key} was read")

        def stamp(self, key: str) -> str:
            return ""

    sealed = replace(parts, test=replace(parts.test, store=Sealed()))
    monkeypatch.setattr(room, "_each", measured)
    assert budget_of(prepared, sealed, clock.now, 0.0).after >= CLOSING + OPENING
    assert asked == [len(prepared.valid.pixels)] * 2


@pytest.mark.parametrize(
    ("most", "enough", "asked"),
    [
        (1000, 0.5, [4, 4, 16, 64]),  # 0.04 + 0.16 + 0.64 s
        (1000, 0.84, [4, 4, 16, 64]),
        (1000, 9.0, [4, 4, 16, 64, 256, 256, 256, 256]),
        (20, 0.5, [4, 4, 16, 20, 20]),
        (3, 0.05, [3, 3, 3]),
        (1, 0.0, [1, 1]),
    ],
)
def test_pictures_are_taken_four_times_as_many_each_time(clock: Time, most: int, enough: float, asked: list[int]) -> None:
    calls: list[int] = []

    def work(n: int) -> None:
        calls.append(n)
        clock.now += 1.0 if len(calls) == 1 else 0.01 * n

    assert room._each(work, most=most, enough=enough - 1e-6) == pytest.approx(0.01)
    assert calls == asked


def test_the_least_that_a_picture_took_counts(clock: Time) -> None:
    seconds = iter([9.0, 4.0, 1.6, 12.8])

    def work(n: int) -> None:
        clock.now += next(seconds)

    assert room._each(work, most=1000, enough=18.0) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("profiled", "slow", "each", "again", "after"),
    [
        (False, 1.0, 0.01, 0, 3.0 + 0.2 + 0.1),
        (True, 1.0, 0.01, 0, 3.0 + room.PROFILING + 0.2 + 0.1),
        (True, 2.0, 0.01, 0, 2 * (3.0 + room.PROFILING) + 0.2 + 0.1),
        (False, 1.0, 0.01, 30, 3.0 + 0.2 + 0.4),
        (False, 1.0, 10.0, 30, 3.0 + 0.2 * 60 + 0.1 * 60),
    ],
)
def test_what_follows_the_loop_is_closing_the_test_and_what_else_is_asked(
    monkeypatch: pytest.MonkeyPatch, clock: Time, profiled: bool, slow: float, each: float, again: int, after: float
) -> None:
    """Ten pictures are validated on and twenty tested; all of them are in the cache."""
    ledger = object() if profiled else None
    given: list[tuple[int, float]] = []

    def measured(work: Any, *, most: int, enough: float) -> float:
        given.append((most, enough))
        return each if work == "tested" else 0.5

    for name, stand_in in (
        ("current", lambda: ledger),
        ("slowness", lambda: slow),
        ("missing", lambda pictures, policy: 0),
        ("pace", lambda policy: 1.0),
        ("_each", measured),
    ):
        monkeypatch.setattr(room, name, stand_in)
    run: Any = SimpleNamespace(recipe=load("quick").set(minutes=1.0), valid=SimpleNamespace(pixels=range(10)), policy="policy")
    how: dict[str, Any] = {"validated": "validated", "tested": "tested", "closing": 3.0, "again": again}
    heard: list[events.Event] = []
    with events.listen(heard.append, alone=True):
        found = room.budget(run, range(20), began=990.0, **how)  # type: ignore[arg-type]
    assert (found.seconds, found.began, found.validation) == (60.0, 990.0, 5.0)
    assert found.after == pytest.approx(after)
    assert given == [(10, 0.3), (10, 0.3)]
    (figures,) = (event.fields for event in heard if event.name == "budget")
    assert figures == {"seconds": 60.0, "left": 50.0 - found.after, "validation": 5.0, "after": found.after}
    assert not [event for event in heard if event.kind == "warn"]


@pytest.mark.parametrize(("began", "warned"), [(959.0, False), (960.0, False), (940.0, True)])
def test_little_time_is_warned_of(monkeypatch: pytest.MonkeyPatch, clock: Time, began: float, warned: bool) -> None:
    """Of 120 s what follows takes 50; a tenth is 12."""
    for name, value in (("current", None), ("slowness", 1.0), ("missing", 0), ("pace", 1.0), ("_each", 0.0)):
        monkeypatch.setattr(room, name, lambda *_, value=value, **__: value)
    run: Any = SimpleNamespace(recipe=load("quick").set(minutes=2.0), valid=SimpleNamespace(pixels=range(10)), policy=None)
    heard: list[events.Event] = []
    how: dict[str, Any] = {"validated": "validated", "tested": "tested", "closing": 50.0}
    with events.listen(heard.append, alone=True):
        found = room.budget(run, range(20), began=began, **how)  # type: ignore[arg-type]
    assert found.training() == pytest.approx(max(2.4, began + 120 - 1000 - 50))
    little = [event.fields for event in heard if event.name == "little-time"]
    assert bool(little) is warned
    assert all((row["seconds"], row["after"]) == (120.0, 50.0) for row in little)
