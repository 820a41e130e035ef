"""What a run does before its first step: whether the machine is busy."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from beholder.base import events
from beholder.learn import begin
from beholder.machine.pace import BUSY


@pytest.mark.parametrize(
    ("times", "minutes", "warned", "chosen"),
    [(1.0, 0.0, 0, 0), (1.0, 5.0, 0, 0), (BUSY, 5.0, 1, 0), (50.0, 5.0, 1, 0), (50.0, 0.0, 1, 1)],
)
def test_threads_are_chosen_only_on_a_busy_machine_without_a_budget(
    monkeypatch: pytest.MonkeyPatch, times: float, minutes: float, warned: int, chosen: int
) -> None:
    picked: list[int] = []
    monkeypatch.setattr(begin, "slowness", lambda: times)
    monkeypatch.setattr(begin, "sample", lambda *_: (None, None))
    monkeypatch.setattr(begin, "_choose_threads", lambda *_: picked.append(1))
    prepared: Any = SimpleNamespace(
        recipe=SimpleNamespace(train=SimpleNamespace(minutes=minutes)),
        train=None,
        normal=None,
        created=SimpleNamespace(net=None),
    )
    heard: list[events.Event] = []
    with events.listen(heard.append, alone=True):
        begin._tell_busy(prepared)
    assert len([event for event in heard if event.name == "busy"]) == warned
    assert len(picked) == chosen
