from __future__ import annotations

import subprocess
import sys

import pytest

from beholder.machine.files import open_files

pytest.importorskip("resource")

PROGRAM = """
import resource
from beholder.machine.files import open_files
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 128))
print(open_files(32), open_files(100), open_files(4000), resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_the_limit_is_raised_as_far_as_the_system_allows_and_never_lowered() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split(maxsplit=3) == ["64", "100", "128", "(128, 128)\n"]


def test_what_is_there_already_is_enough() -> None:
    assert open_files(1) >= 1
