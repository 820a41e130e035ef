"""Random fields that are a pure function of (seed, index of the picture, stream, place in the field), made on the device.

Counter-based: each number is a hash of where it is, in 32-bit whole numbers, so that every device makes the same uniform bits.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor


class Chance:
    """The chance of B pictures: `indices` are their places in their set, `name` what is done to them."""

    def __init__(self, seed: int, indices: Sequence[int], name: str, device: torch.device) -> None:
        self.device = device
        self._prefixes = [f"{seed} {int(index)} {name} " for index in indices]

    def __len__(self) -> int:
        return len(self._prefixes)

    def uniform(self, stream: str, *shape: int) -> Tensor:
        """Return float32 (B, *shape) in [0, 1), multiples of 2^-24; of one value a picture where no shape is given."""
        place = torch.arange(math.prod(shape), dtype=torch.int32, device=self.device)
        first, second = self._keys(stream)
        bits = _mixed(_mixed(place ^ first) ^ second)
        return (((bits >> 8) & 0xFFFFFF).float() * 2.0**-24).reshape(len(self), *shape)

    def between(self, stream: str, low: float, high: float, *shape: int) -> Tensor:
        """Return float32 (B, *shape), uniform in [low, high)."""
        return self.uniform(stream, *shape) * (high - low) + low

    def normal(self, stream: str, *shape: int) -> Tensor:
        """Return float32 (B, *shape), standard normal; at most 5.9 in size.

        Source: G. Box, M. Muller, A note on the generation of random normal deviates, Ann. Math. Stat. 29 (1958).
        """
        count = math.prod(shape)
        pairs = self.uniform(stream, 2, (count + 1) // 2)
        radius = (-2 * (pairs[:, 0] + 2.0**-25).log()).sqrt()
        angle = pairs[:, 1] * (2 * math.pi)
        both = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=2).flatten(1)
        return both[:, :count].reshape(len(self), *shape)

    def _keys(self, stream: str) -> tuple[Tensor, Tensor]:
        """Return two words a picture, int32 (B, 1) each."""
        digests = b"".join(hashlib.blake2b((p + stream).encode(), digest_size=8).digest() for p in self._prefixes)
        words = torch.frombuffer(bytearray(digests), dtype=torch.int32).reshape(-1, 2).to(self.device)
        return words[:, :1], words[:, 1:]


def _mixed(words: Tensor) -> Tensor:
    """Scramble 32-bit words, one to one.

    Source: C. Wellons, Prospecting for hash functions (2018), whose `lowbias32` this is.
    """
    words = (words ^ ((words >> 16) & 0xFFFF)) * 0x7FEB352D
    words = (words ^ ((words >> 15) & 0x1FFFF)) * (0x846CA68B - 2**32)
    return words ^ ((words >> 16) & 0xFFFF)
