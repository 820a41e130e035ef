"""How good a net is on the validation part, in the precision that it trains in: the figure that weights are chosen by."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.bundle.infer import fitting
from beholder.data.loader import Readable, plain
from beholder.learn.probe import Normal
from beholder.machine.device import Precision
from beholder.measure.curves import average_precision


def score(logits: Tensor, targets: Tensor, *, multi: bool) -> float:
    """Return accuracy, or for multi-label the mean over classes of average precision. Both tensors (N, K), float32."""
    if not multi:
        return float((logits.argmax(1) == targets.argmax(1)).float().mean())
    values, truth = logits.double().numpy(), targets.numpy() > 0.5
    per_class = [float(average_precision(values[:, k], truth[:, k])) for k in range(truth.shape[1]) if truth[:, k].any()]
    return float(np.mean(per_class)) if per_class else float("nan")


@torch.inference_mode()
def validate(
    net: nn.Module,
    pixels: Readable,
    targets: Tensor,
    normal: Normal,
    precision: Precision,
    *,
    multi: bool,
    enough: Callable[[], bool] = bool,
) -> tuple[float, float] | None:
    """Return (loss, score) of `net` on pixels with targets float32 (N, K); the net is left in evaluation mode.

    `enough` is asked before each batch; None is returned once it says so.
    """
    net.eval()
    # One tensor from the start: small ones kept between large ones that come and go scatter the heap, which then grows.
    logits, at = torch.empty(targets.shape), 0
    batch = min(256, 4 * fitting(normal.device, *pixels.shape[1:]))
    for images in plain(pixels, batch=batch, device=normal.device, mean=normal.mean, std=normal.std):
        if enough():
            return None
        with torch.autocast(images.device.type, dtype=precision.dtype, enabled=precision.mixed):
            logits[at : at + len(images)] = net(images.contiguous(memory_format=torch.channels_last))
        at += len(images)
    loss = F.binary_cross_entropy_with_logits(logits, targets) if multi else F.cross_entropy(logits, targets)
    return float(loss), score(logits, targets, multi=multi)
