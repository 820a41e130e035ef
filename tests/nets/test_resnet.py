"""The small residual net."""

import torch
from torch import nn

from beholder.nets.resnet import Block, resnet


def test_a_block_whose_last_norm_is_zero_passes_its_input_on() -> None:
    block = Block(8, 8, 1).eval()
    block.zero_init_last()
    x = torch.rand(2, 8, 5, 5)
    assert torch.equal(block(x), x)


def test_stages_double_channels_and_halve_the_picture() -> None:
    net, shapes = resnet(channels=3, size=(32, 32), classes=10).eval(), []
    for block in net.blocks:
        block.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape[1:])))
    net(torch.rand(1, 3, 32, 32))
    assert shapes == [(64, 32, 32)] * 2 + [(128, 16, 16)] * 2 + [(256, 8, 8)] * 2
    weighted = [m for n, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.Linear) and "shortcut" not in n]
    assert len(weighted) == 14


def test_large_pictures_are_halved_at_once() -> None:
    assert resnet(channels=1, size=(96, 96), classes=2, width=0.25).stem.stride == (2, 2)
