"""Norms without statistics get them back, and the net gives what it gave."""

from __future__ import annotations

import copy

import timm
import torch
from torch import nn

from beholder.nets.norms import folded, unfold


def _folded_net() -> nn.Module:
    torch.manual_seed(0)
    net = timm.create_model("resnet10t", num_classes=3)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return net.eval()


@torch.no_grad()
def test_the_answers_stay_and_training_mode_comes_close_to_them() -> None:
    net, images = _folded_net(), torch.randn(16, 3, 64, 64) * 2 + 1
    before = net(images)
    spoilt = copy.deepcopy(net).train()(images)
    count = len(folded(net))
    assert count == sum(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    assert unfold(net, images) == count
    assert not net.training
    assert folded(net) == []
    torch.testing.assert_close(net(images), before, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(net.train()(images), before, rtol=1e-2, atol=1e-2)
    assert float((spoilt - before).abs().max()) > 0.1


@torch.no_grad()
def test_norms_with_statistics_are_left_alone() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    net.train()(torch.randn(8, 3, 9, 9) + 1)
    state = copy.deepcopy(net.state_dict())
    assert unfold(net, torch.randn(4, 3, 9, 9)) == 0
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
