"""SIGKILL at random moments of a study: it goes on, and comes to the winner of an uninterrupted one, bit for bit."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Draw

import beholder
from beholder.base.files import file_sha256

pytestmark = pytest.mark.slow

PROGRAM = """
import sys, beholder, torch
torch.set_num_threads(1)
found = beholder.tune(sys.argv[1], minutes=20, trials=4, net="cnn", epochs=8, batch=8, precision="fp32", out=sys.argv[2])
"""


def started(source: Path, out: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", PROGRAM, str(source), str(out)]
    return subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def test_killed_at_random_moments_it_comes_to_the_same_winner(tmp_path: Path, draw: Draw) -> None:
    source = draw(tmp_path / "leaves", each=40)
    began = time.monotonic()
    assert started(source, tmp_path / "whole.beholder").wait(300) == 0
    whole, out, moments = time.monotonic() - began, tmp_path / "killed.beholder", random.Random(0)
    for _ in range(6):
        run = started(source, out)
        try:
            run.wait(moments.uniform(0.3, 0.95) * whole)
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGKILL)
            run.wait()
    assert started(source, out).wait(300) == 0
    wanted, found = beholder.load(tmp_path / "whole.beholder"), beholder.load(out)
    assert found.recipe == wanted.recipe
    assert file_sha256(out / "model.safetensors") == file_sha256(tmp_path / "whole.beholder" / "model.safetensors")
    assert [row["step"] for row in found.history] == [row["step"] for row in wanted.history]


@pytest.mark.parametrize("how", [{}, {"source": "arrays"}])
def test_several_at_a_time_in_processes_of_their_own(tmp_path: Path, draw: Draw, how: dict[str, Any]) -> None:
    source: Any = draw(tmp_path / "leaves", each=20)
    if how:
        pictures = beholder.scan(source)
        source = (
            __import__("numpy").stack([pictures_array(pictures, key) for key in pictures.keys]),
            pictures.targets,
        )
    found = beholder.tune(source, minutes=10, trials=3, workers=2, net="cnn", epochs=4, batch=8, out=tmp_path / "m.beholder")
    assert [row["state"] for row in found.trials] == ["scored"] * 3
    assert found.recipe.data.memory == 0
    assert [row["epoch"] for row in found.outcome.bundle.history] == [1, 2, 3, 4]


def pictures_array(pictures: beholder.Pictures, key: str) -> Any:
    import io

    import numpy as np
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(pictures.store.read(key))))  # type: ignore[arg-type]
