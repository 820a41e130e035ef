"""Random numbers that are a pure function of (seed, epoch, index of the picture, name of the stream, place in a field).

A counter-based generator: each number is a hash of where it is needed, so neither the order of the pictures, nor the batch
they are in, nor a resumed run or another device can change what happens to a picture.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from beholder.base.arrays import I64
from beholder.base.mixing import U64, mixed
from beholder.machine.devices import sent

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MASK = (1 << 64) - 1


class Draws:
    """The draws of one batch in one epoch. len(): B.

    indices: int64 (B,), the pictures' places in their set. Numbers come back on `device`, by default that of `indices`.
    name: what they are drawn for; of other names all draws differ
    """

    def __init__(
        self,
        seed: int,
        epoch: int,
        indices: Tensor | Sequence[int],
        *,
        device: torch.device | None = None,
        name: str = "",
    ) -> None:
        indices = torch.as_tensor(indices, dtype=torch.int64)
        self.epoch = epoch
        self.device = device or indices.device
        salt = _stream(name) if name else np.uint64(0)
        places = indices.cpu().numpy().astype(np.uint64)
        self._fixed = mixed(mixed(_word(seed) ^ salt) ^ mixed(places + _GAMMA))
        self._base = mixed(self._fixed ^ mixed(mixed(_word(epoch))))

    def __len__(self) -> int:
        return len(self._base)

    def uniform(self, stream: str, *shape: int) -> Tensor:
        """Return float32 (B, *shape) in [0, 1), multiples of 2^-24 so that they are the same on every machine."""
        if not shape:
            return self._tensor((self._bits(stream) >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24))
        place = torch.arange(math.prod(shape), dtype=torch.int32, device=self.device)
        keys = self._tensor(self._bits(stream).view(np.int32).reshape(-1, 2))
        bits = _mixed32(_mixed32(place ^ keys[:, :1]) ^ keys[:, 1:])
        return (((bits >> 8) & 0xFFFFFF).float() * 2.0**-24).reshape(len(self), *shape)

    def between(self, stream: str, low: float, high: float, *shape: int) -> Tensor:
        """Return float32 (B, *shape), uniform in [low, high)."""
        return self.uniform(stream, *shape) * (high - low) + low

    def normal(self, stream: str, *shape: int) -> Tensor:
        """Return float32 (B, *shape), standard normal by the inverse of its distribution function; at most 5.4 in size."""
        values: Tensor = torch.special.ndtri(self.uniform(stream, *shape).double() + 2.0**-25)
        return values.float()

    def alternating(self, stream: str) -> Tensor:
        """Return bool (B,): a coin per picture in the first epoch, and its opposite in every next one.

        In any two epochs in turn each picture is seen both ways. Source: Keller Jordan, "94% on CIFAR-10 in 3.29 seconds
        on a single GPU" (2024), section 3.6.
        """
        coin = (mixed(self._fixed ^ _stream(stream)) >> np.uint64(63)).astype(np.int64)
        return self._tensor((coin + self.epoch) % 2 == 1)

    def batch(self, stream: str) -> np.random.Generator:
        """Return a generator for choices that the whole batch shares; the order of the batch does not change it."""
        return np.random.Generator(np.random.Philox(int(self._bits(stream).sum(dtype=np.uint64))))

    def batch_uniform(self, stream: str) -> float:
        """Return one number in [0, 1) for the whole batch."""
        return float(self.batch(stream).random())

    def order(self) -> I64:
        """Return the pictures' places in the batch in an order of their own, int64 (B,)."""
        return np.argsort(self._bits("order"), kind="stable").astype(np.int64)

    def _bits(self, stream: str) -> U64:
        return mixed(self._base ^ _stream(stream))

    def _tensor(self, values: npt.NDArray[np.generic]) -> Tensor:
        return sent(torch.from_numpy(values), self.device)


def permutation(seed: int, epoch: int, n: int) -> I64:
    """Return the order of `n` pictures in an epoch, int64 (n,): a pure function of (seed, epoch)."""
    return Draws(seed, epoch, torch.arange(n)).order()


def _mixed32(words: Tensor) -> Tensor:
    """Scramble 32-bit words, one to one, as they are the fastest on every device.

    Source: C. Wellons, Prospecting for hash functions (2018), whose `lowbias32` this is.
    """
    words = (words ^ ((words >> 16) & 0xFFFF)) * 0x7FEB352D
    words = (words ^ ((words >> 15) & 0x1FFFF)) * (0x846CA68B - 2**32)
    return words ^ ((words >> 16) & 0xFFFF)


def _word(number: int) -> U64:
    # An array, not a scalar: NumPy warns of overflow in scalars only, and here wrapping is what is wanted.
    return np.array([number & _MASK], dtype=np.uint64) + _GAMMA


@lru_cache(maxsize=256)
def _stream(name: str) -> U64:
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return np.array([int.from_bytes(digest, "little")], dtype=np.uint64)
