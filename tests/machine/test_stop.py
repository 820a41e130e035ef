from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from beholder.base.errors import BeholderError, DataError, Interrupted
from beholder.machine.stop import Stop, check_stop, stopping

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def interrupted(block: Callable[[Stop], None]) -> Interrupted:
    """Return the error with which a block inside `stopping()` ends; handlers are as they were before."""
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

    def run() -> None:
        with stopping() as stop:
            block(stop)

    with pytest.raises(KeyboardInterrupt) as caught:
        run()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert isinstance(caught.value, Interrupted)
    return caught.value


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_while_it_is_held_a_signal_raises_the_flag_and_no_error(number: int, code: int) -> None:
    reached: list[int] = []

    def block(stop: Stop) -> None:
        with stop.held():
            assert not stop
            send(number)
            check_stop()
            assert stop
        reached.append(stop.error("halt").exit_code)
        check_stop()
        reached.append(0)

    assert interrupted(block).exit_code == code
    assert reached == [code]


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_strikes_where_it_is_and_passes_what_makes_up_for_failures(number: int, code: int) -> None:
    reached: list[int] = []

    def block(stop: Stop) -> None:
        with suppress(Exception, BeholderError):
            send(number)
            reached.append(1)
        reached.append(2)

    assert interrupted(block).exit_code == code
    assert reached == []


class Dying:
    """Python reports and drops what is raised while an object dies."""

    def __del__(self) -> None:
        send(signal.SIGTERM)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_a_library_swallows_is_raised_again_at_the_end_of_the_block() -> None:
    reached: list[int] = []

    def block(stop: Stop) -> None:
        Dying()
        reached.append(1)

    assert interrupted(block).exit_code == 143
    assert reached == [1]


@pytest.mark.parametrize(
    ("error", "said"), [(RuntimeError("cancelled"), "terminated"), (DataError("no more"), "interrupted; no more")]
)
def test_what_breaks_because_of_a_signal_is_an_interruption(error: Exception, said: str) -> None:
    def block(stop: Stop) -> None:
        try:
            send(signal.SIGTERM)
        except KeyboardInterrupt:
            raise error from None

    found = interrupted(block)
    assert (found.message, found.exit_code, found.__cause__) == (said, 143, error)


def test_an_error_without_a_signal_is_itself() -> None:
    with pytest.raises(DataError, match="no more"), stopping():
        raise DataError("no more")


def test_a_second_signal_interrupts_at_once() -> None:
    reached: list[int] = []

    def block(stop: Stop) -> None:
        with stop.held():
            send(signal.SIGINT)
            reached.append(1)
            send(signal.SIGINT)
            reached.append(2)

    interrupted(block)
    assert reached == [1]


def test_a_block_inside_another_shares_its_flag_and_its_holds() -> None:
    reached: list[int] = []

    def block(outer: Stop) -> None:
        with outer.held():
            with stopping() as inner:
                assert inner is outer
                send(signal.SIGINT)
            check_stop()
        with stopping():
            reached.append(1)
            check_stop()
            reached.append(2)

    interrupted(block)
    assert reached == [1]


def test_other_threads_leave_signals_alone() -> None:
    seen: list[tuple[bool, bool]] = []

    def work(before: object) -> None:
        with stopping() as stop:
            check_stop()
            seen.append((bool(stop), signal.getsignal(signal.SIGINT) == before))

    def start() -> None:
        thread = threading.Thread(target=work, args=(signal.getsignal(signal.SIGINT),))
        thread.start()
        thread.join()

    def block(stop: Stop) -> None:
        with stop.held():
            send(signal.SIGTERM)
            start()

    start()
    interrupted(block)
    assert seen == [(False, True), (False, True)]


def test_outside_of_any_block_nothing_is_asked() -> None:
    check_stop()
    Stop().check()
