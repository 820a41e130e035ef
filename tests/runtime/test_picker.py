"""Whatever the ways to run a net are, the one picker verifies, times and remembers them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from beholder.runtime import picker
from beholder.runtime.picker import Trial, pick

RIGHT = 7


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(picker, "cache_folder", lambda: tmp_path)
    return tmp_path / "engine"


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(picker.events, "note", lambda message, **_: found.append(message))
    return found


@pytest.fixture
def made() -> list[str]:
    return []


def timed(monkeypatch: pytest.MonkeyPatch, **seconds: float) -> None:
    monkeypatch.setattr(picker, "least_seconds", lambda work, **_: {name: seconds[name] for name in work})


def engines(made: list[str], **answers: int | Exception) -> dict[str, Callable[[], Callable[[], int]]]:
    """Ways whose engines give so many, or that cannot be made."""

    def way(name: str) -> Callable[[], Callable[[], int]]:
        def make() -> Callable[[], int]:
            made.append(name)
            answer = answers[name]
            if isinstance(answer, Exception):
                raise answer
            return lambda: answer

        return make

    return {name: way(name) for name in answers}


TRIAL = Trial[Callable[[], int]](
    run=lambda engine: engine(),
    fault=lambda name, engine: "" if engine() == RIGHT else f"{name} gives {engine()}",
    key=["net", "chip"],
    pictures=8,
)


def test_the_fastest_that_is_right_is_taken_and_remembered(
    monkeypatch: pytest.MonkeyPatch, made: list[str], noted: list[str]
) -> None:
    timed(monkeypatch, a=4.0, b=2.0, d=3.0)
    ways = engines(made, a=RIGHT, b=RIGHT, wrong=1, broken=RuntimeError("no such unit\nand more"), d=RIGHT)
    found = pick(ways, TRIAL)
    assert (found.name, found.engine(), found.rates) == ("b", RIGHT, {"a": 2.0, "b": 4.0, "d": 2.7})
    assert noted == ["wrong is not used: wrong gives 1", "broken cannot be used: RuntimeError: no such unit"]
    made.clear()
    monkeypatch.setattr(picker, "least_seconds", lambda *_, **__: pytest.fail("tried again"))
    again = pick(ways, TRIAL)
    assert (again.name, again.rates, made) == ("b", {}, ["b"])


@pytest.mark.parametrize("change", ["key", "engines", "version", "rules"])
def test_what_the_choice_depends_on_makes_it_be_tried_anew(
    monkeypatch: pytest.MonkeyPatch, made: list[str], change: str
) -> None:
    timed(monkeypatch, a=4.0, b=2.0, c=9.0)
    ways, trial = engines(made, a=RIGHT, b=RIGHT), TRIAL
    pick(ways, trial)
    if change == "key":
        trial = replace(TRIAL, key=["another net", "chip"])
    elif change == "engines":
        ways = engines(made, a=RIGHT, b=RIGHT, c=RIGHT)
    elif change == "version":
        monkeypatch.setattr(picker, "version", lambda package: "99.0")
    else:
        monkeypatch.setattr(picker, "VERSION", 99)
    assert pick(ways, trial).rates


def test_a_remembered_engine_that_cannot_be_made_any_more_is_replaced(monkeypatch: pytest.MonkeyPatch, made: list[str]) -> None:
    timed(monkeypatch, a=4.0, b=2.0)
    assert pick(engines(made, a=RIGHT, b=RIGHT), TRIAL).name == "b"
    assert pick(engines(made, a=RIGHT, b=ValueError("gone")), TRIAL).name == "a"


def test_where_the_key_does_not_say_the_weights_a_remembered_engine_is_compared_again(
    monkeypatch: pytest.MonkeyPatch, made: list[str]
) -> None:
    timed(monkeypatch, a=4.0, b=2.0)
    assert pick(engines(made, a=RIGHT, b=RIGHT), TRIAL).name == "b"
    assert pick(engines(made, a=RIGHT, b=5), TRIAL).name == "b"
    assert pick(engines(made, a=RIGHT, b=5), replace(TRIAL, again=True)).name == "a"


def test_without_a_trial_it_is_what_is_remembered_or_the_first(
    monkeypatch: pytest.MonkeyPatch, made: list[str], place: Path
) -> None:
    timed(monkeypatch, a=4.0, b=2.0)
    ways = engines(made, a=RIGHT, b=RIGHT)
    assert pick(ways, TRIAL, tried=False).name == "a"
    assert (made, place.exists()) == (["a"], False)
    pick(ways, TRIAL)
    assert pick(ways, TRIAL, tried=False).name == "b"


def test_that_only_the_first_is_right_is_not_remembered(monkeypatch: pytest.MonkeyPatch, made: list[str], place: Path) -> None:
    """The next net of the same architecture may have other weights, with which another way is right."""
    timed(monkeypatch, a=4.0, b=2.0)
    found = pick(engines(made, a=5, b=1), TRIAL)
    assert (found.name, found.engine()) == ("a", 5), "the first is taken as it is"
    assert not place.exists()
    assert pick(engines(made, a=RIGHT, b=RIGHT), TRIAL).name == "b"


def test_what_no_engine_should_raise_is_not_hidden(made: list[str]) -> None:
    with pytest.raises(ZeroDivisionError):
        pick(engines(made, a=RIGHT, b=ZeroDivisionError("a fault of ours")), TRIAL)
    with pytest.raises(OSError, match="unreadable"):
        pick(engines(made, a=OSError("unreadable"), b=RIGHT), TRIAL)
