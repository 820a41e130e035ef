"""A page of this machine, opened in the person's browser."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


def opener(wanted: bool) -> Callable[[str], None] | None:
    """Return what opens an address in the browser; None where that is not wanted, or nobody would see it."""
    return _open if wanted and sys.stderr.isatty() and has_screen() else None


def has_screen() -> bool:
    """Return True where the window of a browser would be seen: else one of the terminal would take it, or none be there."""
    if sys.platform.startswith("linux"):
        return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    return not os.environ.get("SSH_CONNECTION")


def opened(address: str) -> bool:
    """Open an address where that would be seen; return whether a browser took it."""
    import webbrowser

    return has_screen() and webbrowser.open(address)


def _open(address: str) -> None:
    opened(address)
