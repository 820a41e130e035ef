"""`python -m beholder`, and the entry point of the command."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line with the arguments of this process and return its exit code."""
    from beholder.cli.run import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
