"""Whether what Beholder says of a recogniser is true: the figures of docs/HONESTY.md.

    .venv/bin/python bench/honesty.py [PART [SEED]]

    calibration  calibration error before and after, on the test and in 20 new splits of validation and test pictures
    sets         coverage of conformal sets in 200 such splits
    risk         how often an accepted risk or a sensitivity is kept: simulated, and in 200 splits
    pneumonia    the operating point at sensitivity 0.95, on the test
    coverage     how often 95 % intervals hold the truth: shares, beside other intervals; means over classes; AUROC; groups
    compare      false alarms and power of the comparison of two recognisers
    readings     what reading one test part again and again does to its intervals
    strangers    which score tells strangers best, on validation; all scores on the test, beside pytorch-ood
    corruptions  accuracy of the CIFAR-10 recogniser under every corruption, with its usual augmentation and with `strong`
    methods      deletion and insertion areas of each kind of heat map, beside random maps
    everything   wall time of a test with every section and the report, beside bare inference
    shortcut     a mark planted in one class: what the audit says, and what the heat maps show (writes the figure)

All but coverage, compare and readings need the shared pictures (BEHOLDER_SHARED: where) and recognisers of them
(BEHOLDER_BUNDLES: the folder that holds trashnet.beholder, cifar.beholder, cifar-strong.beholder, pneumonia.beholder;
docs/HONESTY.md says how each is made).
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path

SHARED = Path(__file__).parent.parent / os.environ.get("BEHOLDER_SHARED", "../shared")

SIMULATED = {
    "coverage": "honesty_intervals:coverage",
    "compare": "honesty_intervals:compare",
    "readings": "honesty_intervals:readings",
}
PARTS = {
    "calibration": "honesty_promises:calibration",
    "sets": "honesty_promises:sets",
    "risk": "honesty_promises:risk",
    "pneumonia": "honesty_promises:pneumonia",
    **SIMULATED,
    "strangers": "honesty_strangers:strangers",
    "corruptions": "honesty_corruptions:corruptions",
    "methods": "honesty_explain:methods",
    "everything": "honesty_cost:everything",
    "shortcut": "honesty_explain:shortcut",
}


def main() -> None:
    asked, seed = sys.argv[1:2] or list(PARTS), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    if not set(asked) <= set(PARTS):
        sys.exit(f"{__doc__}\nPART is one of {', '.join(PARTS)}")
    for part in asked:
        print(f"-- {part}", flush=True)
        if part not in SIMULATED and not SHARED.is_dir():
            print("left out: it needs the shared pictures (BEHOLDER_SHARED)")
            continue
        module, _, name = PARTS[part].partition(":")
        getattr(import_module(module), name)(seed)


if __name__ == "__main__":
    main()
