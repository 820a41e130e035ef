"""The head of a cluster that dies while a command uses it: the command says so, and the same command goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bench.ranges_faults import Head

pytestmark = pytest.mark.slow

LOST = "error: the Ray cluster is lost: "


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Head]:
    """A cluster of one node with two cores, which RAY_ADDRESS names for the test."""
    pytest.importorskip("ray")
    found = Head(tmp_path)
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{found.port}")
    yield found
    found.kill()


def predicting(small: Any, parts: Path) -> subprocess.Popen[str]:
    words = ["predict", str(small[1]), str(small[0]), "--parts", str(parts), "--ranges", "36", "--launch", "ray:2"]
    env = {**os.environ, "HOME": str(parts.parent), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "beholder", *words], env=env, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("at_once", [True, False])
def test_predict_says_that_its_head_is_lost_and_goes_on_by_the_same_command(
    head: Head, small: Any, tmp_path: Path, at_once: bool
) -> None:
    parts = tmp_path / "parts"
    running = predicting(small, parts)
    until = time.monotonic() + 120
    while not list(parts.glob("part-*")) and running.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    began = time.monotonic()
    head.kill()
    if at_once:
        head.start()
    said = running.communicate(timeout=90)[1]
    assert time.monotonic() - began < 45
    assert running.returncode == 1
    assert said.count(LOST) == 1
    assert "hint: once the cluster is there again, give the same command" in said
    assert "Traceback" not in said
    if not at_once:
        head.start()
    again = predicting(small, parts)
    assert again.communicate(timeout=180)[1].startswith("going on: ")
    assert again.returncode == 0
    rows = pa.concat_tables(pq.read_table(path) for path in sorted(parts.glob("part-*.parquet"))).to_pylist()
    assert [row["row"] for row in rows] == list(range(36))
