"""Grad-CAM against its definition, in both layouts of a feature map."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from beholder.explanation.gradcam import gradcam


class Pooled(nn.Module):
    """A convolution, a layer that a map passes through, the mean over places, three logits. last: channels come last."""

    def __init__(self, last: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.last, self.output_fmt = last, "NHWC" if last else "NCHW"
        self.body, self.map, self.head = nn.Conv2d(3, 5, 3, padding=1), nn.Identity(), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        found = self.body(x)
        found = self.map(found.permute(0, 2, 3, 1) if self.last else found)
        return self.head((found**2).mean(dim=(1, 2) if self.last else (2, 3)))


@pytest.mark.parametrize("last", [False, True])
def test_each_channel_weighs_as_much_as_its_mean_slope_over_places(last: bool) -> None:
    """Selvaraju et al. 2017, equations 1 and 2: a = mean over places of dy/dA, heat = relu(sum over channels of a · A)."""
    net, images = Pooled(last), torch.randn(2, 3, 6, 9, generator=torch.Generator().manual_seed(1))
    heat = gradcam(net, images, lambda logits: logits[:, 1])
    features = net.body(images).detach()
    slope = net.head.weight[1].detach()[None, :, None, None] * 2 * features / (6 * 9)
    weights = slope.sum(dim=(2, 3), keepdim=True) / (6 * 9)
    expected = functional.relu((weights * features).sum(dim=1))
    assert expected.max() > 0
    assert torch.allclose(heat, expected, rtol=1e-4, atol=1e-7)
