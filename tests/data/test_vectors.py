"""Features remembered by digest: found again, renewed, bounded, and worthless shards passed over."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from beholder.data.vectors import recalled, remember


def some(n: int, seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float16]]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 32)).astype(np.uint8), rng.normal(0, 1, (n, 7)).astype(np.float16)


def test_what_was_remembered_is_recalled_in_any_order(tmp_path: Path) -> None:
    digests, features = some(50, 0)
    remember("net", digests[:30], features[:30], root=tmp_path)
    remember("net", digests[30:], features[30:], root=tmp_path)
    order = np.random.default_rng(1).permutation(50)
    assert (recalled("net", digests[order], root=tmp_path) == features[order]).all()


def test_twins_all_get_their_features(tmp_path: Path) -> None:
    digests, features = some(3, 0)
    remember("net", digests, features, root=tmp_path)
    assert (recalled("net", digests[[1, 1, 0, 1]], root=tmp_path) == features[[1, 1, 0, 1]]).all()


def test_what_was_not_is_nan(tmp_path: Path) -> None:
    digests, features = some(10, 0)
    assert recalled("net", digests, root=tmp_path).shape == (10, 0)
    remember("net", digests[:4], features[:4], root=tmp_path)
    found = recalled("net", digests, root=tmp_path)
    assert (found[:4] == features[:4]).all()
    assert np.isnan(found[4:]).all()
    assert recalled("another", digests, root=tmp_path).shape == (10, 0)


def test_damaged_shard_is_passed_over(tmp_path: Path) -> None:
    digests, features = some(10, 0)
    remember("net", digests, features, root=tmp_path)
    [shard] = (tmp_path / "features" / "net").iterdir()
    (shard / "features.npy").write_bytes(b"\x93NUMPY no")
    assert recalled("net", digests, root=tmp_path).shape == (10, 0)


@pytest.mark.parametrize("file", ["features.npy", "digests.npy"])
def test_damaged_rows_are_not_recalled_and_may_be_remembered_anew(tmp_path: Path, file: str) -> None:
    digests, features = some(10, 0)
    remember("net", digests, features, root=tmp_path)
    [shard] = (tmp_path / "features" / "net").iterdir()
    data = bytearray((shard / file).read_bytes())
    step = (len(data) - 128) // 10
    for row in (2, 5):
        data[128 + step * row + 1] ^= 255
    (shard / file).write_bytes(data)
    found = recalled("net", digests, root=tmp_path)
    assert np.flatnonzero(np.isnan(found).all(axis=1)).tolist() == [2, 5]
    assert (found[[0, 1, 3, 9]] == features[[0, 1, 3, 9]]).all()
    remember("net", digests[[2, 5]], features[[2, 5]], root=tmp_path)
    assert (recalled("net", digests, root=tmp_path) == features).all()


def test_oldest_go_first(tmp_path: Path) -> None:
    for seed in range(3):
        remember("net", *some(100, seed), root=tmp_path)
        for shard in (tmp_path / "features" / "net").iterdir():
            os.utime(shard, (1000 + seed, 1000 + seed))
    remember("net", *some(100, 9), root=tmp_path, limit=12_000)
    assert len(list((tmp_path / "features" / "net").iterdir())) == 2
    assert recalled("net", some(100, 9)[0], root=tmp_path).shape == (100, 7)
