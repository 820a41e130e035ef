"""Backbones of timm that give maps at several strides, for what has to say where things are."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from beholder.base.errors import UsageError
from beholder.nets import onboard
from beholder.nets.depthwise import subsampled
from beholder.nets.pretrained import Source, begins_with, configured, obtained, read
from beholder.nets.spec import Initial


def pyramid_net(
    name: str, origin: Source, *, channels: int, strides: tuple[int, ...], weights: bool
) -> tuple[nn.Module, Initial | None]:
    """Return the net that gives its maps at `strides` pixels a value, with its pretrained weights if `weights`.

    Raises `UsageError` (no-pyramid) where it has none at these, and what `obtained` raises.
    """
    import timm

    file = obtained(name, origin) if weights else None
    state = onboard.tensors(origin.onboard) if weights and origin.onboard else read(file) if file else None
    options: dict[str, Any] = {**origin.args, "features_only": True, "in_chans": channels}
    try:
        probe = timm.create_model(name.partition(".")[0], pretrained_cfg=configured(origin, None), **options)
        given: Any = probe.feature_info
        places = [given.reduction().index(stride) for stride in strides]
        options |= {"out_indices": places, "pretrained": state is not None, "pretrained_cfg": configured(origin, state)}
        with _quiet():
            net: nn.Module = timm.create_model(name.partition(".")[0], **options)
        _try(net, channels, strides)
    except Exception as error:  # its hundreds of models raise whatever they meet first
        raise UsageError(
            f"timm:{name} gives no maps for a detector: {error or type(error).__name__}",
            code="no-pyramid",
            hint="take a convolutional net, such as tf_efficientnet_lite0, mobilenetv2_100 or resnet18",
        ) from error
    subsampled(net)
    return net, begins_with(origin, file) if state is not None else None


def _try(net: Any, channels: int, strides: tuple[int, ...]) -> None:
    """Raise `ValueError` where the maps of a small picture are not (C, H, W) at the strides that the net says."""
    training, height, width = net.training, 64, 96
    with torch.no_grad():
        maps = net.eval()(torch.zeros(1, channels, height, width))
    net.train(training)
    shapes = [tuple(x.shape[1:]) for x in maps]
    if shapes != [(c, height // s, width // s) for c, s in zip(net.feature_info.channels(), strides, strict=True)]:
        raise ValueError(f"its maps have the shapes {shapes}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep timm from telling of the layers that a pyramid leaves out of the weights."""
    logger = logging.getLogger("timm.models._builder")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
