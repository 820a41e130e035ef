"""A strided depthwise convolution that is trained as one of stride 1: the same values and the same gradients."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import nn

from beholder.nets.depthwise import Subsampled, subsampled


def _close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a.float(), b.float(), rtol=0.02, atol=0.02 * float(b.detach().abs().max()))


@pytest.mark.parametrize("side", [7, 8, 12])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("same", [False, True])
def test_values_and_gradients_are_those_of_the_strided_convolution(side: int, kernel: int, same: bool) -> None:
    torch.manual_seed(0)
    maker = Conv2dSame if same else nn.Conv2d
    conv = maker(6, 6, kernel, stride=2, padding=0 if same else kernel // 2, groups=6)
    ours = Subsampled.of(copy.deepcopy(conv), same=same)
    images = torch.randn(2, 6, side, side + 1)
    seen = []
    for module, on in ((conv, False), (ours, True)):
        x = images.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=on):
            out = module(x)
        (out.float() * torch.linspace(-1, 1, out.numel()).view(out.shape)).sum().backward()
        assert x.grad is not None
        assert module.weight.grad is not None
        assert module.bias is not None
        assert module.bias.grad is not None
        seen.append((out, x.grad, module.weight.grad, module.bias.grad))
    for a, b in zip(*seen, strict=True):
        assert a.shape == b.shape
        _close(b, a)


def test_where_nothing_is_trained_the_values_are_equal_to_the_bit() -> None:
    conv = Conv2dSame(4, 4, 3, stride=2, groups=4)
    images = torch.randn(2, 4, 9, 9)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(Subsampled.of(conv, same=True)(images), conv(images))


def test_a_net_keeps_its_weights_names_and_answers() -> None:
    net = timm.create_model("mobilenetv2_050", num_classes=3, pad_type="same").eval()
    images = torch.randn(2, 3, 64, 64)
    names = list(net.state_dict())
    before = net(images)
    assert subsampled(net) == 4
    assert subsampled(net) == 0
    assert list(net.state_dict()) == names
    assert torch.equal(net(images), before)
    assert copy.deepcopy(net)(images).equal(before)


def test_other_convolutions_are_left_alone() -> None:
    net = nn.Sequential(nn.Conv2d(4, 8, 3, stride=2), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 3, stride=2, groups=2))
    assert subsampled(net) == 0
