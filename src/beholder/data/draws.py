"""Random numbers that are a pure function of (seed, epoch, index of the picture, name of the stream).

A counter-based generator: each number is a hash of where it is needed, so neither the order of the pictures, nor the batch
they are in, nor a resumed run can change what happens to a picture.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

U64 = npt.NDArray[np.uint64]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MASK = (1 << 64) - 1


class Draws:
    """The draws of one batch in one epoch.

    indices: int64 (B,), the pictures' places in their set. Numbers come back on `device`, by default that of `indices`.
    """

    def __init__(self, seed: int, epoch: int, indices: torch.Tensor, *, device: torch.device | None = None) -> None:
        self.epoch = epoch
        self.device = device or indices.device
        places = indices.cpu().numpy().astype(np.uint64)
        self._fixed = _mix(_mix(_word(seed)) ^ _mix(places + _GAMMA))
        self._base = _mix(self._fixed ^ _mix(_mix(_word(epoch))))

    def __len__(self) -> int:
        return len(self._base)

    def uniform(self, stream: str) -> torch.Tensor:
        """Return float32 (B,) in [0, 1), a multiple of 2^-24 so that it is the same on every machine."""
        return self._tensor(_unit(self._bits(stream)))

    def between(self, stream: str, low: float, high: float) -> torch.Tensor:
        """Return float32 (B,), uniform in [low, high)."""
        return self.uniform(stream) * (high - low) + low

    def normal(self, stream: str) -> torch.Tensor:
        """Return float32 (B,), standard normal by the inverse of its distribution function; at most 5.4 in size."""
        unit = _unit(self._bits(stream)).astype(np.float64) + 2.0**-25
        return self._tensor(torch.special.ndtri(torch.from_numpy(unit)).numpy().astype(np.float32))

    def alternating(self, stream: str) -> torch.Tensor:
        """Return bool (B,): a coin per picture in the first epoch, and its opposite in every next one.

        In any two epochs in turn each picture is seen both ways. Source: Keller Jordan, "94% on CIFAR-10 in 3.29 seconds
        on a single GPU" (2024), section 3.6.
        """
        coin = (_mix(self._fixed ^ _stream(stream)) >> np.uint64(63)).astype(np.int64)
        return self._tensor((coin + self.epoch) % 2 == 1)

    def batch(self, stream: str) -> np.random.Generator:
        """Return a generator for choices that the whole batch shares; the order of the batch does not change it."""
        return np.random.Generator(np.random.Philox(int(self._bits(stream).sum(dtype=np.uint64))))

    def batch_uniform(self, stream: str) -> float:
        """Return one number in [0, 1) for the whole batch."""
        return float(self.batch(stream).random())

    def _bits(self, stream: str) -> U64:
        return _mix(self._base ^ _stream(stream))

    def _tensor(self, values: npt.NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(values).to(self.device)


def permutation(seed: int, epoch: int, n: int) -> npt.NDArray[np.int64]:
    """Return the order of `n` pictures in an epoch, int64 (n,): a pure function of (seed, epoch)."""
    keys = Draws(seed, epoch, torch.arange(n))._bits("order")
    return np.argsort(keys, kind="stable").astype(np.int64)


def _mix(words: U64) -> U64:
    """Scramble 64-bit words, one to one. Source: the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _word(number: int) -> U64:
    # An array, not a scalar: NumPy warns of overflow in scalars only, and here wrapping is what is wanted.
    return np.array([number & _MASK], dtype=np.uint64) + _GAMMA


@lru_cache(maxsize=256)
def _stream(name: str) -> U64:
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return np.array([int.from_bytes(digest, "little")], dtype=np.uint64)


def _unit(bits: U64) -> npt.NDArray[np.float32]:
    return (bits >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
