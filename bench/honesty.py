"""Whether what a test says of itself is true: the simulations and measurements behind docs/HONESTY.md.

    .venv/bin/python bench/honesty.py [PART [SEED]]

    coverage     how often 95 % intervals hold the truth: shares, beside other intervals; means over classes; AUROC; groups
    compare      false alarms and power of the comparison of two recognisers
    readings     what reading one test part again and again does to its intervals

Parts that need the shared pictures (BEHOLDER_SHARED: where) are left out without them.
"""

from __future__ import annotations

import sys
from importlib import import_module

PARTS = {
    "coverage": "honesty_intervals:coverage",
    "compare": "honesty_intervals:compare",
    "readings": "honesty_intervals:readings",
}


def main() -> None:
    asked, seed = sys.argv[1:2] or list(PARTS), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    if not set(asked) <= set(PARTS):
        sys.exit(f"{__doc__}\nPART is one of {', '.join(PARTS)}")
    for part in asked:
        print(f"-- {part}", flush=True)
        module, _, name = PARTS[part].partition(":")
        getattr(import_module(module), name)(seed)


if __name__ == "__main__":
    main()
