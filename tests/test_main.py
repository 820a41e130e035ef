"""The process: what it leaves behind, and how."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from beholder.cli.run import run

PROGRAM = """
import atexit, sys
import beholder.cli.run
from beholder.__main__ import main

class Slow:
    def __del__(self):
        print("taken apart")

sys.kept = Slow()
atexit.register(print, "said at the end")
beholder.cli.run.run = lambda arguments, began: print("done") or 130
main()
"""


def test_the_process_ends_at_once_with_its_code_and_all_it_said() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    said = f"Python {sys.version} (written for 3.12): without atexit._run_exitfuncs nothing is done at the end"
    assert (done.returncode, done.stdout, done.stderr) == (130, "done\nsaid at the end\n", ""), said


CUT = """
import importlib.abc, sys
from beholder.__main__ import main

class Cut(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "beholder.cli.run":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Cut())
main()
"""


def test_ctrl_c_before_the_command_line_is_imported_is_one_line() -> None:
    done = subprocess.run([sys.executable, "-c", CUT], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "error: interrupted\n")


@pytest.mark.parametrize(
    ("given", "spins"), [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)]
)
def test_threads_that_wait_sleep_soon_unless_somebody_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], spins: str | None
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # so that what is set below is taken back
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert run(["version"]) == 0
    assert os.environ.get("GOMP_SPINCOUNT") == spins
