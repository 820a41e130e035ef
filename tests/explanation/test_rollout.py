"""Roll-out on a small transformer of timm."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from beholder.explanation import maps, resolved
from beholder.explanation.rollout import grid


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = VisionTransformer(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2, num_classes=2)
        nn.init.normal_(net.head.weight)
    return net.eval()


def test_a_vision_transformer_is_rolled_out_over_its_patches(make, vit) -> None:
    bundle = make(vit)
    assert grid(vit, torch.zeros(1, 3, 32, 32)) == (4, 4)
    assert resolved(bundle, "auto")[0] == "rollout"
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
    heat = maps(bundle, images)
    assert heat.shape == (3, 32, 32)
    assert (heat.max(axis=(1, 2)) > 0.99).all()
    assert not np.allclose(heat[0], heat[1], atol=0.05)
    assert all(block.attn.fused_attn for block in vit.blocks), "the net is left as it was"


def test_of_one_layer_it_is_the_rectified_slope_times_the_attention_of_the_class_token(make) -> None:
    """With one layer the sum over heads can be written down; here it is taken from the layer's own arithmetic."""
    from timm.models.vision_transformer import VisionTransformer

    from beholder.explanation.rollout import rollout

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = VisionTransformer(img_size=16, patch_size=8, embed_dim=12, depth=1, num_heads=3, num_classes=2).eval()
        nn.init.normal_(net.head.weight)
        x = torch.randn(1, 3, 16, 16)
    kept: list[torch.Tensor] = []
    layer = net.blocks[0].attn
    layer.fused_attn = False
    hook = layer.attn_drop.register_forward_hook(lambda _, __, out: kept.append(out))
    logit = net(x)[0, 1]
    hook.remove()
    (slope,) = torch.autograd.grad(logit, kept)
    wanted = (kept[0] * slope).relu().mean(dim=1)[0, 0, 1:].reshape(2, 2).detach()
    found = rollout(net, x, lambda logits: logits[:, 1])[0]
    corners = torch.stack([found[0, 0], found[0, -1], found[-1, 0], found[-1, -1]]).reshape(2, 2)
    torch.testing.assert_close(corners, wanted - wanted.min())
