"""Gradient attention rollout: relevance propagated back through the attention layers of a transformer.

Source: Chefer et al., "Generic attention-model explainability", 2021, sections 3.1 and 3.2; without the gradients it is the
attention roll-out of Abnar & Zuidema 2020, which is the same map for every class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from beholder.base.errors import UsageError
from beholder.explanation.gradcam import enlarged


def rollout(net: nn.Module, images: Tensor, score: Callable[[Tensor], Tensor]) -> Tensor:
    """Return heat float32 (B, H, W) for normalised images (B, C, H, W); score: logits (B, K) → (B,).

    Raises `UsageError` (no-attention) for a net whose layers do not all attend to all patches.
    """
    cells = grid(net, images[:1])
    if cells is None:
        text = "roll-out needs a transformer of timm whose layers attend to all patches, such as ViT or DeiT"
        hint = "--method gradients suits any net"
        raise UsageError(text, code="no-attention", hint=hint)
    with _watched(net) as layers:
        total = score(net(images.detach().requires_grad_())).sum()
    slopes = torch.autograd.grad(total, layers)
    relevance = torch.eye(layers[0].shape[-1], device=images.device).expand(len(images), -1, -1)
    for weights, slope in zip(layers, slopes, strict=True):
        relevance = relevance + (weights * slope).relu().mean(dim=1).detach() @ relevance
    first = _prefix(net)
    heat = relevance[:, _read(net, relevance.shape[-1]), first:].mean(dim=1).reshape(-1, *cells)
    return enlarged(heat - heat.amin(dim=(1, 2), keepdim=True), images)


@torch.no_grad()
def grid(net: nn.Module, image: Tensor) -> tuple[int, int] | None:
    """Return rows and columns of patches of a transformer that attends to all of them in every layer; None for other nets.

    image: float32 (1, C, H, W), any: the net is run once and watched.
    """
    body = _body(net)
    patches = getattr(getattr(body, "patch_embed", None), "grid_size", None)
    if patches is None or not hasattr(body, "num_prefix_tokens") or not _attentions(net):
        return None
    with _watched(net) as layers:
        net(image)
    rows, columns = int(patches[0]), int(patches[1])
    tokens = rows * columns + _prefix(net)
    whole = {tuple(weights.shape[2:]) for weights in layers} == {(tokens, tokens)}
    return (rows, columns) if whole and len(layers) == len(_attentions(net)) else None


@contextmanager
def _watched(net: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the weights of attention, (B, heads, T, T) a layer, of what the net is run on; fused kernels do not keep them."""
    layers, hooks, fused = [], [], []

    def keep(_: nn.Module, __: object, out: Tensor) -> None:
        layers.append(out)

    try:
        for module in _attentions(net):
            fused.append((module, module.fused_attn))
            module.fused_attn = False  # type: ignore[assignment]
            hooks.append(module.attn_drop.register_forward_hook(keep))  # type: ignore[union-attr]
        yield layers
    finally:
        for hook in hooks:
            hook.remove()
        for module, value in fused:
            module.fused_attn = value


def _attentions(net: nn.Module) -> list[nn.Module]:
    return [m for m in net.modules() if isinstance(getattr(m, "attn_drop", None), nn.Module) and hasattr(m, "fused_attn")]


def _body(net: nn.Module) -> nn.Module:
    inner = getattr(net, "net", None)
    return inner if isinstance(inner, nn.Module) else net


def _prefix(net: nn.Module) -> int:
    return int(_body(net).num_prefix_tokens)  # type: ignore[arg-type]


def _read(net: nn.Module, tokens: int) -> list[int]:
    """Return the tokens that the head reads: the class token, with DeiT's second one, or the mean of all patches."""
    body = _body(net)
    if getattr(body, "global_pool", "") == "token" and _prefix(net):
        return [0, 1] if hasattr(body, "dist_token") else [0]
    return list(range(_prefix(net), tokens))
