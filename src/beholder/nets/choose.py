"""Which net, when none was named: the best accuracy per second on this machine, and why, in a sentence."""

from __future__ import annotations

from dataclasses import dataclass

from beholder.base.errors import MachineError
from beholder.nets import backbones, hub, onboard, pretrained


@dataclass(frozen=True)
class Choice:
    """A net, the width to build it with, the side of its pictures (0: as the pictures or the net ask), and the reason."""

    name: str
    width: float
    size: int
    reason: str


SCRATCH_SIZE = 96
SMALL = 64
"""Side in pixels up to which a net from scratch is trained: pretrained ones know larger pictures."""

FEW = 3000
"""Below so many pictures a small net is taken half as wide: a rule of thumb, not measured here."""


def choose(*, n: int, classes: int, height: int, width: int, weights: str, device: object) -> Choice:
    """Return the net for n pictures of height × width pixels.

    weights: auto | none | PATH, as in the recipe; device: what torch calls it ("cpu", "cuda:0").
    The limits between the rules are rules of thumb; no speed of a machine is among them.
    """
    if weights not in ("auto", "none"):
        return Choice(f"timm:{pretrained.architecture(weights)}", 1.0, 0, f"{weights} holds its weights")
    side, on_cpu = max(height, width), str(device).startswith("cpu")
    what = f"{n} pictures of {height}x{width} in {classes} classes"
    if side <= SMALL:
        return _small(n, what, on_cpu=on_cpu)
    if weights == "auto":
        name, why = photos(device, fetch=True)
        return Choice(name, 1.0, 0, f"{what}: {why}")
    if side <= SCRATCH_SIZE:
        return Choice(
            "resnet", 0.5 if on_cpu else 1.0, 0, f"{what}: a residual net, made for 32 to 96 pixels, by rule of thumb"
        )
    small = _small(n, what, on_cpu=on_cpu)
    return Choice(
        small.name,
        small.width,
        SCRATCH_SIZE,
        f"{what}, without pretrained weights (you asked for none): a fast net from scratch at {SCRATCH_SIZE} pixels. "
        f"Pretrained weights usually bring tens of points on some hundred or few thousand photos",
    )


def photos(device: object, *, fetch: bool) -> tuple[str, str]:
    """Return (net with pretrained weights for photos, why): always one, as a backbone comes with the install.

    device: what torch calls it; fetch: whether a GPU may fetch weights from the hub. A CPU asks no network: it is given the
    default of the table where its weights are in the cache of the hub, else the largest backbone that is installed.
    """
    on_cpu = str(device).startswith("cpu")
    best = backbones.default("cpu" if on_cpu else "gpu")
    wanted, better = f"timm:{best.name}", f"{best.quality} % on ImageNet as published"
    try:
        if pretrained_at_hand(wanted) or (fetch and not on_cpu and hub.fetch(pretrained.published(best.name))):
            return wanted, f"pretrained, {better}: the best that is quick enough here, and its weights can be had"
        instead = f"; --net {wanted} fetches one of {better}" if on_cpu else f", instead of {wanted}"
    except MachineError as error:
        instead = f", instead of {wanted}: {error.message}"
    name = onboard.best()
    return f"timm:{name}", f"pretrained on ImageNet, it comes with the install ({onboard.BACKBONES[name].source}){instead}"


DIALLED = ("fastnet", "resnet")
"""Nets whose width is chosen where nobody asks for one."""


def dial(name: str, *, n: int, device: object) -> float:
    """Return the width for a net that was named without one: half for few pictures or on a CPU where the net is wide, else 1.

    Where there is a budget of minutes, `beholder.learn.dial` measures whether it can be that wide.
    """
    if name not in DIALLED or (n >= FEW and not str(device).startswith("cpu")):
        return 1.0
    return 0.5


def _small(n: int, what: str, *, on_cpu: bool) -> Choice:
    if n < FEW:
        return Choice("fastnet", 0.5, 0, f"{what}: too few to fill a wide net, so half the channels, which also trains faster")
    if on_cpu:
        return Choice("fastnet", 0.5, 0, f"{what}: at half width, which a CPU trains about three times as fast as the full one")
    return Choice("fastnet", 1.0, 0, f"{what}: the widths of the CIFAR speed runs")


def pretrained_at_hand(name: str) -> bool:
    """Return whether the weights of "timm:NAME" are in the hub's cache. Touches no network."""
    return not hub.empty() and hub.cached(pretrained.published(name.removeprefix("timm:"))) is not None
