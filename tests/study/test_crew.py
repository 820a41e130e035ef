"""Slices in processes of their own, here of programs that only pretend: who gets what, and what comes of one that dies."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import beholder
from beholder.base import events
from beholder.base.errors import MachineError, UsageError
from beholder.base.recipe import Recipe, from_toml
from beholder.base.records import Parts
from beholder.machine import devices
from beholder.study import crew
from beholder.study.crew import Processes, halved
from beholder.study.search import Job, Slice
from beholder.study.trial import Field
from beholder.study.worker import written

PRETEND = """
import json, os, signal, sys, time
print("{}", flush=True)
for line in sys.stdin:
    job = json.loads(line)
    seconds = job["seconds"]
    if seconds < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    if seconds == 99:
        sys.exit(3)
    time.sleep(seconds)
    batch = int(job["recipe"].partition("batch = ")[2].split()[0])
    print(json.dumps({"score": job["index"] / 10, "cost": seconds, "facts": {"pid": os.getpid(), "batch": batch}}), flush=True)
"""


@pytest.fixture(autouse=True)
def pretending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "PROGRAM", PRETEND)


def job(index: int, seconds: float = 0.0, rung: int = 0) -> Job:
    return Job(index, Recipe().toml(), {}, rung, seconds=seconds)


def carried_out(jobs: list[Job], tmp_path: Path, *, count: int = 2) -> dict[int, Slice]:
    found: dict[int, Slice] = {}
    Processes(tmp_path, count, 64).run(iter(jobs), lambda one, what: found.update({one.index: what}))
    return found


def test_jobs_are_divided_among_as_many_processes_as_asked_for(tmp_path: Path) -> None:
    found = carried_out([job(index, 0.1) for index in range(6)], tmp_path, count=3)
    assert {index: what.score for index, what in found.items()} == {index: index / 10 for index in range(6)}
    assert len({what.facts["pid"] for what in found.values()}) == 3


@pytest.mark.parametrize(("counted", "said"), [(None, ": too little memory, perhaps"), (5, "")])
def test_a_killed_one_is_begun_once_more_and_then_recorded(
    counted: int | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "shortages", lambda: counted)
    found = carried_out([job(0, -1), job(1)], tmp_path)
    assert found[1].score == 0.1
    assert found[0].score is None
    assert found[0].failed == f"its process was ended by signal 9{said}, 2 times"


@pytest.mark.parametrize(("counts", "batch"), [((3, 4), 32), ((3, 3), 0), ((None, None), 32)])
def test_one_that_was_killed_for_want_of_memory_has_half_the_batch(
    counts: tuple[int | None, int | None], batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = iter([*counts, counts[1]])
    monkeypatch.setattr(crew, "shortages", lambda: next(said))
    once = f"open({str(tmp_path / 'once')!r}, 'x') if not os.path.exists({str(tmp_path / 'once')!r}) else None"
    monkeypatch.setattr(crew, "PROGRAM", PRETEND.replace("if seconds < 0:", f"if {once}:"))
    found = carried_out([job(3)], tmp_path)
    assert (found[3].score, found[3].facts["batch"]) == (0.3, batch)


def test_one_that_has_a_checkpoint_keeps_its_batch(tmp_path: Path) -> None:
    assert halved(tmp_path, job(3))
    assert not halved(tmp_path, job(3, rung=1))
    (tmp_path / "0003.run" / "checkpoint").mkdir(parents=True)
    assert not halved(tmp_path, job(3))


def test_one_that_crashes_is_begun_once_more_as_it_was(tmp_path: Path) -> None:
    assert carried_out([job(0, 99), job(1)], tmp_path)[0].failed == "its process ended with status 3, 2 times"


def test_a_process_that_does_not_start_is_an_error_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "PROGRAM", "import sys; sys.exit(7)")
    with pytest.raises(MachineError, match="status 7") as caught:
        carried_out([job(0)], tmp_path)
    assert caught.value.code == "no-process"


def test_one_that_is_killed_before_it_begins_is_begun_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    once = f"open({str(tmp_path / 'once')!r}, 'x') if not os.path.exists({str(tmp_path / 'once')!r}) else None"
    first = f"import os, signal\nif {once}:\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    monkeypatch.setattr(crew, "PROGRAM", first + PRETEND)
    assert carried_out([job(3)], tmp_path)[3].score == 0.3


def test_why_a_process_cannot_begin_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    arrays = {"x": np.zeros((6, 8, 8), np.uint8), "y": np.array([0, 1] * 3)}
    np.savez(tmp_path / "source.npz", **arrays)
    pictures = beholder.scan(tmp_path / "source.npz")
    pictures = replace(pictures, digests=np.zeros((6, 32), np.uint8))
    written(Field(Parts(pictures, pictures, pictures), tmp_path), tmp_path / "source.npz")
    (tmp_path / "source.npz").unlink()
    with pytest.raises(UsageError) as caught:
        carried_out([job(0)], tmp_path)
    assert "source.npz" in caught.value.message
    said = json.loads((tmp_path / "field.json").read_text())
    (tmp_path / "field.json").write_text(json.dumps({**said, "alike": {**said["alike"], "beholder": "0.0.1"}}))
    with pytest.raises(MachineError, match=r"changed while it ran: .*beholder is .*, not 0\.0\.1") as changed:
        carried_out([job(0)], tmp_path)
    assert (changed.value.code, changed.value.exit_code) == ("changed", 1), "which is no wrong usage"
    assert "same command again" in changed.value.hint


def test_each_process_has_a_gpu_of_its_own_and_no_two_share_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on = torch.device("meta")
    gpu = replace(devices.CPU, type="meta", find=lambda: on, free=lambda on: 9 * 2**20, count=lambda: 2)
    monkeypatch.setattr(devices, "_kinds", lambda path: {"gpu": gpu, "cpu": devices.CPU})
    said: list[str] = []
    with events.listen(lambda event: said.append(event.message), alone=True):
        assert [crew.at_a_time(asked) for asked in (1, 2, 4)] == [1, 2, 2]
    assert said == ["4 trials at a time would take a GPU each, and there are 2: 2 at a time"]
    what = '{"seat": os.environ["LOCAL_RANK"], "memory": sys.argv[4], "pid": os.getpid()}'
    monkeypatch.setattr(crew, "PROGRAM", PRETEND.replace('{"pid": os.getpid(), "batch": batch}', what))
    found = carried_out([job(index, 0.1) for index in range(4)], tmp_path)
    assert {what.facts["seat"] for what in found.values()} == {"0", "1"}
    assert len({(what.facts["seat"], what.facts["pid"]) for what in found.values()}) == 2
    assert {what.facts["memory"] for what in found.values()} == {"3"}, "a third of its own GPU's, which it shares with nobody"


def test_on_one_device_trials_take_turns_and_on_the_cpu_they_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    assert crew.at_a_time(4) == 4
    for count in (lambda: 1, None):
        gpu = replace(devices.CPU, type="meta", find=lambda: torch.device("meta"), count=count)
        monkeypatch.setattr(devices, "_kinds", lambda path, gpu=gpu: {"gpu": gpu})
        with events.listen(alone=True):
            assert crew.at_a_time(4) == 1


def test_whatever_happens_no_process_stays(tmp_path: Path) -> None:
    held = Processes(tmp_path, 2, 64)
    started: list[int] = []

    def took(one: Job, what: Slice) -> None:
        started.extend(worker.process.pid for worker in held._workers)
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        held.run(iter([job(0), job(1, 30)]), took)
    assert time.monotonic() - began < 20
    assert len(started) == 2
    for pid in started:
        assert not Path(f"/proc/{pid}").exists()
    assert from_toml(job(0).recipe) == Recipe()
