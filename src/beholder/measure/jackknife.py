"""The delete-a-group jackknife: how far any statistic of pictures may lie from what more of them would give.

Sources: J. Shao, D. Tu, The Jackknife and Bootstrap (1995); P. Kott, The delete-a-group jackknife, J. Official Statistics 17
(2001).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from beholder.base.arrays import F64, I64
from beholder.base.order import stratified

GROUPS = 40
"""Groups that are left out in turn: the variance then has 39 degrees of freedom."""


def left_out(units: I64, targets: npt.NDArray[np.integer], *, seed: int = 0) -> I64:
    """Return weights int64 (G + 1, N) of N rows: a row of ones, then one for each group that is left out.

    units: int64 (N,), rows of one number are left out together; targets: int (N,) or 0 and 1 (N, K): groups have like shares
    """
    _, first, unit = np.unique(units, return_index=True, return_inverse=True)
    place = np.empty(len(first), np.int64)
    place[stratified(targets[first], seed=seed)] = np.arange(len(first))
    count = min(GROUPS, len(first))
    groups = (place % count)[unit]
    return np.vstack([np.ones((1, len(units)), np.int64), (groups != np.arange(count)[:, None]).astype(np.int64)])


def covariance(values: npt.ArrayLike) -> F64:
    """Return the covariance (M, M) of M statistics; values: float (G + 1, M), of all rows and without each group.

    Replicates that are NaN, as of a class of which nothing is left, say nothing.
    """
    replicates = np.asarray(values, np.float64)[1:]
    count = len(replicates)
    away = np.nan_to_num(replicates - np.nanmean(replicates, axis=0))
    return np.asarray((count - 1) / count * away.T @ away)
