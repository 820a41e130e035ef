"""The fuzzer: twenty thousand mutated pictures do no harm, and harm would be noticed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from tests.fuzz import mutate, program, reference

from beholder import image


def test_a_seed_is_a_file() -> None:
    assert mutate.mutated(12345) == mutate.mutated(12345)
    mutants = [mutate.mutated(seed) for seed in range(2000)]
    assert {mutant.sample for mutant in mutants} == set(mutate.samples())
    assert {way for mutant in mutants for way in mutant.how} == {way.__name__ for way in mutate.WAYS}
    assert sum(mutant.data == mutate.samples()[mutant.sample] for mutant in mutants) < 60


@pytest.mark.parametrize("name", sorted(mutate.samples()))
def test_the_samples_are_read_as_the_reference_reads_them(name: str) -> None:
    data = mutate.samples()[name]
    found = reference.reference(data)
    assert found is not None
    ours = image.decode(data, channels=3)
    assert ours.shape == found[1].shape
    assert np.abs(ours - found[1]).max() <= found[0]


def test_false_pixels_and_refusals_without_a_reason_are_offences(monkeypatch: pytest.MonkeyPatch) -> None:
    seed = next(k for k in range(500) if program.judged(k) == ("pixels", ""))
    cut = next(k for k in range(9000) if mutate.mutated(k).cut and program.judged(k)[0] == "truncated")
    plain = image.decode

    def false(data: bytes, *, channels: int) -> np.ndarray:
        made = plain(data, channels=channels).copy()
        made[0, 0] ^= 64
        return made

    monkeypatch.setattr(image, "decode", false)
    assert program.judged(seed) == ("pixels", "differs")
    monkeypatch.setattr(image, "decode", lambda data, *, channels: np.full((2, 2, 3), len(data) % 256, np.uint8))
    assert program.judged(cut) == ("pixels", "truncated")

    def careless(data: bytes, *, channels: int) -> np.ndarray:
        raise image.sandbox.PictureError("something is wrong", code="")

    monkeypatch.setattr(image, "decode", careless)
    assert program.judged(seed) == ("", "reason")


def test_crashes_and_hangs_are_noticed_and_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = """
import json, os, signal, sys, time
for seed in range(*map(int, sys.argv[1:])):
    print(seed, flush=True)
    if seed == 4: os.kill(os.getpid(), signal.SIGSEGV)
    if seed == 7: time.sleep(60)
print(json.dumps({"kinds": {"pixels": 1}, "slowest": [0.5, seed], "peak": 90}), flush=True)
"""
    monkeypatch.setattr(program, "COMMAND", (sys.executable, "-c", script))
    monkeypatch.setattr(program, "PATIENCE", 3.0)
    found = program.fuzz(12, 0, tmp_path, 2)
    assert found["offenders"] == [(4, "crash11"), (7, "hang")]
    assert (tmp_path / "crash11-4.bin").read_bytes() == mutate.mutated(4).data
    assert (found["slowest"], found["peak_mib"]) == ((0.5, 11), 90)
    assert found["outcomes"] == {"pixels": 2}


@pytest.mark.slow
def test_twenty_thousand_mutated_pictures_do_no_harm(tmp_path: Path) -> None:
    found = program.fuzz(20_000, 0, tmp_path, 2)
    assert found["offenders"] == []
    assert found["seconds"] < 180
    assert found["slowest"][0] < 10
    assert found["peak_mib"] < 1024
    assert sum(found["outcomes"].values()) == 20_000
    assert found["outcomes"]["pixels"] > 3000
