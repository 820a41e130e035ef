from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import beholder
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


def test_what_is_left_counts_from_the_beginning_and_leaves_room_for_what_follows() -> None:
    limits = Budget(60.0, time.monotonic() - 20, validation=2.0, after=10.0)
    assert limits.left() == pytest.approx(40, abs=0.1)
    assert limits.training() == pytest.approx(30, abs=0.1)
    late = Budget(60.0, time.monotonic() - 100, after=10.0)
    assert late.left() == late.training() == pytest.approx(1.2)
    free = Budget(0.0, time.monotonic() - 100)
    assert free.left() == free.training() == 0


def test_without_minutes_nothing_is_measured(parts: beholder.Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_each", lambda *_, **__: pytest.fail("measured"))
    found = budget_of(prepare(parts, load("quick").set(net="cnn")), parts, 5.0, 0.0)
    assert found == Budget(0.0, 5.0)


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "slowness", lambda: 1.0)


def test_costs_are_those_measured_here(
    parts: beholder.Parts, prepared: Prepared, monkeypatch: pytest.MonkeyPatch, idle: None
) -> None:
    monkeypatch.setattr(room, "_each", lambda work, **_: 0.5)
    cached(parts.test, prepared.policy)
    found = budget_of(prepared, parts, time.monotonic(), 0.0)
    assert found.validation == 0.5 * len(prepared.valid.pixels) == 3.0
    assert found.after == CLOSING + OPENING + 0.5 * len(parts.test) + 0.5 * len(prepared.valid.pixels)
    assert budget_of(prepared, parts, time.monotonic(), 7.0, 4).after == found.after + 7.0 + 2.0


def test_a_test_that_takes_long_is_a_sample_and_a_busy_machine_closes_later(
    parts: beholder.Parts, prepared: Prepared, monkeypatch: pytest.MonkeyPatch, idle: None
) -> None:
    monkeypatch.setattr(room, "_each", lambda work, **_: 100.0)
    assert budget_of(prepared, parts, time.monotonic(), 0.0).after == pytest.approx(CLOSING + OPENING + 0.2 * 60 + 0.1 * 60)
    monkeypatch.setattr(room, "slowness", lambda: 4.0)
    assert budget_of(prepared, parts, time.monotonic(), 0.0).after == pytest.approx(
        4 * (CLOSING + OPENING) + 0.2 * 60 + 0.1 * 60
    )


def test_decoding_the_test_part_is_planned_for_where_only_the_others_are_in_the_cache(
    parts: beholder.Parts, prepared: Prepared, monkeypatch: pytest.MonkeyPatch, idle: None
) -> None:
    monkeypatch.setattr(room, "_each", lambda work, **_: 0.0)
    again = prepare(parts, prepared.recipe)  # from the cache
    unread = replace(parts.test, digests=np.roll(parts.test.digests, 1, axis=1))  # pictures that no run has seen
    found = budget_of(again, replace(parts, test=unread), time.monotonic(), 0.0)
    each = (found.after - CLOSING - OPENING) / len(parts.test)
    assert 1e-5 < each < 0.5
    monkeypatch.setattr(room, "pace", lambda policy: 1.0)
    told = budget_of(again, replace(parts, test=unread), time.monotonic(), 0.0)
    assert told.after == CLOSING + OPENING + 1.0 * len(parts.test)


def test_a_validation_part_that_takes_too_long_is_sampled(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    valid = prepared.valid
    many = replace(valid, pixels=valid.pixels.subset(np.arange(600) % 6), pictures=valid.pictures.take(np.arange(600) % 6))
    many = replace(many, targets=valid.targets[np.arange(600) % 6])
    now = time.monotonic()
    some, limits, rows = sampled(many, Budget(100.0, now, validation=100.0), train=3400)
    assert len(some.pixels) == len(some.targets) == len(some.pictures) == pytest.approx(120, abs=2)
    assert limits.validation == pytest.approx(20, abs=0.2)
    assert (some.targets.argmax(1).numpy() == some.pictures.targets).all()
    assert len(rows) == len(some.pixels)
    among = np.arange(0, 600, 4)
    assert set(sampled(many, Budget(0.0, now), train=3400, among=among)[2]) == set(among)
    assert sampled(many, Budget(100.0, now, validation=10.0), train=3400)[0] is many
    assert sampled(many, Budget(0.0, now, validation=100.0), train=3400)[0] is many
    assert len(sampled(many, Budget(1.0, now, validation=1e6), train=3400)[0].pixels) == 64


def test_a_large_validation_part_is_sampled(prepared: Prepared) -> None:
    valid, rows = prepared.valid, np.arange(5000) % 6
    many = replace(valid, pixels=valid.pixels.subset(rows), pictures=valid.pictures.take(rows), targets=valid.targets[rows])
    none = Budget(0.0, time.monotonic())
    assert len(sampled(many, none, train=10_000)[0].pixels) == 4000
    assert len(sampled(many, none, train=80_000)[0].pixels) == 4800
    assert sampled(many, none, train=100_000)[0] is many
    some, limits, rows = sampled(many, Budget(100.0, time.monotonic(), validation=5.0), train=10_000)
    assert len(some.pixels) == 4000
    assert limits.validation == pytest.approx(4.0)


def test_a_picture_costs_what_more_and_more_of_them_take() -> None:
    calls: list[int] = []

    def work(n: int) -> None:
        calls.append(n)
        time.sleep(0.002 * n)

    assert room._each(work, most=1000, enough=0.05) == pytest.approx(0.002, rel=0.3)
    assert calls == [4, 4, 16, 64]
    calls.clear()
    room._each(work, most=5, enough=0.05)
    assert set(calls[2:]) == {5}
    assert 3 <= len(calls) <= 8


def test_the_test_part_is_not_read_for_itsbudget_of(prepared: Prepared, parts: beholder.Parts) -> None:
    class Sealed:
        name = "sealed"

        def read(self, key: str) -> bytes:
            raise AssertionError(f"{key} was read")

        def stamp(self, key: str) -> str:
            return ""

    sealed = replace(parts, test=replace(parts.test, store=Sealed()))
    assert budget_of(prepared, sealed, time.monotonic(), 0.0).after > CLOSING
