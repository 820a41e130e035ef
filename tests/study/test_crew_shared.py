"""A search that others join by files: who gets what, who counts as lost, and that nothing is done twice; in fake time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from beholder.base.errors import UsageError
from beholder.base.recipe import Recipe
from beholder.study import crew_shared
from beholder.study.crew_shared import BEAT, FENCE, LOST, Shared, Signs, cleared, folder_of, over, said, say, shared
from beholder.study.search import Job, Single, Slice


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Other:
    """One that has joined, without a process: it does what it is told."""

    def __init__(self, study: Path, name: str) -> None:
        self.files, self.name, self.beats = folder_of(study), name, 0
        self.files.mkdir(parents=True, exist_ok=True)
        for ending in ("job", "done", "alive"):
            self.file(ending).write_text("")

    def file(self, ending: str) -> Path:
        return self.files / f"{self.name}.{ending}"

    def alive(self) -> None:
        self.beats += 1
        self.file("alive").write_text(str(self.beats))

    @property
    def job(self) -> int | None:
        what = said(self.file("job"))
        return what["job"]["index"] if what else None

    def done(self, **what: Any) -> None:
        say(self.file("done"), {"key": said(self.file("job"))["key"], **(what or {"slice": {"score": 0.1 * (self.job or 0)}})})


def job(index: int, rung: int = 0) -> Job:
    return Job(index, Recipe().toml(), {}, rung)


class Led:
    """A search that is led, of which the turns are taken here."""

    def __init__(self, study: Path, jobs: int = 9, offer: Any = lambda: None) -> None:
        self.clock, self.found = Clock(), dict[int, Slice]()
        self.crew = Shared(Single(lambda one: Slice(score=1.0)), study, 64, offer, self.clock)
        self.crew._jobs = iter([job(index) for index in range(jobs)])
        self.crew._took = self.took

    def took(self, one: Job, what: Slice) -> None:
        assert one.index not in self.found, "a result is taken once"
        self.found[one.index] = what

    def pass_(self, seconds: float, *alive: Other) -> None:
        """Let time pass in which these give signs of life."""
        for _ in range(int(seconds / BEAT)):
            self.clock.now += BEAT
            for other in alive:
                other.alive()
            self.crew.turn()


def test_each_that_is_there_has_a_job_and_the_next_when_it_is_done(tmp_path: Path) -> None:
    led, one, two = Led(tmp_path), Other(tmp_path, "one"), Other(tmp_path, "two")
    led.crew.turn()
    assert (one.job, two.job) == (0, 1)
    two.done()
    led.crew.turn()
    assert (one.job, two.job) == (0, 2)
    assert led.found[1].score == 0.1
    led.crew.turn()
    assert set(led.found) == {1}


def test_whoever_gives_no_sign_for_a_minute_has_lost_its_job_to_the_next(tmp_path: Path) -> None:
    led, one, two = Led(tmp_path, 2), Other(tmp_path, "one"), Other(tmp_path, "two")
    led.crew.turn()
    two.done()
    led.pass_(LOST - 2 * BEAT, two)
    assert (one.job, two.job) == (0, 1)
    assert one.file("alive").exists()
    led.pass_(3 * BEAT, two)
    assert two.job == 0
    assert not one.file("alive").exists(), "which tells it that it is no longer wanted"
    two.done()
    led.crew.turn()
    assert set(led.found) == {0, 1}


def test_a_result_that_comes_with_the_last_sign_counts(tmp_path: Path) -> None:
    led, one = Led(tmp_path, 1), Other(tmp_path, "one")
    led.crew.turn()
    one.done()
    led.clock.now += 2 * LOST
    led.crew.turn()
    assert led.found[0].score == 0.0


def test_a_job_that_costs_four_machines_is_given_up(tmp_path: Path) -> None:
    led = Led(tmp_path, 1)
    for name in "abcd":
        other = Other(tmp_path, name)
        led.crew.turn()
        assert other.job == 0
        led.clock.now += LOST
        led.crew.turn()
    assert led.found[0].failed == "nothing was heard of d for 60 s, 4 times"


def test_one_that_leaves_costs_its_job_no_try(tmp_path: Path) -> None:
    led = Led(tmp_path, 1)
    for name in "abcdefgh":
        other = Other(tmp_path, name)
        led.crew.turn()
        assert other.job == 0
        for ending in ("alive", "job", "done"):
            other.file(ending).unlink()
        led.crew.turn()
    assert not led.found


@pytest.mark.parametrize(("short", "checkpoint", "batch"), [(True, False, 32), (True, True, 0), (False, False, 0)])
def test_a_process_that_died_is_told_of_and_its_job_begun_once_more(
    short: bool, checkpoint: bool, batch: int, tmp_path: Path
) -> None:
    led, one = Led(tmp_path, 1), Other(tmp_path, "one")
    led.crew.turn()
    if checkpoint:
        (tmp_path / "0000.run" / "checkpoint").mkdir(parents=True)
    one.done(lost="its process was ended by signal 9", short=short)
    led.crew.turn()
    assert f"batch = {batch}" in said(one.file("job"))["job"]["recipe"]
    one.done(lost="its process was ended by signal 9", short=short)
    led.crew.turn()
    assert led.found[0].failed == "its process was ended by signal 9, 2 times"


def test_a_late_word_about_an_earlier_job_is_not_taken_for_that_of_the_next(tmp_path: Path) -> None:
    led, one = Led(tmp_path), Other(tmp_path, "one")
    led.crew.turn()
    before = said(one.file("job"))["key"]
    one.done()
    led.crew.turn()
    assert (one.job, set(led.found)) == (1, {0})
    say(one.file("done"), {"key": before, "slice": {"score": 0.9}})
    led.crew.turn()
    assert set(led.found) == {0}


def test_what_the_others_need_is_written_once_and_only_for_them(tmp_path: Path) -> None:
    offers: list[int] = []
    led = Led(tmp_path, offer=lambda: offers.append(1))
    led.crew.turn()
    assert not offers
    assert not folder_of(tmp_path).exists()
    other = Other(tmp_path, "one")
    led.pass_(10 * BEAT, other)
    assert offers == [1]
    assert "beat" in said(folder_of(tmp_path) / "lead.json")


def test_where_others_cannot_take_part_they_are_told_why_and_given_nothing(tmp_path: Path) -> None:
    def offer() -> None:
        raise UsageError("several workers cannot read pictures in memory", code="in-memory")

    led, one = Led(tmp_path, offer=offer), Other(tmp_path, "one")
    led.crew.turn()
    assert one.job is None
    assert said(folder_of(tmp_path) / "lead.json")["refused"] == "several workers cannot read pictures in memory"


def test_beside_its_own_crew_every_job_is_done_once(tmp_path: Path) -> None:
    names, together = list("abc"), threading.Barrier(2, timeout=20)
    others = [Other(tmp_path, name) for name in names]
    found: list[tuple[int, float]] = []
    stop = threading.Event()

    def work() -> None:
        met, keys = False, set[int]()
        while not stop.wait(0.01):
            for other in others:
                other.alive()
                what = said(other.file("job"))
                if what and what["key"] not in keys:
                    keys.add(what["key"])
                    if not met:
                        together.wait()
                        met = True
                    other.done(slice={"score": 2.0})

    def own(one: Job) -> Slice:
        if one.index == 0:
            together.wait()  # until one of the others has a job, too
        return Slice(score=1.0)

    def jobs() -> Iterator[Job]:
        yield from (job(index) for index in range(12))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        with shared(Single(own), tmp_path, 64, lambda: None) as crew:
            crew.run(jobs(), lambda one, what: found.append((one.index, what.score or 0.0)))
    finally:
        stop.set()
        thread.join()
    assert sorted(index for index, _ in found) == list(range(12))
    assert {score for _, score in found} == {1.0, 2.0}
    assert "over" in said(folder_of(tmp_path) / "lead.json")


def test_what_goes_wrong_beside_it_is_raised_where_the_search_is_led(tmp_path: Path) -> None:
    def offer() -> None:
        raise ZeroDivisionError

    Other(tmp_path, "one")
    waited = threading.Event()

    def jobs() -> Iterator[Job]:
        for index in range(10_000):
            waited.wait(0.05)
            yield job(index)

    with pytest.raises(ZeroDivisionError), shared(Single(lambda _: Slice(score=1.0)), tmp_path, 64, offer) as crew:
        crew.run(jobs(), lambda *_: None)


def test_a_search_that_is_led_anew_waits_until_those_of_the_last_have_noticed(tmp_path: Path) -> None:
    waits: list[float] = []
    cleared(tmp_path, wait=waits.append)
    one, lead = Other(tmp_path, "one"), folder_of(tmp_path) / "lead.json"
    cleared(tmp_path, wait=waits.append)
    over(tmp_path)
    cleared(tmp_path, wait=waits.append)
    assert (waits, one.file("alive").exists(), lead.exists()) == ([], True, False), "it has waited for this search to begin"
    say(lead, {"beat": 1.0})
    cleared(tmp_path, wait=waits.append)
    assert (waits, one.file("alive").exists(), lead.exists()) == ([FENCE], False, False)
    assert FENCE > 3 * crew_shared.BEAT


def test_silence_is_counted_by_ones_own_clock(tmp_path: Path) -> None:
    clock, file = Clock(), tmp_path / "a.alive"
    signs = Signs(clock)
    assert signs.silence(file) == float("inf")
    file.write_text("1")
    assert signs.silence(file) == 0
    clock.now += 7
    assert signs.silence(file) == 7
    file.write_text("1")
    assert signs.silence(file) == 7, "the time of a file says nothing"
    file.write_text("2")
    assert signs.silence(file) == 0


def test_each_bundle_has_a_search_of_its_own() -> None:
    places = [crew_shared.study_at(Path("runs") / name) for name in ("m.beholder", "m", "m.1", "m.2.beholder")]
    assert [str(place) for place in places] == ["runs/m.tune", "runs/m.tune", "runs/m.1.tune", "runs/m.2.tune"]
    assert crew_shared.study_at(Path("m.beholder"), ".jsonl") == Path("m.tune.jsonl")
