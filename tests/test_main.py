"""The process: what it leaves behind, and how."""

from __future__ import annotations

import subprocess
import sys

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
    assert (done.returncode, done.stdout, done.stderr) == (130, "done\nsaid at the end\n", "")


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
