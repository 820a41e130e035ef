"""A few fixed views of each picture as a frozen backbone sees them, kept in memory: what a detector's head learns from first.

The backbone is most of the cost of a step. Seen once, each picture in a few views, its maps serve as many epochs as there is
time for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from beholder.base.boxes import NONE
from beholder.base.spans import span
from beholder.data.boxed import BoxedBatches
from beholder.data.loader import Batch
from beholder.data.subset import Subset
from beholder.machine.devices import sent
from beholder.machine.draws import permutation

Maps = Callable[[Tensor], Sequence[Tensor]]
"""images float32 (B, C, H, W), normalised → maps (B, c, h, w), one for each level."""


class Views:
    """Maps of V views of N pictures, float16 (V · N, F), and the boxes in them. It yields batches as `Batches` does.

    shapes: (c, h, w) of each level, whose values lie one after another in F
    Each epoch takes one view of each picture, another one in the next epoch.
    """

    subset: Subset | None = None

    def __init__(self, source: BoxedBatches, maps: Maps) -> None:
        """source: what the pictures are read from and varied by; maps: the frozen backbone."""
        self.batch, self.seed, self.device = source.batch, source.seed, source.device
        self._source, self._maps = source, maps
        self._kept: list[Tensor] = []
        self._targets: list[list[Tensor]] = []
        self.shapes: list[tuple[int, int, int]] = []
        self.n = len(source.pixels)

    def __len__(self) -> int:
        return self.n // self.batch if self.batch else 0

    @property
    def steps(self) -> int:
        """Return the number of batches of an epoch."""
        return len(self)

    @property
    def views(self) -> int:
        """Return V."""
        return len(self._kept)

    @property
    def bytes(self) -> int:
        """Return the bytes of one view of all pictures."""
        return self._kept[0].numel() * 2 if self._kept else 0

    def rows(self) -> Iterator[Tensor]:
        """Yield the maps of the first view of all pictures in their order, float32 (B, F, 1, 1)."""
        for start in range(0, self.n, self.batch):
            yield self._kept[0][start : start + self.batch].float()[:, :, None, None]

    @torch.inference_mode()
    def see(self, *, autocast: Any) -> None:
        """Look at each picture in one more view. autocast: the context in which the backbone computes."""
        view, targets = len(self._kept), list[Tensor]()
        kept = torch.empty(0)
        for start in range(0, self.n, self.batch):
            batch = self._source.at(view, torch.arange(start, min(start + self.batch, self.n)))
            with autocast():
                maps = self._maps(batch.images.contiguous(memory_format=torch.channels_last))
            self.shapes = [tuple(x.shape[1:]) for x in maps]  # type: ignore[misc]
            rows = torch.cat([x.flatten(1).half() for x in maps], 1).cpu()
            kept = kept if start else torch.empty((self.n, rows.shape[1]), dtype=torch.float16)
            kept[start : start + len(rows)] = rows
            targets += [row[row[:, 5] != NONE].cpu() for row in batch.targets]
        self._kept.append(kept)
        self._targets.append(targets)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from step `start` on; images are float32 (B, F, 1, 1)."""
        order = permutation(self.seed, epoch, self.n)
        for k in range(start, len(self)):
            rows = torch.from_numpy(order[k * self.batch : (k + 1) * self.batch])
            with span("augment"):
                batch = self._taken(rows, (rows + epoch) % self.views)
            yield batch

    def _taken(self, rows: Tensor, views: Tensor) -> Batch:
        both = list(zip(views.tolist(), rows.tolist(), strict=True))
        images = torch.stack([self._kept[view][row] for view, row in both]).float()[:, :, None, None]
        targets = nn.utils.rnn.pad_sequence([self._targets[view][row] for view, row in both], batch_first=True)
        on = self._source.device
        return Batch(sent(images, on), sent(targets, on), rows)


class OnMaps(nn.Module):
    """A head on maps that lie one after another in rows (B, F, 1, 1), as `Views` gives them."""

    def __init__(self, head: nn.Module, shapes: Sequence[tuple[int, int, int]]) -> None:
        super().__init__()
        self.head = head
        self.shapes = list(shapes)

    def forward(self, rows: Tensor) -> Any:
        """Return what the head says."""
        pieces = torch.split(rows.flatten(1), [c * h * w for c, h, w in self.shapes], 1)
        maps = [x.reshape(-1, *shape) for x, shape in zip(pieces, self.shapes, strict=True)]
        return self.head([x.contiguous(memory_format=torch.channels_last) for x in maps])
