"""A net in two parts: the body that sees and the head that decides.

Our nets say so by being a `Net`; those of timm by its three methods `forward_features`, `forward_head`, `get_classifier`.
For any net: `classify(net, features(net, images))` equals `net(images)` in evaluation mode.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn


class Net(nn.Module):
    """Base of our own nets: `body` maps images to features (B, F), `head` is the last linear layer.

    `scheme` names the initialisation that the net was designed for; `scale` multiplies what the head gives; `resizable`
    says that it takes pictures of other sizes than it was built for; `scale_free` that a norm follows every matrix but the
    head's, so that only the direction of the matrix counts.
    """

    scheme: str = "kaiming"
    scale: float = 1.0
    resizable: bool = False
    scale_free: bool = False
    head: nn.Linear | None

    def body(self, images: Tensor) -> Tensor:
        """Return what the head is given: (B, F)."""
        raise NotImplementedError

    def classify(self, features: Tensor) -> Tensor:
        """Return the logits (B, K) of features (B, F); features are the logits where the net has no head."""
        return features if self.head is None else self.head(features) * self.scale

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, K) of images (B, C, H, W)."""
        return self.classify(self.body(images))


def features(net: nn.Module, images: Tensor) -> Tensor:
    """Return what the net's last linear layer is given, float32 (B, F); the logits where it has no such layer.

    images: float32 (B, C, H, W), normalised as the net wants.
    """
    if isinstance(net, Net):
        return net.body(images).float()
    if head(net) is None:
        return cast(Tensor, net(images)).float()
    seen = net.forward_features(images)  # type: ignore[operator]
    return cast(Tensor, net.forward_head(seen, pre_logits=True)).float()  # type: ignore[operator]


def head(net: nn.Module) -> nn.Linear | None:
    """Return the last linear layer of a net, None where there is no single one."""
    if isinstance(net, Net):
        return net.head
    methods = ("forward_features", "forward_head", "get_classifier")
    if not all(callable(getattr(net, method, None)) for method in methods):
        return None
    found = net.get_classifier()  # type: ignore[operator]
    return found if isinstance(found, nn.Linear) else None


def resizable(net: nn.Module) -> bool:
    """Return whether a net takes pictures of other sizes than it was built for, as far as it says."""
    if isinstance(net, Net):
        return net.resizable
    config = getattr(net, "pretrained_cfg", None)
    return isinstance(config, dict) and not config.get("fixed_input_size", True) and not getattr(net, "enlarge", 0)


def scale_free(net: nn.Module) -> bool:
    """Return whether the length of every matrix but the head's makes no difference to what a net gives."""
    return isinstance(net, Net) and net.scale_free


def classify(net: nn.Module, features: Tensor) -> Tensor:
    """Return the logits (B, K) of features (B, F) that `features` gave."""
    if isinstance(net, Net):
        return net.classify(features)
    last = head(net)
    return features if last is None else cast(Tensor, last(features))
