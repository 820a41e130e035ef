"""The one core of OpenVINO in this process."""

from __future__ import annotations

import threading
from typing import Any

from beholder.base.errors import UsageError

_guard = threading.Lock()
_cores: list[Any] = []


def core() -> Any:
    """Return OpenVINO's `Core`: the same at each call, never freed.

    Each core lays the signal stack of its thread aside and puts it back when it goes. Of two that do not go in the reverse
    order of their coming, one puts back what the other has freed, and the next Ctrl-C ends the process by a segmentation fault
    (seen with OpenVINO 2026.4, and shown by tests/base/test_openvino.py). Raises `UsageError` where it is not installed.
    """
    with _guard:
        if not _cores:
            try:
                import openvino
            except ImportError as error:
                hint = "pip install 'beholder[openvino]'"
                raise UsageError("OpenVINO is not installed", code="needs-extra", hint=hint) from error
            _cores.append(openvino.Core())
        return _cores[0]
