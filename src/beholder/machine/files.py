"""How many files and connections a process may have open at once."""

from __future__ import annotations

from contextlib import suppress


def open_files(wanted: int) -> int:
    """Let this process, and those it starts, have `wanted` files open, as far as the system allows; return how many it may.

    The limit is never lowered. Where the system has none of this kind, `wanted` is returned.
    """
    try:
        import resource
    except ImportError:  # not on Windows
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    endless = resource.RLIM_INFINITY
    if soft != endless and soft < wanted:
        with suppress(OSError, ValueError):  # macOS has a lower limit than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard == endless else min(wanted, hard), hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == endless else soft
