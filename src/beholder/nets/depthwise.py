"""Depthwise convolutions that stride, trained at the speed of those that do not.

On CPUs the backward pass of a strided depthwise convolution in bf16 runs in a reference kernel, up to forty times slower than
that of stride 1 (docs/LOG.md). The same function is a convolution of stride 1 of which every second value is kept.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Subsampled(nn.Conv2d):
    """A strided depthwise convolution; under bf16 autocast on a CPU, one of stride 1 and a subsampling where it is trained.

    same: padded as TensorFlow does, on the fly, so that the output has ceil(side / stride) values a side
    """

    same: bool

    @classmethod
    def of(cls, conv: nn.Conv2d, *, same: bool) -> Subsampled:
        """Return `conv` as this class, sharing its parameters."""
        new = cls.__new__(cls)
        new.__dict__ = {**conv.__dict__, "same": same}
        return new

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, C, H', W') of images (B, C, H, W)."""
        if self.same:
            images = F.pad(images, _margins(images, self))
        trained = torch.is_grad_enabled() and (images.requires_grad or self.weight.requires_grad)
        slow = images.device.type == "cpu" and torch.is_autocast_enabled("cpu")
        padding = cast(Any, self.padding)
        if not (trained and slow):
            return F.conv2d(images, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)
        every = F.conv2d(images, self.weight, self.bias, 1, padding, self.dilation, self.groups)
        return F.avg_pool2d(every, 1, self.stride)


def _margins(images: Tensor, conv: nn.Conv2d) -> list[int]:
    """Return the padding (left, right, top, bottom) that "same" means for these images."""
    found: list[int] = []
    for side, kernel, stride, dilation in zip(
        reversed(images.shape[-2:]), reversed(conv.kernel_size), reversed(conv.stride), reversed(conv.dilation), strict=True
    ):
        total = max((-(-side // stride) - 1) * stride + (kernel - 1) * dilation + 1 - side, 0)
        found += [total // 2, total - total // 2]
    return found


def subsampled(net: nn.Module) -> int:
    """Put `Subsampled` in the place of every strided depthwise convolution of `net`; return how many there were.

    Names and parameters stay as they are, so weights load and save as before. Nets that pad in a way of their own are left.
    """
    from timm.layers.conv2d_same import Conv2dSame

    count = 0
    for parent in list(net.modules()):
        for name, conv in list(parent.named_children()):
            known = type(conv) in (nn.Conv2d, Conv2dSame)
            if known and isinstance(conv, nn.Conv2d) and _strides(conv) and conv.padding_mode == "zeros":
                setattr(parent, name, Subsampled.of(conv, same=isinstance(conv, Conv2dSame)))
                count += 1
    return count


def _strides(conv: nn.Conv2d) -> bool:
    return max(conv.stride) > 1 and 1 < conv.groups == conv.in_channels and not isinstance(conv.padding, str)
