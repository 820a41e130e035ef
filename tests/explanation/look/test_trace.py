"""What the layers gave: in their order, with what code does between them; maps of convolutions, of tokens, of channels last."""

from __future__ import annotations

import numpy as np
import torch
from tests.explanation.look.pages import bundle
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.explanation.look.trace import about, groups, recognised, shown, traced
from beholder.nets.custom import Own


def test_layers_stand_in_the_order_in_which_they_ran_with_what_lies_between() -> None:
    made = bundle("fastnet", size=16)
    found = traced(made.net, torch.rand(1, 3, 16, 16))
    said = [(layer.name, layer.kind) for layer in found.layers]
    assert said[:3] == [("whiten", "Conv2d"), ("before blocks.0.first", "GELU"), ("blocks.0.first", "Conv2d")]
    assert ("before drop", "largest value of each map") in said
    assert said[-1] == ("head", "Linear")
    assert found.first is not None
    assert found.first.name == "whiten"
    assert sum(layer.parameters for layer in found.layers) == sum(p.numel() for p in made.net.parameters())


def test_maps_are_those_of_the_net() -> None:
    made = bundle("cnn", size=12, width=1.0)
    x = torch.rand(1, 3, 12, 12)
    first, pooled, relu, *_ = traced(made.net, x).layers
    with torch.no_grad():
        wanted = made.net.layers[0](x)[0].numpy()
    assert first.shape == (32, 10, 10)
    assert len(first.channels) == 8
    assert np.allclose(first.maps, wanted[list(first.channels)], atol=1e-6)
    spread = wanted.std(axis=(1, 2))
    assert set(first.channels) == set(np.argsort(-spread)[:8].tolist())
    assert (first.low, first.high) == (float(wanted.min()), float(wanted.max()))
    assert pooled.channels == relu.channels == first.channels
    assert relu.low == 0


class Odd(nn.Module):
    """Channels last, a tuple, an unused layer, one that runs twice, and logits that no layer gives."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.mix = nn.Linear(4, 6)
        self.act = nn.ReLU(inplace=True)
        self.lstm = nn.LSTM(6, 2, batch_first=True)
        self.never = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        seen = self.act(self.mix(self.act(self.conv(x)).permute(0, 2, 3, 1)))
        out, _ = self.lstm(seen.flatten(1, 2))
        return out.mean(dim=1) * 2


def test_odd_nets_are_traced_too() -> None:
    found = traced(Own(Odd().eval(), None), torch.rand(1, 3, 6, 5))
    said = {layer.name: layer for layer in found.layers}
    assert said["mix"].maps.shape == (6, 6, 5)
    assert [layer.name for layer in found.layers].count("act") == 2
    assert "never" not in said
    assert "lstm" not in said
    assert found.first is not None


class Bare(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


def test_a_net_without_layers_has_no_first_one() -> None:
    found = traced(Own(Bare(), None), torch.rand(1, 3, 6, 5))
    assert found.first is None
    assert found.layers == ()


def test_tokens_of_transformers_become_maps() -> None:
    made = bundle("timm:test_vit", size=160)
    found = traced(made.net, torch.rand(1, 3, 160, 160))
    block = next(layer for layer in found.layers if layer.name == "blocks.0.norm1")
    assert block.maps.shape[1:] == (10, 10)
    assert len(block.shape) == 2
    assert block.shape[0] == 101


def test_functions_are_recognised_by_their_numbers() -> None:
    x = torch.randn(1, 4, 5, 5)
    assert recognised(x, F.relu(x)) == "ReLU"
    assert recognised(x, F.silu(x)) == "SiLU"
    assert recognised(x, x.flatten(1)) == "flatten"
    assert recognised(x, x.mean(dim=(2, 3))) == "mean of each map"
    assert recognised(x, x + 1) == ""
    assert recognised(x[:, 0, 0], x) == ""


def test_rows_are_broken_into_lines_and_large_maps_made_smaller() -> None:
    maps, channels = shown(torch.arange(100.0).reshape(1, 1, -1), "row")
    assert maps.shape == (1, 2, 64)
    assert maps.reshape(-1)[99] == 99
    assert channels == (0,)
    assert shown(torch.zeros(1, 1, 5000), "row")[1] == ()
    large, _ = shown(torch.ones(3, 200, 100), "maps")
    assert large.shape == (3, 64, 32)
    kept = shown(torch.rand(9, 4, 4), "maps", (1, 2))
    assert kept[1] == (1, 2)


def test_large_nets_are_shown_in_groups_and_small_ones_are_not() -> None:
    assert groups(bundle("cnn").net) == {}
    found = groups(bundle("resnet").net)
    assert found == {} or set(found.values()) <= set(dict(bundle("resnet").net.named_modules()))
    deep = nn.Sequential(*[nn.Sequential(nn.Linear(2, 2), nn.ReLU()) for _ in range(30)], nn.Linear(2, 2))
    told = groups(deep)
    assert told["0.0"] == told["0.1"] == "0"
    assert "30" not in told


def test_sizes_are_said_in_words() -> None:
    assert (
        about(nn.Conv2d(4, 8, (3, 5), stride=2, padding=1, groups=4))
        == "4 → 8 channels, 3×5, stride 2×2, padding 1×1, 4 groups"
    )
    assert about(nn.Conv2d(4, 8, 3, dilation=2, padding="same")) == "4 → 8 channels, 3×3, padding same, dilation 2×2"
    assert about(nn.Linear(3, 4)) == "3 → 4"
    assert about(nn.MaxPool2d(2)) == "2×2, stride 2×2"
    assert about(BatchNormAct2d(4)) == "then ReLU"
    assert about(nn.ReLU()) == ""
