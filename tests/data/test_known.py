"""Who looks the same as what was seen: candidates by hash, and no more than that without pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from beholder.base.records import PixelPolicy
from beholder.data.cache import cached
from beholder.data.known import confirmed, hashes, in_cache, maybe_known, none, remembered, units
from beholder.duplicates.hashing import LENGTH, likest, turned
from beholder.sources import scan
from beholder.sources.digest import digested

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
    assert maybe_known(seen, known).nonzero()[0].tolist() == [1, 4]
    mirrored = turned(seen, 5).astype(np.int8)
    assert maybe_known(mirrored, known).nonzero()[0].tolist() == [1, 4]
    assert not maybe_known(seen, none()).any()
    assert not maybe_known(none(), known).size


def test_small_pictures_tell_nothing(tmp_path: Path) -> None:
    pictures = digested(scan(photos(tmp_path / "p")))
    tiny = cached(pictures, PixelPolicy(16, 16))
    assert not hashes(tiny).any()
    assert len(remembered(tiny)) == 0


def test_copies_share_a_unit(tmp_path: Path) -> None:
    folder = photos(tmp_path / "p")
    Image.open(folder / "a" / "0.png").resize((50, 50)).save(folder / "a" / "copy.png")
    pictures = digested(scan(folder))
    pixels = cached(pictures, POLICY)
    found = units(pictures, pixels, hashes(pixels))
    rows = [list(pictures.keys).index(f"a/{name}.png") for name in ("0", "copy")]
    assert found[rows[0]] == found[rows[1]]
    assert len(np.unique(found)) == 6
    assert len(np.unique(units(pictures, None, none()))) == 7


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


def patches(folder: Path, n: int) -> Path:
    """A bright patch at a random place on random noise: the same few low frequencies again and again, no picture twice."""
    rng = np.random.default_rng(0)
    for k in range(n):
        pixels = rng.integers(0, 60, (48, 48, 3))
        x, y = rng.integers(10, 16, 2)
        pixels[y : y + 16, x : x + 16] = np.array([220, 40, 40]) + rng.integers(-25, 25, (16, 16, 3))
        place = folder / "ab"[k % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(place / f"{k:03d}.png")
    return folder


def test_hashes_that_are_close_prove_nothing_where_pixels_do_not_agree(tmp_path: Path) -> None:
    pictures = digested(scan(patches(tmp_path / "p", 120)))
    first, second = (pictures.take(np.arange(k, 120, 2)) for k in (0, 1))
    ours, theirs = (cached(some, PixelPolicy(48, 48)) for some in (first, second))
    seen, known = hashes(ours), hashes(theirs)
    assert maybe_known(seen, known).sum() >= 5
    assert not confirmed(ours, seen, theirs, known).any()
    assert len(np.unique(units(first, ours, seen))) == 60


def test_copies_are_confirmed_by_their_pixels_whatever_was_done_to_them(tmp_path: Path) -> None:
    folder = patches(tmp_path / "p", 30)
    copy = Image.open(folder / "a" / "004.png").resize((40, 40)).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    copy.save(folder / "a" / "copy.jpg", quality=90)
    pictures = digested(scan(folder))
    mine = np.array([key.endswith("copy.jpg") for key in pictures.keys])
    ours, theirs = (cached(pictures.take(np.flatnonzero(some)), PixelPolicy(48, 48)) for some in (mine, ~mine))
    assert confirmed(ours, hashes(ours), theirs, hashes(theirs)).all()


def test_pixels_of_training_are_found_in_the_cache_or_not_at_all(tmp_path: Path) -> None:
    pictures = digested(scan(photos(tmp_path / "p")))
    assert pictures.digests is not None
    digests = [row.tobytes().hex() for row in pictures.digests]
    assert in_cache(digests, PixelPolicy(37, 41)) is None
    assert in_cache([], POLICY) is None
    whole = cached(pictures, PixelPolicy(37, 41))
    held = in_cache(digests[:3], PixelPolicy(37, 41))
    assert held is not None
    assert np.array_equal(held.take(np.arange(3)), whole.take(np.arange(3)))
