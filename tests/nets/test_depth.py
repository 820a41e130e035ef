"""Layers from the pixels to the head, and lower ones that stay as they are."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from beholder.nets.build import build
from beholder.nets.depth import decayed, freeze, layers
from beholder.nets.spec import NetSpec

NAMES = ["timm:mobilenetv2_050", "timm:resnet10t", "timm:vit_tiny_patch16_224", "fastnet", "cnn"]


def _net(name: str) -> nn.Module:
    if name.startswith("timm:"):
        return timm.create_model(name.removeprefix("timm:"), num_classes=3)
    return build(NetSpec(name, 3, 32, 32, 3, 0.25))


@pytest.mark.parametrize("name", NAMES)
def test_layers_count_from_the_pixels_to_the_head_without_a_gap(name: str) -> None:
    net = _net(name)
    found = layers(net)
    assert set(found) == {name for name, _ in net.named_parameters()}
    assert sorted(set(found.values())) == list(range(max(found.values()) + 1))
    names = list(found)
    assert found[names[0]] == 0
    assert found[names[-1]] == max(found.values())


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_frozen_lies_below_what_learns_and_the_head_always_learns(name: str, share: float) -> None:
    net = _net(name)
    before = {name for name, p in net.named_parameters() if p.requires_grad}  # a whitening layer is fixed from the start
    fixed = freeze(net, share)
    where = layers(net)
    learning = {where[name] for name, p in net.named_parameters() if p.requires_grad}
    still = {where[name] for name, p in net.named_parameters() if not p.requires_grad and name in before}
    assert learning
    assert max(where.values()) in learning
    assert not still or max(still) <= min(learning)
    inside = {id(p) for module in fixed for p in module.parameters()}
    assert all(not p.requires_grad for module in fixed for p in module.parameters())
    loose = [name for name, p in net.named_parameters() if not p.requires_grad and id(p) not in inside and name in before]
    if name.startswith("timm:"):
        assert all("." not in name for name in loose)  # such as a class token, which is no module's
    assert bool(still) == (share * (max(where.values()) + 1) >= 1)


def test_rates_fall_towards_the_pixels() -> None:
    net = timm.create_model("resnet10t", num_classes=3)
    found, where = decayed(net, 0.5), layers(net)
    assert found["fc.weight"] == 1
    assert found["conv1.0.weight"] == 0.5 ** where["fc.weight"]
    assert decayed(net, 1.0) == {}


def test_the_parts_of_a_frozen_block_are_one_module() -> None:
    net = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5)), nn.Linear(2, 2))
    assert freeze(net, 0.5) == [net[0]]
    assert torch.equal(torch.tensor([p.requires_grad for p in net.parameters()]), torch.tensor([False] * 4 + [True] * 2))
