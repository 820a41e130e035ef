"""The part of bench/audit.py about what the checks find where little is wrong."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from audit_twins import SHARED, looked_at
from PIL import Image

from beholder import image
from beholder.base.records import Pictures
from beholder.duplicates.appearance import describe
from beholder.duplicates.near import twins
from beholder.quality.audit import audit
from beholder.quality.checks import CHECKS, Evidence
from beholder.sources import scan
from beholder.study.examine import with_nets

SETS = ("trashnet", "ants-bees", "sign-digits", "fashion-mnist", "brain-mri", "pneumonia")
MOST = 5000
ENLARGED = 100


def findings(seed: int) -> None:
    """Print the findings of each check among the pictures of each set: a sample of `MOST` where there are more."""
    names = [name for name in CHECKS.names() if name not in with_nets()]
    table: dict[str, list[str]] = {name: [] for name in names}
    found = {}
    for name in SETS:
        with tempfile.TemporaryDirectory() as there:
            pictures = scan(SHARED / f"{name}.zip")
            rows = np.sort(np.random.default_rng(seed).permutation(len(pictures))[:MOST])
            pictures, known = looked_at(pictures.take(rows), Path(there))
            result = audit(Evidence(pictures, known, twins=twins(pictures, known, root=there)), names=names)
        for row in result.summary():
            table[str(row["check"])].append(f"{row['found']}")
        found[name] = (len(pictures), len({row.picture for row in result.rows if row.picture}))
        print(f"{name}: {', '.join(row.verdict for row in result.rows if not row.picture) or 'nothing said of the whole set'}")
        enlarged(name, pictures, known, seed)
    print(f"{'':12}" + "".join(f"{name:>15}" for name in SETS))
    for name in ("pictures", "with any"):
        print(f"{name:12}" + "".join(f"{found[which][name == 'with any']:15}" for which in SETS))
    for name, counts in table.items():
        print(f"{name:12}" + "".join(f"{count:>15}" for count in counts))


def enlarged(name: str, pictures: Pictures, known: npt.NDArray[np.void], seed: int) -> None:
    """Print the recall of `upscaled` where `ENLARGED` pictures at most, and a tenth, are made twice as large as they were."""
    large = np.flatnonzero(np.minimum(known["height"], known["width"]) >= 128)
    some = np.random.default_rng(seed).permutation(large)[: min(ENLARGED, len(large) // 10)]
    for method in ("BILINEAR", "BICUBIC", "LANCZOS") if len(some) else ():
        other = known.copy()
        for row in some.tolist():
            other["fine"][row] = describe(twice(pictures, row, Image.Resampling[method])[None])["fine"][0]
        marked = upscaled(Evidence(pictures, other))
        print(f"{name}: of {len(some)} enlarged twice ({method.lower()}) {np.isin(some, marked).mean():.2f} are found")


def twice(pictures: Pictures, row: int, method: Image.Resampling) -> npt.NDArray[np.uint8]:
    """Return a picture made half as large and enlarged again, uint8 (H, W, 3)."""
    whole = Image.fromarray(image.decode(pictures.store.read(pictures.keys[row]), channels=3))
    half = whole.resize((whole.width // 2, whole.height // 2), Image.Resampling.LANCZOS)
    return np.asarray(half.resize(whole.size, method))


def upscaled(evidence: Evidence) -> Sequence[int]:
    keys = {row.picture for row in audit(evidence, names=["low-detail"]).rows}
    return [row for row, key in enumerate(evidence.pictures.keys) if key in keys]
