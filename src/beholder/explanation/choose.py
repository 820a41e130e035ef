"""Which method suits a net, seen by running it once."""

from __future__ import annotations

from torch import Tensor, nn

from beholder.explanation.gradcam import feature_map
from beholder.explanation.rollout import grid


def choose(net: nn.Module, image: Tensor) -> tuple[str, str]:
    """Return (method, reason) for a net: rollout, gradcam or gradients. image: float32 (1, C, H, W), any."""
    if grid(net, image) is not None:
        return "rollout", "every layer of this transformer attends to all patches"
    place = feature_map(net, image)
    if place is not None:
        return "gradcam", f"the net has a last feature map, of {place.cells[0]} by {place.cells[1]} cells"
    return "gradients", "the net has no map of places near its answer"
