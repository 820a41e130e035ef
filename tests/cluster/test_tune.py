"""`tune --launch ray` on two nodes: the winner of one process, also where workers are killed, and what is refused."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import beholder
from beholder.base.errors import UsageError
from beholder.base.files import file_sha256
from beholder.machine.cluster import connected
from beholder.study import crew_ray
from beholder.study.search import Job, Slice
from beholder.study.tune import tune

pytestmark = pytest.mark.slow

SHORT: dict[str, Any] = {"net": "cnn", "epochs": 4, "batch": 16, "precision": "fp32", "minutes": 20, "trials": 3}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """120 digits of scikit-learn of three classes, in a folder for each."""
    from sklearn.datasets import load_digits

    found = load_digits(n_class=3)
    for number, (pixels, label) in enumerate(zip(found.images[:120], found.target[:120], strict=True)):
        folder = tmp_path / "digits" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 15.9).astype("uint8")).save(folder / f"{number:03}.png")
    return tmp_path / "digits"


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def found(source: Path, out: Path, **how: Any) -> Any:
    with beholder.listen(alone=True):
        return tune(source, out=out, **SHORT, **how)


def killing(times: int) -> Callable[[], int]:
    """Kill processes that carry out a slice, one after the other; return what ends that, and says how many were killed."""
    over, struck = threading.Event(), list[Path]()

    def kill() -> None:
        while len(struck) < times and not over.wait(0.05):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    if len(struck) < times and path.read_bytes().startswith(b"ray::advance"):
                        time.sleep(0.3)
                        os.kill(int(path.parent.name), signal.SIGKILL)
                        struck.append(path)
                        time.sleep(1)

    thread = threading.Thread(target=kill)
    thread.start()

    def end() -> int:
        over.set()
        thread.join()
        return len(struck)

    return end


def test_the_winner_is_that_of_one_process_whoever_is_killed(two_nodes: str, source: Path, tmp_path: Path) -> None:
    alone = found(source, tmp_path / "alone.beholder")
    with connected():
        spread = found(source, tmp_path / "spread.beholder", launch="ray")
        end = killing(2)
        try:
            killed = found(source, tmp_path / "killed.beholder", launch="ray:2")
        finally:
            assert end() == 2
    for one in (spread, killed):
        assert [row["state"] for row in one.trials] == ["scored"] * 3
        assert {row["trial"]: row["valid_score"] for row in one.trials} == {
            row["trial"]: row["valid_score"] for row in alone.trials
        }
        assert one.recipe == alone.recipe
    whole = file_sha256(tmp_path / "alone.beholder" / "model.safetensors")
    assert {file_sha256(tmp_path / f"{name}.beholder" / "model.safetensors") for name in ("spread", "killed")} == {whole}


def test_a_worker_that_does_not_see_the_folder_is_an_error(
    two_nodes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[tuple[Job, Slice]] = []
    with connected() as ray:
        crew = crew_ray.Tasks(ray, tmp_path, 8, 2)
        (tmp_path / crew_ray.TOKEN).unlink()
        with pytest.raises(UsageError, match="does not see") as caught:
            crew.run(iter([Job(0, "", {})]), lambda *what: jobs.append(what))
    assert caught.value.code == "not-shared"
    assert not jobs
