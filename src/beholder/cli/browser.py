"""The page of a command, opened in the person's browser."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


def opener(wanted: bool) -> Callable[[str], None] | None:
    """Return what opens an address in the browser; None where that is not wanted, or nobody would see it."""
    return _open if wanted and _has_screen() else None


def _has_screen() -> bool:
    """Return True where a browser that is opened here would be seen: at a terminal of a machine with a display."""
    if not sys.stderr.isatty():
        return False
    return not sys.platform.startswith("linux") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def _open(address: str) -> None:
    import webbrowser

    webbrowser.open(address)
