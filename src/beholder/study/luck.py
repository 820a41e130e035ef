"""By how much the winner of a search looks better than it is: it was chosen by its validation score, among others.

Each candidate leaves what its best weights say of the validation pictures. In resamples of these the best candidate is chosen
anew; how much less the chosen ones score on the pictures that were left out is the luck (`measure.optimism`).
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from beholder.base.files import write_atomic
from beholder.measure.optimism import NONE, Luck, expected

STRONGEST = 12
"""Candidates among which resamples choose: the best by their scores, for others would hardly ever be chosen."""


def leave(folder: Path, index: int, logits: Tensor, rows: npt.NDArray[np.int64]) -> None:
    """Leave what a candidate's best weights say of the validation pictures at `rows`: logits (N, W), kept as float16."""
    buffer = io.BytesIO()
    np.savez(buffer, logits=logits.half().numpy(), rows=rows)
    write_atomic(_file(folder, index), buffer.getvalue())


def luck(folder: Path, ranked: Sequence[int], targets: npt.NDArray[Any], objective: Callable[[Any, Any], float]) -> Luck:
    """Return the luck of the first of `ranked`, candidates by their index, the best first; none where too little is known.

    targets: of the whole validation part, (V, K); objective: (logits, targets) → score, the higher the better
    """
    known = [one for index in ranked[:STRONGEST] if (one := _left(folder, index)) is not None]
    if not known or _left(folder, ranked[0]) is None:
        return NONE
    rows = known[0][1]
    outputs = [logits for logits, seen in known if np.array_equal(seen, rows) and np.isfinite(logits).all()]
    if len(outputs) < 2 or not len(rows) or rows.max() >= len(targets):
        return Luck(0.0, len(ranked))
    found = expected(outputs, targets[rows], objective, tested=len(rows))
    return Luck(max(0.0, found.score - found.value), len(ranked))


def _left(folder: Path, index: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]] | None:
    try:
        with np.load(_file(folder, index), allow_pickle=False) as found:
            return found["logits"].astype(np.float32), found["rows"]
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError):
        return None


def _file(folder: Path, index: int) -> Path:
    return folder / f"{index:04}.heard.npz"
