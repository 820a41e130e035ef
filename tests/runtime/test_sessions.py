from __future__ import annotations

import subprocess
import sys

import pytest

from beholder.base.errors import UsageError
from beholder.runtime import sessions

SCRIPT = """
import os, signal, sys, time
import numpy as np
import openvino
from openvino import opset13 as ops
from beholder.runtime.sessions import core


def compiled():
    x = ops.parameter([1, 8, 9, 9], np.float32)
    y = ops.convolution(x, ops.constant(np.ones((8, 8, 3, 3), np.float32)), [1, 1], [1, 1], [1, 1], [1, 1])
    made = {"core()": core, "Core()": openvino.Core}[sys.argv[1]]()
    return made, made.compile_model(openvino.Model([y], [x], "net"), "CPU")


first, second = compiled(), compiled()
del first
del second
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="signal stacks are of Linux")
def test_ctrl_c_ends_well_after_nets_came_and_went() -> None:
    pytest.importorskip("openvino")
    ended = subprocess.run([sys.executable, "-c", SCRIPT, "core()"], capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stdout.strip()) == (0, "interrupted"), ended.stderr


def test_all_get_one_core() -> None:
    pytest.importorskip("openvino")
    assert sessions.core() is sessions.core()


def test_its_absence_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_cores", [])
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UsageError) as caught:
        sessions.core()
    assert caught.value.code == "needs-extra"
