"""Body and head."""

import torch
from torch import nn

from beholder.nets.features import Net, classify, features, head


class Odd(nn.Module):
    """A net without a linear last layer or any of timm's methods."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3))


def test_a_net_without_a_head_gives_its_logits_as_features() -> None:
    net, images = Odd(), torch.rand(2, 3, 4, 4)
    assert head(net) is None
    assert torch.equal(classify(net, features(net, images)), net(images))


def test_the_scale_of_a_net_is_part_of_classify() -> None:
    class Scaled(Net):
        scale = 0.5

        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3, 2, bias=False)

        def body(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean(dim=(2, 3))

    net, images = Scaled(), torch.rand(2, 3, 4, 4)
    expected = 0.5 * images.mean(dim=(2, 3)) @ net.head.weight.T
    torch.testing.assert_close(net(images), expected)
    torch.testing.assert_close(classify(net, features(net, images)), expected)
