from __future__ import annotations

from pathlib import Path

import pytest
import torch

from beholder.base import memo
from beholder.machine import trial as room
from beholder.machine.chip import chip
from beholder.machine.trial import trains, trial

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(room, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(room, "slowness", lambda: 1.0)
    return tmp_path / "machine"


def test_the_trial_measures_each_precision_once_and_remembers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "ROUNDS", 0)
    state = torch.get_rng_state()
    found = trial(CPU, ("fp32", "bf16"))
    assert torch.equal(torch.get_rng_state(), state)
    assert found.keys() == {"fp32", "bf16"}
    assert all(0 < seconds < 10 for seconds in found.values())
    (file,) = folder.iterdir()
    assert memo.record(file)["chip"] == chip(CPU)
    monkeypatch.setattr(room, "_measured", lambda *_: pytest.fail("measured again"))
    assert trial(CPU, ("fp32", "bf16")) == found


def test_another_number_of_threads_is_another_machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_measured", lambda on, names: ({name: float(torch.get_num_threads()) for name in names}, 9))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert trial(CPU, ("fp32",)) == {"fp32": 1.0}
        torch.set_num_threads(2)
        assert trial(CPU, ("fp32",)) == {"fp32": 2.0}
    finally:
        torch.set_num_threads(before)
    assert len(list(folder.iterdir())) == 2


def test_a_busy_machine_is_asked_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_measured", lambda on, names: (dict.fromkeys(names, 1.5), room.ROUNDS))
    assert trial(CPU, ("fp32",)) is None
    assert not folder.exists()


@pytest.mark.parametrize("text", ["", "{}", '{"seconds": [1]}', '{"seconds": {"fp32": "soon"}}'])
def test_a_damaged_memory_is_measured_anew(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(room, "_measured", lambda on, names: (dict.fromkeys(names, 1.5), 9))
    trial(CPU, ("fp32",))
    (file,) = folder.iterdir()
    file.write_text(text)
    assert trial(CPU, ("fp32",)) == {"fp32": 1.5}


def test_the_slower_precision_is_seen_to_be_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is returned is the time of the step and not of something else; rounds go on until there is no time left."""
    clock = [0.0]

    def step(seconds: float) -> None:
        clock[0] += seconds

    monkeypatch.setattr(room, "trains", lambda on, name: True)
    monkeypatch.setattr(room, "_step", lambda on, name, small: lambda: step(0.02 if name == "fp32" else 0.005))
    monkeypatch.setattr(room.time, "perf_counter", lambda: clock[0])
    found, rounds = room._measured(CPU, ("fp32", "bf16"))
    assert found == pytest.approx({"fp32": 0.02, "bf16": 0.005})
    assert rounds == pytest.approx(room.LONGEST / 0.025, abs=1)


def test_what_raises_cannot_train(monkeypatch: pytest.MonkeyPatch) -> None:
    assert trains(CPU, "bf16")

    def refuse(*_: object, **__: object) -> object:
        def step() -> None:
            raise RuntimeError("not implemented for 'Half'")

        return step

    monkeypatch.setattr(room, "_step", refuse)
    assert not trains(CPU, "fp16")
    assert room._measured(CPU, ())[0] == {}
