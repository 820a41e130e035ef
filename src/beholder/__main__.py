"""`python -m beholder`, and the entry point of the command."""

from __future__ import annotations

import atexit
import os
import sys
import time
from contextlib import suppress
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line with the arguments of this process, and end it with the exit code."""
    began = time.monotonic()
    try:
        from beholder.cli.run import run

        code = run(sys.argv[1:], began=began)
    except KeyboardInterrupt:  # while all that is imported, or while an error is told
        sys.stderr.write("error: interrupted\n")
        code = 130
    _leave(code)


def _leave(code: int) -> NoReturn:
    """End the process at once: to take torch apart again takes a second or two, and all that is to last is on disk by now."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
