"""Perceptual hashes as words of 64 bits, which can be sorted, cut into bands and compared by counting bits.

Bit 8 i + j of a word belongs to coefficient (i, j) of the hash. A mirror negates the odd columns, upside down the odd rows, and
a transposition exchanges rows and columns. A band is a set of bits that a transposition maps onto itself: a turn maps its
bits onto each other, and those of all turned copies have one normal form.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from beholder.base.arrays import I8, I64, Bools
from beholder.base.mixing import U64, mixed
from beholder.duplicates.hashing import LENGTH, SIDE, TURNS

SIGNS, STRONG, WEAKEST, NAME = range(4)
"""The words of a hash: which coefficients are above 0, which are larger than half of all, which are smallest, and its name.

Two hashes have one name if they are equal; others share a name by chance once in 2^64 pairs.
"""

WEAK = 12
"""How many coefficients count as smallest: their signs are those that noise changes first."""

USED = (1 << LENGTH) - 2
"""All bits but that of the mean, which is always 0."""

MIRROR = np.uint64(0xAAAA_AAAA_AAAA_AAAA)
UPSIDE = np.uint64(0xFF00_FF00_FF00_FF00)
"""Bits of odd columns, and of odd rows."""

_SWAPS = ((7, 0x00AA_00AA_00AA_00AA), (14, 0x0000_CCCC_0000_CCCC), (28, 0x0000_0000_F0F0_F0F0))


def words_of(hashes: I8) -> U64:
    """Return the words of hashes, int8 (N, 64) → uint64 (N, 4); all 0 for a hash of zeros."""
    hashes = np.ascontiguousarray(hashes)
    size = np.abs(hashes[:, 1:])
    order = np.sort(size.astype(np.int16), axis=1)
    found = np.zeros((len(hashes), 4), np.uint64)
    found[:, SIGNS] = _packed(hashes[:, 1:] > 0)
    found[:, STRONG] = _packed(size > order[:, LENGTH // 2, None])
    found[:, WEAKEST] = _packed(size < order[:, WEAK, None])
    for k, column in enumerate(hashes.view("<u8").T):
        found[:, NAME] = mixed(found[:, NAME] + column + np.uint64(k + 1))
    found[~hashes.any(axis=1)] = 0
    return found


def _packed(bits: Bools) -> U64:
    """Return bool (N, 63) as words whose bit 0 is 0."""
    whole = np.pad(bits, ((0, 0), (1, 0)))
    return np.packbits(whole, axis=1, bitorder="little").view("<u8")[:, 0]


def transposed(words: U64) -> U64:
    """Return words (N,) whose bit 8 i + j is bit 8 j + i of the given ones. Source: Warren, Hacker's Delight, section 7-3."""
    for shift, mask in _SWAPS:
        by = np.uint64(shift)
        apart = (words ^ (words >> by)) & np.uint64(mask)
        words = words ^ apart ^ (apart << by)
    return words


def turned_words(words: U64, turn: int) -> U64:
    """Return words (N, 4) after a turn of `hashing.TURNS`; names stay."""
    out = words.copy()
    if turn & 4:
        for column in (SIGNS, STRONG, WEAKEST):
            out[:, column] = transposed(words[:, column])
    if turn & 2:
        out[:, SIGNS] ^= UPSIDE
    if turn & 1:
        out[:, SIGNS] ^= MIRROR
    return out


def distances(first: U64, second: U64) -> tuple[I64, I64]:
    """Return in how many bits M pairs differ after the turn of the first that suits best, int64 (M,), and that turn.

    first, second: words (M, 4). The bits are those of `SIGNS` and `STRONG`, 126 of a hash.
    """
    found = []
    for turn in range(TURNS):
        moved = turned_words(first, turn)
        apart = [np.bitwise_count(moved[:, column] ^ second[:, column]) for column in (SIGNS, STRONG)]
        found.append(apart[0].astype(np.int64) + apart[1])
    every = np.stack(found)
    best = every.argmin(axis=0)
    return every[best, np.arange(len(first))], best.astype(np.int64)


@dataclass(frozen=True)
class Band:
    """Bits that a transposition maps onto themselves. column: one in an odd column and even row; row: its mirror image."""

    mask: int
    column: int
    row: int

    def normal(self, signs: U64) -> U64:
        """Return signs (N,) mirrored and turned upside down so that bits `column` and `row` are 0."""
        one = np.uint64(1)
        signs = signs ^ (MIRROR * ((signs >> np.uint64(self.column)) & one))
        return np.asarray(signs ^ (UPSIDE * ((signs >> np.uint64(self.row)) & one)))


def bands(count: int, seed: int) -> list[Band]:
    """Return `count` bands, 16 at most, of nearly the same size, that together have each used bit once."""
    draws = np.random.default_rng(seed)
    pairs = [(i, j) for i in range(SIDE) for j in range(i, SIDE) if i or j]
    odd = [pair for pair in pairs if sum(pair) % 2]
    even = [pair for pair in pairs if not sum(pair) % 2]
    masks, pivots = [0] * count, [(0, 0)] * count
    for k, at in enumerate(draws.permutation(len(odd)).tolist()):
        masks[k % count] |= _bits(*odd[at])
        pivots[k % count] = odd[at]
    for at in draws.permutation(len(even)).tolist():
        least = min(range(count), key=lambda k: masks[k].bit_count())
        masks[least] |= _bits(*even[at])
    return [Band(mask, *_pivots(*pair)) for mask, pair in zip(masks, pivots, strict=True)]


def _bits(i: int, j: int) -> int:
    return 1 << (SIDE * i + j) | 1 << (SIDE * j + i)


def _pivots(i: int, j: int) -> tuple[int, int]:
    i, j = (i, j) if j % 2 else (j, i)
    return SIDE * i + j, SIDE * j + i


def shares(mask: int, count: int) -> list[int]:
    """Return `count` masks of nearly the same size that together have each used bit which is not in `mask` once."""
    left = [bit for bit in range(LENGTH) if USED & ~mask & 1 << bit]
    return [sum(1 << bit for bit in left[k::count]) for k in range(count)]


def entries(words: U64, band: Band, probes: int) -> Iterator[tuple[U64, U64, I64]]:
    """Yield signs, strong words and places in `words` of what is filed under a band, in the normal form of all turned copies.

    words: (N, 4). Each is filed as it is, and again with each of up to `probes` of its smallest signs in the band turned over.
    Where a transposition leaves the bits of the band as they are, both forms are filed: either may be that of a copy.
    """
    weak = words[:, WEAKEST] & np.uint64(band.mask)
    rows = np.arange(len(words))
    flip = np.zeros(len(words), np.uint64)
    for k in range(probes + 1):
        if k:
            flip = weak & (~weak + np.uint64(1))
            weak = weak ^ flip
            rows = np.flatnonzero(flip)
        signs, strong = words[rows, SIGNS] ^ flip[rows], words[rows, STRONG]
        plain, across = band.normal(signs), band.normal(transposed(signs))
        a, b = plain & np.uint64(band.mask), across & np.uint64(band.mask)
        yield plain[a <= b], strong[a <= b], rows[a <= b]
        yield across[b <= a], transposed(strong[b <= a]), rows[b <= a]
