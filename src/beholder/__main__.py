"""`python -m beholder`, and the entry point of the command."""

from __future__ import annotations

import sys
import time


def main() -> int:
    """Run the command line with the arguments of this process and return its exit code."""
    began = time.monotonic()
    from beholder.cli.run import run

    return run(sys.argv[1:], began=began)


if __name__ == "__main__":
    sys.exit(main())
