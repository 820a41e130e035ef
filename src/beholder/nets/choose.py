"""Which net, when none was named: the best accuracy per second on this machine, and why, in a sentence."""

from __future__ import annotations

from dataclasses import dataclass

from beholder.base.errors import UsageError
from beholder.nets import hub, pretrained


@dataclass(frozen=True)
class Choice:
    """A net, the width to build it with, the side of its pictures (0: as the pictures or the net ask), and the reason."""

    name: str
    width: float
    size: int
    reason: str


CPU_PHOTOS = "timm:resnet18"
GPU_PHOTOS = "timm:convnext_tiny"
SCRATCH_SIZE = 96
FEW = 3000
"""Below so many pictures a small net is taken half as wide: a rule of thumb, not measured here."""


def choose(*, n: int, classes: int, height: int, width: int, weights: str, device: object) -> Choice:
    """Return the net for n pictures of height × width pixels.

    weights: auto | none | PATH, as in the recipe; device: what torch calls it ("cpu", "cuda:0").
    Speeds in the reasons were measured in bf16 on two cores of a server CPU; the limits between the rules are rules of thumb.
    """
    if weights not in ("auto", "none"):
        return _of_folder(weights)
    side, on_cpu = max(height, width), str(device).startswith("cpu")
    what = f"{n} pictures of {height}x{width} in {classes} classes"
    if side <= 64:
        return _small(n, what, on_cpu=on_cpu)
    if side <= SCRATCH_SIZE:
        return Choice(
            "resnet", 0.5 if on_cpu else 1.0, 0, f"{what}: a residual net, made for 32 to 96 pixels, by rule of thumb"
        )
    name = CPU_PHOTOS if on_cpu else GPU_PHOTOS
    if weights == "auto" and (pretrained_at_hand(name) or hub.reachable()):
        why = (
            "it trains at 55 pictures/s on two cores, MobileNetV2 at 25, ViT-S at 17"
            if on_cpu
            else "a GPU is quick enough for a larger backbone"
        )
        return Choice(name, 1.0, 0, f"{what}: pretrained weights can be had, and {why}")
    why = "you asked for none" if weights == "none" else "none are in the hub's cache and the network does not answer"
    small = _small(n, what, on_cpu=on_cpu)
    return Choice(
        small.name,
        small.width,
        SCRATCH_SIZE,
        f"{what}, without pretrained weights ({why}): a fast net from scratch at {SCRATCH_SIZE} pixels. "
        f"Pretrained weights ({name}) usually bring tens of points on some hundred or few thousand photos",
    )


def dial(name: str, *, n: int, device: object, minutes: float = 0.0) -> float:
    """Return the width for a net that was named without one: half for few pictures or a CPU where the net is wide, else 1.

    A CPU that is given the minutes for eight epochs at three quarters, of many pictures, gets that (docs/LOG.md).
    """
    if name not in ("fastnet", "resnet") or (n >= FEW and not str(device).startswith("cpu")):
        return 1.0
    return 0.75 if name == "fastnet" and n >= MANY and 60 * minutes * THREE_QUARTERS >= 8 * n else 0.5


MANY = 40_000
"""Pictures from which a wider net pays."""

THREE_QUARTERS = 600
"""Pictures of 32x32 a second that fastnet of width 0.75 trains at on two cores."""


def _small(n: int, what: str, *, on_cpu: bool) -> Choice:
    if n < FEW:
        return Choice("fastnet", 0.5, 0, f"{what}: too few to fill a wide net, so half the channels, which also trains faster")
    if on_cpu:
        return Choice(
            "fastnet",
            0.5,
            0,
            f"{what}: at half width it trains at 1,330 pictures/s of 32x32 on two cores, at full width at 420",
        )
    return Choice("fastnet", 1.0, 0, f"{what}: the widths of the CIFAR speed runs")


def _of_folder(weights: str) -> Choice:
    described = pretrained.weights_file(weights)[1]
    if described is None:
        raise UsageError(
            f"{weights} does not say of which net its weights are", code="net-not-chosen", hint="name it: net.name=timm:NAME"
        )
    name = f"timm:{described['architecture']}"
    return Choice(name, 1.0, 0, f"{weights} holds its weights")


def pretrained_at_hand(name: str) -> bool:
    """Return whether the weights of "timm:NAME" are in the hub's cache. Touches no network."""
    return not hub.empty() and hub.cached(pretrained.published(name.removeprefix("timm:"))) is not None
