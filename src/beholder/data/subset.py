"""Which pictures an epoch learns from: a new random share each time, or all but some of those with a low loss.

random:F  a fresh random share F of the pictures in each epoch, a pure function of (seed, epoch).
          Source: P. Okanovic et al., Repeated random sampling for minimizing the time-to-accuracy of learning (2023), RS2.
prune:F   of the pictures whose last loss was below the mean of all, each is left out with probability F; those that stay count
          1 / (1 - F) times, so that the expected gradient is that of all pictures. The first epoch, and those at the end
          (`ANNEALED`), take all. A pure function of (seed, epoch, picture, the losses that a checkpoint holds).
          Source: Z. Qin et al., InfoBatch: lossless training speed up by unbiased dynamic data pruning (2023), section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from beholder.base.arrays import I64
from beholder.machine.draws import Draws

ANNEALED = 0.875
"""Share of the schedule after which no picture is left out: the δ of the source."""


class Subset:
    """The pictures that an epoch takes of n.

    asked:  off, random:F or prune:F, as `train.subset` says; batch: pictures that it takes at least
    losses: float32 (n,), the last loss of each picture, 0 where it has none; seen: whether it has one, uint8 (n,)
    factors: float32 (n,), what a picture's loss counts in this epoch; 0: it is left out
    """

    def __init__(self, asked: str, n: int, *, batch: int, seed: int, device: torch.device | str = "cpu") -> None:
        self.kind, _, share = asked.partition(":")
        self.share = float(share or 1.0)
        self._n, self._batch, self._seed = n, batch, seed
        self._each: Tensor | None = None
        self.losses = torch.zeros(n, device=device)
        self.seen = torch.zeros(n, dtype=torch.uint8, device=device)
        self.factors = torch.ones(n)

    @property
    def prunes(self) -> bool:
        """Return whether it follows the losses, so that epochs are of different lengths."""
        return self.kind == "prune"

    @property
    def most(self) -> int:
        """Return how many pictures an epoch takes at most."""
        return max(min(self._batch, self._n), round(self.share * self._n)) if self.kind == "random" else self._n

    @property
    def count(self) -> int:
        """Return how many pictures this epoch takes."""
        return int((self.factors > 0).sum()) if self.prunes else self.most

    def begin(self, epoch: int, *, whole: bool) -> None:
        """Choose the pictures of an epoch by the losses so far; whole: it takes all of them."""
        self.factors = torch.ones(self._n)
        if not self.prunes or whole or not bool(self.seen.any()):
            return
        losses, seen = self.losses.cpu(), self.seen.cpu().bool()
        low = seen & (losses < losses[seen].mean())
        out = low & (Draws(self._seed, epoch, torch.arange(self._n), name="subset").uniform("prune") < self.share)
        if self._n - int(out.sum()) >= self._batch:
            self.factors[low] = 1 / (1 - self.share)
            self.factors[out] = 0.0

    def taken(self, order: I64) -> I64:
        """Return those of an epoch's order, int64 (n,), that it takes."""
        return order[self.factors.numpy()[order] > 0] if self.prunes else order[: self.most]

    def weighed(self, targets: Tensor, indices: Tensor) -> Tensor:
        """Return targets (B, K) of the pictures at `indices`, int64 (B,), with what their losses count as one more column."""
        return torch.cat([targets, self.factors[indices][:, None].to(targets)], dim=1) if self.prunes else targets

    def hear(self, each: Tensor) -> None:
        """Take the losses of a batch, float32 (B,), until `settle` says of which pictures they are."""
        self._each = each.detach()

    def settle(self, indices: Tensor) -> None:
        """Keep the losses that were heard last: they are of the pictures at `indices`, int64 (B,)."""
        if self._each is not None:
            at = indices.to(self.losses.device)
            self.losses[at] = self._each.float().to(self.losses.device)
            self.seen[at] = 1
            self._each = None

    def state(self) -> dict[str, Tensor]:
        """Return what a checkpoint holds of it, by name; nothing where it needs nothing."""
        found = {"losses": self.losses, "seen": self.seen, "factors": self.factors} if self.prunes else {}
        return {f"subset.{name}": value for name, value in found.items()}

    def set(self, tensors: dict[str, Tensor]) -> None:
        """Take over what `state` gave."""
        if self.prunes:
            self.losses = tensors["subset.losses"].to(self.losses.device, copy=True)
            self.seen = tensors["subset.seen"].to(self.seen.device, copy=True)
            self.factors = tensors["subset.factors"].to("cpu", copy=True)
