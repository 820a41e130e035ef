from __future__ import annotations

import os
import signal
import threading

import pytest

from beholder.base.errors import Interrupted
from beholder.machine.stop import stopping, terminating


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_raises_the_flag_and_no_error(number: int, code: int) -> None:
    before = signal.getsignal(number)
    with stopping() as stop:
        assert not stop
        os.kill(os.getpid(), number)
        assert stop
    assert stop.error("halt").exit_code == code
    assert signal.getsignal(number) is before


def test_a_second_signal_interrupts_at_once() -> None:
    with stopping():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_termination_strikes_where_it_is() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted) as caught, terminating():
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_other_threads_leave_signals_alone() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with stopping() as stop, terminating():
            seen.append((bool(stop), signal.getsignal(signal.SIGINT) is before))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, True)]
