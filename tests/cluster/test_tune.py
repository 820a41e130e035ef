"""`tune --launch ray` on two nodes: the winner of one process, also where workers are killed or the search is interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import beholder
from beholder.base.errors import UsageError
from beholder.base.files import file_sha256
from beholder.base.recipe import Recipe
from beholder.machine.cluster import connected
from beholder.study import crew_ray
from beholder.study.search import Job
from beholder.study.trial import Field
from beholder.study.tune import tune
from beholder.study.worker import written

pytestmark = pytest.mark.slow

SHORT: dict[str, Any] = {"net": "cnn", "epochs": 4, "batch": 16, "precision": "fp32", "minutes": 20, "trials": 3}
WORDS = ["--minutes", "20", "--trials", "3", "--net", "cnn", "--set", "train.epochs=4", "--set", "train.batch=16"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 digits of scikit-learn of three classes, in a folder for each."""
    from sklearn.datasets import load_digits

    found, top = load_digits(n_class=3), tmp_path_factory.mktemp("source") / "digits"
    for number, (pixels, label) in enumerate(zip(found.images[:120], found.target[:120], strict=True)):
        (top / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 15.9).astype("uint8")).save(top / str(label) / f"{number:03}.png")
    return top


@pytest.fixture(scope="module")
def alone(source: Path) -> Iterator[Any]:
    """What one process finds, with one thread, as each worker has."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield found(source, source.parent / "alone.beholder")
    torch.set_num_threads(before)


def found(source: Path, out: Path, **how: Any) -> Any:
    with beholder.listen(alone=True):
        return tune(source, out=out, **SHORT, **how)


def same(one: Any, alone: Any) -> bool:
    """Return whether two studies scored the same candidates alike and made the same weights."""
    assert {row["trial"]: row["valid_score"] for row in one.trials} == {
        row["trial"]: row["valid_score"] for row in alone.trials
    }
    assert one.recipe == alone.recipe
    weights = {file_sha256(each.outcome.path / "model.safetensors") for each in (one, alone)}
    return len(weights) == 1


def at_work() -> list[int]:
    """Return the processes that carry out a slice: of nodes that this process has started, as others may run the same test."""
    parents, names = dict[int, int](), dict[int, bytes]()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            names[int(folder.name)] = (folder / "cmdline").read_bytes()
    return [process for process, name in names.items() if name.startswith(b"ray::advance") and _ours(process, parents)]


def _ours(process: int, parents: dict[int, int]) -> bool:
    while process in parents and process != os.getpid():
        process = parents[process]
    return process == os.getpid()


def killing(times: int) -> Callable[[], int]:
    """Kill processes that carry out a slice, one after the other; return what ends that, and says how many were killed."""
    over, struck = threading.Event(), list[int]()

    def kill() -> None:
        while len(struck) < times and not over.wait(0.05):
            for process in at_work()[:1]:
                time.sleep(0.3)
                with suppress(OSError):
                    os.kill(process, signal.SIGKILL)
                    struck.append(process)
                time.sleep(1)

    def end() -> int:
        over.set()
        thread.join()
        return len(struck)

    thread = threading.Thread(target=kill)
    thread.start()
    return end


def test_the_winner_is_that_of_one_process_though_workers_are_killed(
    two_nodes: str, source: Path, alone: Any, tmp_path: Path
) -> None:
    end = killing(2)
    try:
        killed = found(source, tmp_path / "m.beholder", launch="ray:2")
    finally:
        struck = end()
    assert struck >= 1  # the second may come too late
    assert [row["state"] for row in killed.trials] == ["scored"] * 3
    assert same(killed, alone)


def test_ctrl_c_leaves_a_study_that_goes_on(two_nodes: str, source: Path, alone: Any, tmp_path: Path) -> None:
    out, journal = tmp_path / "m.beholder", tmp_path / "m.tune.jsonl"
    words = [sys.executable, "-m", "beholder", "tune", str(source), *WORDS, "--set", "train.precision=fp32", "--out", str(out)]
    run = subprocess.Popen([*words, "--launch", "ray:1"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    until = time.monotonic() + 120
    while time.monotonic() < until and not (journal.is_file() and '"slice"' in journal.read_text()):
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130, said
    assert "kept in" in said
    assert not at_work()
    before = sum('"slice"' in line for line in journal.read_text().splitlines())
    resumed = found(source, out)
    assert [row["reason"] for row in resumed.trials] == [""] * 3
    assert same(resumed, alone)
    after = sum('"slice"' in line for line in journal.read_text().splitlines())
    assert (before >= 1, after) == (True, 3), "what was scored is not scored again"


def test_a_worker_of_another_version_is_refused_before_its_first_step(two_nodes: str, source: Path, tmp_path: Path) -> None:
    parts = beholder.split(beholder.scan(source), seed=0, near=False)
    written(Field(parts, tmp_path), source)
    said = json.loads((tmp_path / "field.json").read_text())
    (tmp_path / "field.json").write_text(json.dumps({**said, "alike": {**said["alike"], "torch": "0.4"}}))
    with connected() as ray:
        crew = crew_ray.Tasks(ray, tmp_path, 8, 2)
        with pytest.raises(UsageError, match=r"torch is .*, not 0\.4") as caught:
            crew.run(iter([Job(0, Recipe().toml(), {})]), lambda *_: None)
    assert caught.value.code == "other-version"
