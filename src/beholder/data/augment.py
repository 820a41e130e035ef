"""Augmentation of whole batches on their device; all geometric changes are one resampling."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from beholder.base.choices import AUGMENTATIONS as PRESETS
from beholder.base.errors import UsageError, did_you_mean
from beholder.data import colour, geometry
from beholder.machine.draws import Draws

FLIPS = ("auto", "none", "horizontal", "both")


@dataclass(frozen=True, kw_only=True)
class Augment:
    """How far pictures may be varied; a plan of zeros leaves them as they are.

    scale:      enlarged or shrunk by up to this factor less one: 0.2 is 1/1.2 to 1.2
    crop:       up to this share of the area is cut away, the rest shown at full size
    aspect:     width against height stretched by up to this factor less one
    rotate:     turned by up to this many degrees, either way
    translate:  moved by up to this share of the side, either way, in whole pixels
    horizontal, vertical: probability of a flip
    alternate:  flip horizontally in every second epoch, which half of the pictures do first, instead of by chance
    brightness, contrast, saturation: factor between 1 less this and 1 plus this
    erase:      probability that a box is hidden; erase_area: lowest and highest share of the picture in it
    mixup, cutmix: alpha of Beta(alpha, alpha), 0 for off; with both on, each batch takes one of them
    """

    scale: float = 0.0
    crop: float = 0.0
    aspect: float = 0.0
    rotate: float = 0.0
    translate: float = 0.0
    horizontal: float = 0.0
    vertical: float = 0.0
    alternate: bool = False
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    erase: float = 0.0
    erase_area: tuple[float, float] = (0.02, 0.2)
    mixup: float = 0.0
    cutmix: float = 0.0

    @property
    def bends(self) -> bool:
        """Return True where pictures must be sampled between pixels."""
        return any((self.scale, self.crop, self.aspect, self.rotate))

    @property
    def moves(self) -> bool:
        """Return True where whole pixels change their place."""
        return any((self.translate, self.horizontal, self.vertical, self.alternate))

    @property
    def axes(self) -> list[str]:
        """Return the names of the axes along which pictures are flipped: horizontal, vertical."""
        found = {"horizontal": self.horizontal or self.alternate, "vertical": self.vertical}
        return [axis for axis, flipped in found.items() if flipped]

    @property
    def recolours(self) -> bool:
        """Return True where the values of pixels change."""
        return any((self.brightness, self.contrast, self.saturation, self.erase))


def light(*, strength: float, size: int) -> Augment:
    """Return the plan of the CIFAR speed runs: flips and small moves. An eighth of the side for small pictures."""
    return Augment(translate=min(strength * (1 / 8 if size <= 64 else 1 / 16), 0.5))


def standard(*, strength: float, size: int) -> Augment:
    """Return flips, moves, small turns, crops and changes of light."""
    return Augment(
        crop=min(0.25 * strength, 0.8),
        aspect=0.1 * strength,
        rotate=min(8 * strength, 180),
        translate=min(strength / 16, 0.5),
        brightness=min(0.15 * strength, 0.9),
        contrast=min(0.15 * strength, 0.9),
        saturation=min(0.15 * strength, 0.9),
    )


def strong(*, strength: float, size: int) -> Augment:
    """Return what is likely to help long training on few pictures: wide ranges of everything, and hidden boxes."""
    return Augment(
        scale=0.1 * strength,
        crop=min(0.5 * strength, 0.8),
        aspect=0.25 * strength,
        rotate=min(15 * strength, 180),
        translate=min(strength / 10, 0.5),
        brightness=min(0.3 * strength, 0.9),
        contrast=min(0.3 * strength, 0.9),
        saturation=min(0.3 * strength, 0.9),
        erase=min(0.25 * strength, 1.0),
    )


def none(*, strength: float, size: int) -> Augment:
    """Return the plan that leaves pictures as they are."""
    return Augment()


def preset(name: str, *, strength: float = 1.0, flip: str = "auto", size: int = 32) -> Augment:
    """Return the plan of that name with every range times `strength`; 0 is no augmentation.

    flip: none | horizontal | both, and auto, which is horizontal; size: the pictures' smaller side in pixels.
    mixup and cutmix change the targets too, so no preset sets them. Raises `UsageError` for a name that is not there.
    """
    if flip not in FLIPS:
        raise UsageError(f"there is no flip '{flip}'", code="unknown-flip", hint=did_you_mean(flip, FLIPS))
    make: Callable[..., Augment] = PRESETS.load(name)
    plan = make(strength=strength, size=size)
    if name == "none" or not strength or flip == "none":
        return plan
    return replace(plan, alternate=True, vertical=0.5 if flip == "both" else 0.0)


def augment(images: Tensor, draws: Draws, plan: Augment) -> Tensor:
    """Vary each picture by its own draws: places first, then light and colour, then a hidden box.

    images: float32 (B, C, H, W) in 0..1, or uint8, of which a plan that only moves whole pixels costs a quarter;
    returns float32 in 0..1 (uint8 where uint8 came in and no value had to change).
    """
    return recoloured(_place(images, draws, plan), draws, plan)


def recoloured(images: Tensor, draws: Draws, plan: Augment) -> Tensor:
    """Vary the light and the colour of pictures, and hide boxes of them: what of a plan moves nothing. As `augment`."""
    if not plan.recolours:
        return images
    images = _float(images)
    for name in ("brightness", "contrast", "saturation"):
        reach: float = getattr(plan, name)
        if reach:
            images = getattr(colour, name)(images, draws.between(name, 1 - reach, 1 + reach))
    return colour.erase(images, hidden(draws, plan, *images.shape[-2:])) if plan.erase else images


def mix(images: Tensor, targets: Tensor, draws: Draws, plan: Augment) -> tuple[Tensor, Tensor]:
    """Mix each picture, and its target, with its neighbour in the batch, by one share for the whole batch.

    images: float32 (B, C, H, W); targets: float32 (B, K). mixup blends them (Zhang et al., ICLR 2018); cutmix puts a box of
    one into the other and counts its pixels (Yun et al., ICCV 2019).
    """
    if not (plan.mixup or plan.cutmix) or len(images) < 2:
        return images, targets
    cut = bool(plan.cutmix) and (not plan.mixup or draws.batch_uniform("mix") < 0.5)
    alpha = plan.cutmix if cut else plan.mixup
    share = float(draws.batch("share").beta(alpha, alpha))
    if not cut:
        return mixup(images, share), mixup(targets, share)
    box = cutmix_box(share, draws, *images.shape[-2:])
    _, _, tall, wide = box
    kept = 1 - tall * wide / (images.shape[-2] * images.shape[-1])
    return cutmix(images, box), mixup(targets, kept)


def mixup(values: Tensor, share: float) -> Tensor:
    """Return `share` of each row of `values`, float32 (B, …), and the rest of the row before it."""
    return values.roll(1, 0).lerp(values, share)


def cutmix(images: Tensor, box: tuple[int, int, int, int]) -> Tensor:
    """Put a box (top, left, height, width) of the picture before it into each picture, (B, C, H, W)."""
    top, left, tall, wide = box
    mixed = images.clone()
    mixed[..., top : top + tall, left : left + wide] = images.roll(1, 0)[..., top : top + tall, left : left + wide]
    return mixed


def cutmix_box(share: float, draws: Draws, height: int, width: int) -> tuple[int, int, int, int]:
    """Return the box (top, left, height, width) that leaves about `share` of the pixels; it is cut off at the edge."""
    side = math.sqrt(1 - share)
    middle = (draws.batch_uniform("cut down") * height, draws.batch_uniform("cut across") * width)
    ends = [
        (max(0, round(c - side * n / 2)), min(n, round(c + side * n / 2))) for c, n in zip(middle, (height, width), strict=True)
    ]
    (top, bottom), (left, right) = ends
    return top, left, bottom - top, right - left


def hidden(draws: Draws, plan: Augment, height: int, width: int) -> Tensor:
    """Return the boxes that `plan.erase` hides: int64 (B, 4), of height 0 where a picture stays whole."""
    ratio = draws.between("erase ratio", -1, 1).mul(math.log(3.3)).exp()
    area = draws.between("erase area", *plan.erase_area)
    across, down = draws.uniform("erase across"), draws.uniform("erase down")
    box = colour.boxes(area, ratio, across, down, height=height, width=width)
    return box * (draws.uniform("erase") < plan.erase)[:, None]


def _place(images: Tensor, draws: Draws, plan: Augment) -> Tensor:
    if not (plan.bends or plan.moves):
        return images
    height, width = images.shape[-2:]
    if not plan.bends:
        return geometry.shift(images, *_moves(draws, plan, height, width))
    return geometry.warp(_float(images), *matrices(draws, plan, height, width))


def _moves(draws: Draws, plan: Augment, height: int, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return of each picture whether it is mirrored across and down, and the pixels that it moves right and down."""
    horizontal = draws.alternating("horizontal") if plan.alternate else draws.uniform("horizontal") < plan.horizontal
    vertical = draws.uniform("vertical") < plan.vertical
    return horizontal, vertical, _whole(draws, "right", plan.translate * width), _whole(draws, "down", plan.translate * height)


def matrices(draws: Draws, plan: Augment, height: int, width: int) -> tuple[Tensor, ...]:
    """Return the geometric changes of a plan, float32 (B, 3, 3) each, in the order in which `geometry.warp` takes them."""
    horizontal, vertical, right, down = _moves(draws, plan, height, width)
    stretch = _factor(draws, "aspect", plan.aspect).sqrt()
    zoom = _factor(draws, "scale", plan.scale)
    area = draws.between("crop", 1 - plan.crop, 1)
    across, low = draws.uniform("crop across"), draws.uniform("crop down")
    return (
        geometry.cropping(area, across, low, height=height, width=width),
        geometry.scaling(zoom * stretch, zoom / stretch),
        geometry.rotation(draws.between("rotate", -plan.rotate, plan.rotate)),
        geometry.flipping(horizontal, vertical),
        geometry.translation(right, down),
    )


def _whole(draws: Draws, stream: str, reach: float) -> Tensor:
    """Return whole pixels, each of -reach … reach as likely."""
    most = round(reach)
    return (draws.uniform(stream) * (2 * most + 1)).floor() - most


def _factor(draws: Draws, stream: str, reach: float) -> Tensor:
    return (draws.between(stream, -1, 1) * math.log1p(reach)).exp()


def _float(images: Tensor) -> Tensor:
    return images if images.is_floating_point() else images.float().mul_(1 / 255)
