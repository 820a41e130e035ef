"""What a net is, as values: enough to build it again, and what it asks of the pixels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from beholder.base.errors import UsageError


@dataclass(frozen=True)
class NetSpec:
    """Everything needed to build a net, without its weights; plain JSON values, so a bundle can carry it.

    name:          a name of `beholder nets`, timm:NAME, or module:function
    height, width_px: pixels of the pictures it is given; `width` is the factor on the number of channels
    args:          further arguments of the net's function, such as timm's {"pad_type": "same"}
    """

    name: str
    channels: int
    height: int
    width_px: int
    classes: int
    width: float = 1.0
    dropout: float = 0.0
    args: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("channels", "height", "width_px", "classes"):
            if getattr(self, name) < 1:
                raise UsageError(
                    f"a net cannot have {name} = {getattr(self, name)}", code="bad-net", hint=f"{name} is at least 1"
                )

    @property
    def size(self) -> tuple[int, int]:
        """Return (height, width) in pixels."""
        return self.height, self.width_px

    def json(self) -> dict[str, object]:
        """Return the spec as plain JSON values."""
        values: dict[str, object] = json.loads(json.dumps(asdict(self)))
        return values


@dataclass(frozen=True)
class DetectorSpec:
    """All that is needed to build a detector without its weights; plain JSON values.

    backbone: as timm calls it; args: further arguments of it; maps: channels of the pyramid and the head
    depth: convolutions of each of the head's two towers
    """

    backbone: str
    channels: int
    classes: int
    maps: int = 96
    depth: int = 2
    args: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Initial:
    """Pretrained weights that a net began with, as a bundle tells of them.

    source:  package and version, repository of the hub, or path as it was given
    licence: SPDX name, "" where the weights do not say            sha256: of their file, in hexadecimal digits
    """

    source: str
    licence: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.source}, {self.licence or 'licence not stated'}, SHA-256 {self.sha256[:12]}…"


@dataclass(frozen=True)
class Wants:
    """What a net asks of the pixels; None where it does not care.

    size: (height, width)   channels: 1 or 3   mean, std: of pixels scaled to 0..1, one value per channel it was trained with
    flexible: whether it takes other sizes as well (convolutional nets do, most transformers do not)
    interpolation: how its pretraining resized pictures         reason: why, in a sentence
    """

    size: tuple[int, int] | None = None
    channels: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    reason: str = "it takes pictures as they are"
    interpolation: str | None = None
    flexible: bool = True

    def size_on(self, device: str) -> tuple[int, int] | None:
        """Return the size of the pictures on a kind of device (cpu, cuda): 6/7 of the net's own, in steps of 32, on a CPU.

        Pretrained nets lose little by it, and train a third faster.
        """
        if self.size is None or device != "cpu" or not self.flexible or min(self.size) < 128:
            return self.size
        height, width = (32 * round(side * 6 / 7 / 32) for side in self.size)
        return height, width

    def normalisation(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Return (mean, std) for so many channels, None where the net does not care.

        Another number of channels than it was trained with takes the average of each, the grey of that colour.
        """
        if self.mean is None or self.std is None:
            return None
        if len(self.mean) == channels:
            return self.mean, self.std
        mean, std = (sum(values) / len(values) for values in (self.mean, self.std))
        return (mean,) * channels, (std,) * channels
