"""Taking part in a search that is led elsewhere: jobs taken, results left, and what ends it; processes only pretend."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from beholder.base import events
from beholder.base.errors import UsageError
from beholder.base.recipe import Recipe
from beholder.cli.run import run
from beholder.study import crew, join
from beholder.study.crew_shared import BEAT, Shared, folder_of, over, said, say, shared
from beholder.study.join import WAIT, Joined, Lead, Seat
from beholder.study.search import Job, Single, Slice

PRETEND = """
import json, os, signal, sys, time
print("{}", flush=True)
for line in sys.stdin:
    job = json.loads(line)
    if job["seconds"] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(job["seconds"])
    print(json.dumps({"score": job["index"] / 10, "facts": {"pid": os.getpid()}}), flush=True)
"""

pytestmark = pytest.mark.skipif(os.name == "nt", reason="whose pipes cannot be waited for")


@pytest.fixture(autouse=True)
def pretending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "PROGRAM", PRETEND)
    monkeypatch.setattr(join, "read", lambda _: None)


def given(seat: Seat, key: int, seconds: float = 0.0, index: int = 3) -> None:
    job = {"index": index, "recipe": Recipe().toml(), "factors": {}, "seconds": seconds}
    say(folder_of(seat.study) / f"{seat.name}.job", {"key": key, "job": job})


def result(seat: Seat) -> dict[str, Any]:
    """Return what a seat leaves as its result, once it does."""
    file, until = folder_of(seat.study) / f"{seat.name}.done", time.monotonic() + 60
    while not said(file) and time.monotonic() < until:
        join._hear([seat])
    return said(file)


def test_a_job_is_carried_out_once_and_its_result_left(tmp_path: Path) -> None:
    seat = Seat(tmp_path, 1)
    try:
        seat.turn(0.0)
        given(seat, 7)
        seat.turn(0.1)
        found = result(seat)
        assert (found["key"], found["slice"]["score"]) == (7, 0.3)
        seat.turn(0.2)
        assert seat.worker is not None
        assert seat.worker.given is None, "the same job is not begun again"
        given(seat, 8, index=4)
        seat.turn(0.3)
        (folder_of(tmp_path) / f"{seat.name}.done").write_text("")
        assert result(seat)["slice"]["facts"]["pid"] == found["slice"]["facts"]["pid"]
        assert seat.done == 2
    finally:
        seat.leave()
    assert not list(folder_of(tmp_path).iterdir())


def test_no_job_is_taken_before_this_machine_is_known_to_be_fit(tmp_path: Path) -> None:
    seat = Seat(tmp_path, 1)
    seat.turn(0.0, work=False)
    given(seat, 1)
    seat.turn(0.1, work=False)
    assert seat.worker is None
    seat.leave()


def test_one_whose_process_dies_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "shortages", lambda: 3)
    seat = Seat(tmp_path, 1)
    seat.turn(0.0)
    given(seat, 1, seconds=-1)
    seat.turn(0.1)
    assert result(seat) == {"key": 1, "lost": "its process was ended by signal 9", "short": False}
    assert seat.worker is None
    seat.leave()


def test_signs_of_life_come_every_few_seconds_until_the_files_are_gone_and_then_all_is_dropped(tmp_path: Path) -> None:
    seat = Seat(tmp_path, 1)
    seat.turn(0.0)
    name, file = seat.name, folder_of(tmp_path) / f"{seat.name}.alive"
    seen = []
    for turn in range(9):
        seat.turn(turn * BEAT / 2)
        seen.append(file.read_text())
    assert len(set(seen)) == 5
    given(seat, 1, seconds=60)
    seat.turn(4.5 * BEAT)
    assert seat.worker is not None
    pid = seat.worker.process.pid
    file.unlink()
    seat.turn(6 * BEAT)
    assert not file.exists(), "it does not come back under its old name"
    assert seat.name not in ("", name)
    assert seat.worker is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    seat.leave()


def test_a_search_goes_on_as_long_as_somebody_leads_it(tmp_path: Path) -> None:
    at = [0.0]
    say(tmp_path / "lead.json", {"over": "the last one"})
    lead = Lead(tmp_path, lambda: at[0])
    assert lead.goes_on(), "that one is over, the next may be led soon"
    assert not lead.found
    say(tmp_path / "lead.json", {"beat": 1.0, "refused": ""})
    for beat in range(160):
        at[0] += BEAT
        say(tmp_path / "lead.json", {"beat": float(beat), "refused": ""})
        assert lead.goes_on()
    assert lead.found
    at[0] += WAIT - BEAT
    assert lead.goes_on(), "whoever leads may be begun again"
    at[0] += 3 * BEAT
    with pytest.raises(UsageError, match="nobody leads") as caught:
        lead.goes_on()
    assert caught.value.code == "no-search"
    say(tmp_path / "lead.json", {"over": "this one"})
    assert not lead.goes_on()


def test_a_search_that_cannot_be_joined_says_why(tmp_path: Path) -> None:
    say(tmp_path / "lead.json", {"beat": 1.0, "refused": "pictures in memory"})
    with pytest.raises(UsageError, match="pictures in memory"):
        Lead(tmp_path, time.monotonic).goes_on()


def test_two_that_join_take_part_until_the_search_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    found: dict[int, Slice] = {}
    joined: list[Joined] = []

    def take_part() -> None:
        with events.listen(alone=True):
            joined.append(join.join(tmp_path / "m.beholder", workers=2))

    def own(_: Job) -> Slice:
        time.sleep(0.3)
        return Slice(score=-1.0)

    thread = threading.Thread(target=take_part)
    thread.start()
    study = tmp_path / "m.tune"
    until = time.monotonic() + 60
    while len(list(folder_of(study).glob("*.alive"))) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    with shared(Single(own), study, 64, lambda: None) as led:
        assert isinstance(led, Shared)
        jobs = iter([Job(index, Recipe().toml(), {}, seconds=0.05) for index in range(30)])
        led.run(jobs, lambda one, what: found.update({one.index: what}))
    thread.join(60)
    assert sorted(found) == list(range(30))
    elsewhere = {index: what.score for index, what in found.items() if what.score != -1}
    assert elsewhere == {index: index / 10 for index in elsewhere}
    assert len({what.facts["pid"] for what in found.values() if what.facts}) == 2
    assert joined == [Joined(len(elsewhere))]
    assert (joined[0].json(), str(joined[0])[:18]) == ({"slices": len(elsewhere)}, "the search is over")


def test_a_machine_that_is_not_fit_leaves_at_once_and_without_a_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unfit(_: Path) -> None:
        raise UsageError("torch is 2.1, not 2.2", code="other-version")

    monkeypatch.setattr(join, "read", unfit)
    files = folder_of(tmp_path / "m.tune")
    files.mkdir(parents=True)
    say(files / "lead.json", {"beat": 1.0, "refused": ""})
    with pytest.raises(UsageError, match=r"torch is 2\.1"), events.listen(alone=True):
        join.join(tmp_path / "m.beholder")
    over(tmp_path / "m.tune")
    assert [path.name for path in files.iterdir()] == ["lead.json"]


def test_on_the_command_line_the_same_command_joins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    asked: list[tuple[Path, int]] = []

    def joining(out: Path, *, workers: int) -> Joined:
        asked.append((out, workers))
        return Joined(5)

    monkeypatch.setattr(join, "join", joining)
    words = ["tune", str(tmp_path), "--minutes", "3", "--out", "m.beholder", "--join"]
    assert run([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"slices": 5}
    assert run([*words, "--launch", "local:3"]) == 0
    assert asked == [(Path("m.beholder"), 1), (Path("m.beholder"), 3)]
    assert run([*words, "--launch", "ray"]) == 2
    assert run([*words, "--launch", "ray", "--workers", "2"]) == 2
    assert run([*words[:-1], "--launch", "local:2", "--workers", "2"]) == 2
    assert "--launch local:2" in capsys.readouterr().err
