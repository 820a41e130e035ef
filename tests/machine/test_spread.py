"""Work in ranges that only pretends: who does what, and what comes of a worker that dies, fails or is silent."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import pytest

from beholder.base import events
from beholder.base.errors import MachineError, UsageError
from beholder.machine import spread, spread_local, workers
from beholder.machine.launch import Launch
from beholder.machine.workers import Heard, Ranges, Silence

WORK = """
import os, pathlib, signal, time
from beholder.base.errors import UsageError

def work(argument, index, threads):
    folder = pathlib.Path(argument)
    tries = len(list(folder.glob(f"begun-{index}-*")))
    (folder / f"begun-{index}-{tries}").write_text(os.environ.get("LOCAL_RANK", ""))
    yield 0
    if index == 1 and (folder / "deadly").exists() or index == 2 and tries == 0 and (folder / "kill").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    if index == 3 and tries == 0 and (folder / "hang").exists():
        time.sleep(60)
    if index == 4 and (folder / "wrong").exists():
        raise UsageError("no such place", code="nowhere", hint="look elsewhere")
    if index == 5 and tries < 2 and (folder / "odd").exists():
        raise ValueError("odd")
    yield 5
    (folder / f"done-{index}").write_text(str(threads))
    yield 10

def slow(argument, index, threads):
    (pathlib.Path(argument) / f"pid-{os.getpid()}").touch()
    yield 0
    while True:
        time.sleep(0.1)
        yield 1

def on_gpus(argument, index, threads):
    import torch
    from beholder.machine import devices
    torch.cuda.is_available, torch.cuda.device_count = lambda: True, lambda: 2
    torch.cuda.set_device = lambda index: setattr(torch.cuda, "current_device", lambda: index)
    yield 0
    (pathlib.Path(argument) / f"{os.environ['LOCAL_RANK']} {devices.CUDA.find()}").touch()
    while len(list(pathlib.Path(argument).iterdir())) < 3:
        time.sleep(0.01)
    yield 1
"""

HERE, TWO = Launch(), Launch("local", 2)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pretended.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def heard(folder: Path, launch: Launch, ranges: int = 6) -> list[Heard]:
    return list(spread.spread("pretended:work", str(folder), range(ranges), launch))


def begun(folder: Path) -> Counter[int]:
    return Counter(int(path.name.split("-")[1]) for path in folder.glob("begun-*"))


@pytest.mark.parametrize("launch", [HERE, TWO])
def test_each_range_is_carried_out_once(folder: Path, launch: Launch) -> None:
    said = heard(folder, launch)
    assert begun(folder) == dict.fromkeys(range(6), 1)
    assert sorted(each.index for each in said if each.whole) == list(range(6))
    for index in range(6):
        assert [each.done for each in said if each.index == index] == [0, 5, 10, 10]
    assert len(list(folder.glob("done-*"))) == 6


@pytest.mark.parametrize("launch", [HERE, TWO])
def test_an_error_of_beholder_ends_it_with_all_it_says(folder: Path, launch: Launch) -> None:
    (folder / "wrong").touch()
    with pytest.raises(UsageError) as caught:
        heard(folder, launch)
    assert (caught.value.message, caught.value.code, caught.value.hint) == ("no such place", "nowhere", "look elsewhere")


@pytest.mark.parametrize("launch", [HERE, TWO])
def test_another_error_costs_a_try(folder: Path, launch: Launch) -> None:
    (folder / "odd").touch()
    said = heard(folder, launch)
    assert begun(folder)[5] == 3
    assert sorted(each.index for each in said if each.whole) == list(range(6))
    assert not [each for each in said if each.failed]


def test_a_range_whose_process_is_killed_is_begun_again_and_one_that_kills_is_given_up(folder: Path) -> None:
    for name in ("kill", "deadly"):
        (folder / name).touch()
    warned: list[str] = []
    with events.listen(lambda event: warned.append(event.message), alone=True):
        said = heard(folder, TWO)
    assert begun(folder) == {0: 1, 1: 3, 2: 2, 3: 1, 4: 1, 5: 1}
    assert sorted(each.index for each in said if each.whole) == [0, 2, 3, 4, 5]
    [failed] = [each for each in said if each.failed]
    assert failed.index == 1
    assert failed.failed == "its process was ended by signal 9: too little memory, perhaps, after 3 tries"
    assert len(warned) == 3


def test_a_process_that_is_silent_is_ended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "HANG", 0.5)
    monkeypatch.setattr(spread_local, "LOOK", 0.1)
    (folder / "hang").touch()
    began = time.monotonic()
    said = heard(folder, TWO)
    assert time.monotonic() - began < 50
    assert begun(folder)[3] == 2
    assert sorted(each.index for each in said if each.whole) == list(range(6))


def test_each_process_has_a_number_and_one_that_takes_the_place_of_another_has_its(folder: Path) -> None:
    for name in ("kill", "deadly"):
        (folder / name).touch()
    with events.listen(alone=True):
        heard(folder, TWO)
    assert {path.read_text() for path in folder.glob("begun-*")} == {"0", "1"}
    assert [workers.vacant(taken) for taken in ((), (0, 1), (0, 2), (1,))] == [0, 2, 1, 0]


@pytest.mark.slow
def test_each_process_takes_the_gpu_of_its_number_and_begins_again_with_the_first(folder: Path) -> None:
    assert all(not each.failed for each in spread.spread("pretended:on_gpus", str(folder), range(3), Launch("local", 3)))
    assert {path.name for path in folder.iterdir()} == {"0 cuda:0", "1 cuda:1", "2 cuda:0"}


def test_how_long_silence_may_last(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    silence, ranges = Silence(0.0), Ranges([7, 7])
    ranges.begin()
    now[0] = workers.START - 1
    assert not silence.too_long(0.1), "it loads its libraries"
    silence.broken()
    assert silence.slowest == 0.0
    assert ranges.patience(7, silence.slowest) == workers.HANG
    now[0] += 31
    assert silence.too_long(workers.HANG)
    silence.broken()
    assert ranges.patience(7, silence.slowest) == 310.0
    ranges.begin()
    assert ranges.patience(7, silence.slowest) == 620.0, "more at the second try"


def test_where_no_process_gets_ready_that_is_said(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "pretended.py").write_text("import os\nos._exit(7)\n")
    with pytest.raises(MachineError, match="ended with status 7") as caught:
        heard(folder, TWO, ranges=40)
    assert caught.value.code == "no-process"


def test_who_stops_listening_ends_the_processes(folder: Path) -> None:
    said = spread.spread("pretended:slow", str(folder), range(4), TWO)
    while next(said).done == 0:
        pass
    said.close()  # type: ignore[attr-defined]
    [*pids] = (int(path.name.split("-")[1]) for path in folder.glob("pid-*"))
    assert pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_nothing_to_do_starts_nothing(folder: Path) -> None:
    assert heard(folder, TWO, ranges=0) == heard(folder, HERE, ranges=0) == []
