"""What other programs take is told by Linux's files; a folder stands for them, and no test here reads a clock."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from beholder.machine.neighbours import Load, Neighbours

TICKS = os.sysconf("SC_CLK_TCK")


class Machine:
    """A folder as Linux's /proc, with the clocks of a process."""

    def __init__(self, top: Path) -> None:
        self.top, self.now, self.own = top, 100.0, 5.0

    def told(self, waits: dict[str, float], computed: float) -> None:
        """Write how many seconds each thread has waited, and how many all cores have computed."""
        for name, seconds in waits.items():
            thread = self.top / "self" / "task" / name
            thread.mkdir(parents=True, exist_ok=True)
            (thread / "schedstat").write_text(f"12345 {int(seconds * 1e9)} 678\n")
        ticks = int(computed * TICKS)
        (self.top / "stat").write_text(f"cpu  {ticks - 7} 2 3 1000 500 1 1 0 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def beside(machine: Machine) -> Neighbours:
    return Neighbours(machine.top, now=lambda: machine.now, own=lambda: machine.own)


def test_what_threads_waited_and_others_computed_is_told(machine: Machine) -> None:
    machine.told({"1": 3.0, "2": 4.0}, 50.0)
    look = beside(machine).look
    machine.told({"1": 3.5, "2": 5.0, "3": 0.5}, 56.0)  # a thread that is new has waited since it began
    machine.now, machine.own = 102.0, 7.0
    assert look() == Load(2.0, pytest.approx(2.0), pytest.approx(4.0))
    machine.now = 104.0
    assert look() == Load(2.0, 0.0, 0.0)


def test_a_thread_that_ended_is_nothing_to_the_others(machine: Machine) -> None:
    machine.told({"1": 3.0, "2": 4.0}, 50.0)
    look = beside(machine).look
    (machine.top / "self" / "task" / "2" / "schedstat").unlink()
    machine.told({"1": 3.5}, 50.5)
    machine.now = 101.0
    assert look() == Load(1.0, pytest.approx(0.5), pytest.approx(0.5))


@pytest.mark.parametrize("schedstat", [None, "", "x y z"])
def test_where_the_system_does_not_tell_nothing_is_known(machine: Machine, schedstat: str | None) -> None:
    if schedstat is not None:
        machine.told({"1": 1.0}, 5.0)
        (machine.top / "self" / "task" / "1" / "schedstat").write_text(schedstat)
    look = beside(machine).look
    machine.now = 101.0
    assert look() is None


def test_two_looks_at_the_same_moment_tell_nothing(machine: Machine) -> None:
    machine.told({"1": 1.0}, 5.0)
    assert beside(machine).look() is None


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="only Linux tells how long threads waited")
def test_linux_tells() -> None:
    look = Neighbours().look
    found = look()
    assert found is not None
    assert found.waited >= 0
    assert found.others >= 0
