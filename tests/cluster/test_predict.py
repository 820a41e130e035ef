"""Answers and facts in ranges on a cluster of two nodes: the rows of one process, a killed worker among them."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import beholder
from beholder.base import events
from beholder.base.errors import UsageError
from beholder.duplicates.facts import fingerprinted
from beholder.study import ranges
from beholder.study.measured import measured
from beholder.study.ranges import InParts, predict_parts

pytestmark = pytest.mark.slow


def rows(found: InParts) -> list[dict[str, Any]]:
    return pa.concat_tables(pq.read_table(path) for path in found.files).to_pylist()


def test_tasks_of_two_nodes_give_the_rows_of_one_process(two_nodes: str, small: Any, tmp_path: Path) -> None:
    source = shutil.copytree(small[0], tmp_path / "leaves")
    (source / "rust" / "05.png").write_bytes(b"nonsense")
    here = predict_parts(small[1], source, tmp_path / "here", ranges=4)
    there = predict_parts(small[1], source, tmp_path / "there", ranges=4, launch="ray")
    assert there.errors == {"not-a-picture": 1}
    assert [(row["path"], row["label"], row["error_code"]) for row in rows(there)] == [
        (row["path"], row["label"], row["error_code"]) for row in rows(here)
    ]
    for ours, theirs in zip(rows(here), rows(there), strict=True):
        assert theirs["p"] == (ours["p"] if ours["p"] is None else pytest.approx(ours["p"], abs=1e-6))


def test_a_range_whose_worker_is_killed_is_begun_again(
    two_nodes: str, small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "WORK", "tests.cluster.test_predict:deadly_once")
    warned: list[str] = []
    with events.listen(lambda event: warned.append(event.message) if event.kind == "warn" else None, alone=True):
        found = predict_parts(small[1], small[0], tmp_path / "parts", ranges=4, launch="ray:2")
    assert [row["row"] for row in rows(found)] == list(range(36))
    assert [text for text in warned if text.startswith("range 2: its task was lost (")]


def deadly_once(folder: str, index: int, threads: int) -> Any:
    """Do the work of a range, but kill the worker in the middle of the first try of one."""
    from beholder.study.range_work import work

    for done in work(folder, index, threads):
        yield done
        mark = Path(folder) / ".killed"
        if index == 2 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def test_facts_on_the_cluster_are_those_of_one_pass(two_nodes: str, leaves: Path, tmp_path: Path) -> None:
    pictures = beholder.scan(leaves)
    found, facts = measured(pictures, leaves, tmp_path / "parts", launch="ray", ranges=4)
    expected, wanted = fingerprinted(pictures, root=tmp_path / "cache")
    assert np.array_equal(facts, wanted)
    assert np.array_equal(found.digests, expected.digests)


def test_other_versions_on_a_node_are_refused(
    two_nodes: str, small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from beholder.study import plan

    now = plan.versions()
    monkeypatch.setattr(plan, "versions", lambda: {**now, "beholder": "9.9"})
    with pytest.raises(UsageError, match="other versions than the plan") as caught:
        predict_parts(small[1], small[0], tmp_path / "parts", ranges=2, launch="ray")
    assert caught.value.code == "other-version"
