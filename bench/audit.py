"""What the audit finds, beside what others find in the same pictures.

    .venv/bin/python bench/audit.py [PART [SEED]]

    twins        copies planted in TrashNet, changed in seven ways: recall and precision beside imagehash and CleanVision
    leakage      the same copies laid across given parts; and what a split by Beholder tears apart
    cifar-twins  CIFAR-10: test pictures that have twins among the training pictures
    exact        the exact duplicates of brain-mri.zip and trashnet.zip, and which contradict each other
    findings     sets in good order: how many pictures of each every check finds, and how many enlarged ones if there were some
    scale        100,000 pictures: seconds for candidates and for their comparison

Needs the shared pictures (BEHOLDER_SHARED: where). Peers are in an environment of bench/peers.txt (BEHOLDER_PEERS: its
python), or left out.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path

SHARED = Path(__file__).parent.parent / os.environ.get("BEHOLDER_SHARED", "../shared")

PARTS = {
    "twins": "audit_twins:twins",
    "leakage": "audit_twins:leakage",
    "cifar-twins": "audit_twins:cifar",
    "exact": "audit_twins:exact",
    "findings": "audit_findings:findings",
    "scale": "audit_twins:scale",
}


def main() -> None:
    asked, seed = sys.argv[1:2] or list(PARTS), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    if not set(asked) <= set(PARTS):
        sys.exit(f"{__doc__}\nPART is one of {', '.join(PARTS)}")
    if not SHARED.is_dir():
        print("left out: it needs the shared pictures (BEHOLDER_SHARED)")
        return
    for part in asked:
        print(f"-- {part}", flush=True)
        module, _, name = PARTS[part].partition(":")
        getattr(import_module(module), name)(seed)


if __name__ == "__main__":
    main()
