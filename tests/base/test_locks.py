"""One run at a time in one place, and a lock that ends with its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import beholder
from beholder.base.errors import UsageError
from beholder.base.locks import alone, check_free
from beholder.base.recipe import load
from beholder.study.steps import steps
from beholder.study.tune import tune

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there is no flock there")

HOLD = """
import sys, time
from pathlib import Path
from beholder.base.locks import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_second_is_refused_at_once_until_the_first_is_killed(tmp_path: Path) -> None:
    place = tmp_path / "new" / "leaves.beholder"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(place)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        for ask in (lambda: alone(place).__enter__(), lambda: check_free(place)):
            with pytest.raises(UsageError, match=f"process {holder.pid}") as caught:
                ask()
            assert (caught.value.code, caught.value.exit_code) == ("in-use", 2)
            assert "--out" in caught.value.hint
        with alone(place.with_name("other.beholder")):
            pass
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.communicate()
    with alone(place):
        pass
    check_free(place)
    assert not list(place.parent.iterdir())


def test_a_link_is_the_place_it_leads_to(tmp_path: Path) -> None:
    place, link = tmp_path / "leaves.beholder", tmp_path / "latest.beholder"
    link.symlink_to(place)
    refused: list[str] = []

    def other(path: Path) -> None:
        with pytest.raises(UsageError) as caught:
            alone(path).__enter__()
        refused.append(caught.value.code)

    for held, asked in ((place, link), (link, place)):
        with alone(held):
            thread = threading.Thread(target=other, args=(asked,))
            thread.start()
            thread.join()
    assert refused == ["in-use", "in-use"]


def test_threads_are_refused_too_and_blocks_inside_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said: list[str] = []

    def other() -> None:
        try:
            with alone(tmp_path / "a"):
                said.append("held")
        except UsageError as error:
            said.append(error.code)

    with alone(Path("a")), alone(tmp_path / "a"):
        check_free(Path("a"))
        for thread in [threading.Thread(target=other) for _ in range(2)]:
            thread.start()
            thread.join()
    other()
    assert said == ["in-use", "in-use", "held"]
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_of_a_lock_not_even_its_folders(tmp_path: Path) -> None:
    with pytest.raises(KeyError), alone(tmp_path / "a" / "b" / "c"):
        raise KeyError
    assert not list(tmp_path.iterdir())
    with alone(tmp_path / "a" / "b" / "c"):
        (tmp_path / "a" / "b" / "c").write_text("a result")
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["c"]
    with alone(None):
        pass


def test_a_second_run_with_the_same_out_is_refused_before_it_reads_a_picture(leaves: Path, tmp_path: Path) -> None:
    out, held, over = tmp_path / "leaves.beholder", threading.Event(), threading.Event()

    def first() -> None:
        with alone(out):
            held.set()
            over.wait(60)

    thread = threading.Thread(target=first)
    thread.start()
    assert held.wait(60)
    parts = beholder.split(beholder.scan(leaves))
    (leaves / "rust" / "00.png").unlink()
    try:
        for run in (
            lambda: beholder.train(parts, net="logistic", epochs=1, out=out),
            lambda: steps(tmp_path / "no such source", recipe=load("quick"), out=out),
            lambda: tune(tmp_path / "no such source", minutes=1, out=out),
        ):
            with pytest.raises(UsageError) as caught:
                run()
            assert caught.value.code == "in-use"
    finally:
        over.set()
        thread.join()
    assert not list(tmp_path.glob("*leaves*.run"))
