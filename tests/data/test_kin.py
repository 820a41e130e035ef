"""Who looks the same as what was seen, by hashes alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from beholder.base.records import PixelPolicy
from beholder.data.cache import cached
from beholder.data.digest import digested
from beholder.data.kin import hashes, looks_known, none, remembered, units
from beholder.data.likeness import LENGTH, likest, turned
from beholder.data.sources import scan

POLICY = PixelPolicy(40, 40)


def photos(folder: Path, *, n: int = 6) -> Path:
    rng = np.random.default_rng(4)
    for number in range(n):
        place = folder / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 255, (7, 7, 3)).astype(np.uint8))
        coarse.resize((64, 64), Image.Resampling.BICUBIC).save(place / f"{number}.png")
    return folder


def test_copies_are_known_and_strangers_are_not(tmp_path: Path) -> None:
    pictures = digested(scan(photos(tmp_path / "p")))
    seen = hashes(cached(pictures, POLICY))
    assert seen.shape == (6, LENGTH)
    known = remembered(cached(pictures.take(np.array([1, 4])), POLICY))
    assert known.shape == (2, LENGTH)
    assert looks_known(seen, known).nonzero()[0].tolist() == [1, 4]
    mirrored = turned(seen, 5).astype(np.int8)
    assert looks_known(mirrored, known).nonzero()[0].tolist() == [1, 4]
    assert not looks_known(seen, none()).any()
    assert not looks_known(none(), known).size


def test_small_pictures_tell_nothing(tmp_path: Path) -> None:
    pictures = digested(scan(photos(tmp_path / "p")))
    tiny = cached(pictures, PixelPolicy(16, 16))
    assert not hashes(tiny).any()
    assert len(remembered(tiny)) == 0


def test_copies_share_a_unit(tmp_path: Path) -> None:
    folder = photos(tmp_path / "p")
    Image.open(folder / "a" / "0.png").resize((50, 50)).save(folder / "a" / "copy.png")
    pictures = digested(scan(folder))
    found = units(pictures, hashes(cached(pictures, POLICY)))
    rows = [list(pictures.keys).index(f"a/{name}.png") for name in ("0", "copy")]
    assert found[rows[0]] == found[rows[1]]
    assert len(np.unique(found)) == 6
    assert len(np.unique(units(pictures, none()))) == 7


def test_the_likest_of_many_is_that_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    known = rng.integers(-90, 90, (300, LENGTH)).astype(np.int8)
    asked = np.clip(known[:20] + rng.integers(-9, 9, (20, LENGTH)), -127, 127).astype(np.int8)
    asked[3] = 0
    row, cosine = likest(asked, known, least=0.9)
    assert row.tolist() == [0, 1, 2, -1, *range(4, 20)]
    one, other = asked[5].astype(float), known[5].astype(float)
    assert abs(cosine[5] - one @ other / np.linalg.norm(one) / np.linalg.norm(other)) < 1e-5
    assert cosine[3] == 0
