"""The fifteen corruptions of ImageNet-C and four others, each at five severities.

A corruption is a function `(images, severity, draws) -> images` of float32 (B, C, H, W) in 0..1 that works on whole batches,
on the device that holds them; its draws are a pure function of (seed, index of the picture, corruption), so neither the batch
nor the device changes what happens to a picture, and all severities share it. Fog, snow, frost and blur are computed; no
picture comes along.

Strengths are the published ones at two sizes: of CIFAR-10-C for a side of 32 pixels, of ImageNet-C for 224. Between them they
are interpolated geometrically over the side, and above 224 lengths grow with the picture (`strength.py`).

With these strengths the change of pixels grows with the severity, but for three: `glass_blur` and `elastic` trade one kind of
change for another, and `frost` takes away more of the picture without more ice. Their severities were published in this order.

Source: D. Hendrycks, T. Dietterich, Benchmarking neural network robustness to common corruptions and perturbations, ICLR 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from beholder.base.errors import UsageError
from beholder.base.registry import Registry
from beholder.machine.draws import Draws

Corruption = Callable[[Tensor, int, Draws], Tensor]

GROUPS = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic", "pixelate", "jpeg"),
    "change": ("rotation", "crop", "resolution", "reencoding"),
}
"""Group → its corruptions; the first four are the fifteen of ImageNet-C, in its order."""

IMAGENET_C = tuple(name for group in ("noise", "blur", "weather", "digital") for name in GROUPS[group])

CORRUPTIONS = Registry(
    "corruption",
    {name: f"beholder.image.corruptions.{group}:{name}" for group, names in GROUPS.items() for name in names},
)

SEVERITIES = (1, 2, 3, 4, 5)


def corrupt(images: Tensor, name: str, severity: int, indices: Sequence[int], *, seed: int = 0) -> Tensor:
    """Return the pictures after the corruption `name`, in the dtype and range that they came in.

    images: uint8, or floating in 0..1, (B, C, H, W) with C of 1 or 3, on any device; indices: B places in their set, from which
    (with `seed`) each picture's draws follow. uint8 is rounded, where the published code truncates.
    Raises `UsageError` for an unknown name, a severity outside 1..5, or shapes that do not fit.

    >>> grey = torch.full((1, 3, 8, 8), 128, dtype=torch.uint8)
    >>> int(corrupt(grey, "brightness", 5, [0]).max())
    204
    """
    if severity not in SEVERITIES:
        raise UsageError(f"there is no severity {severity}", code="bad-severity", hint="severities are 1, 2, 3, 4 and 5")
    if images.ndim != 4 or len(indices) != len(images) or images.shape[1] not in (1, 3):
        text = f"pictures of shape {tuple(images.shape)} with {len(indices)} indices cannot be corrupted"
        hint = "give (B, C, H, W) with C of 1 or 3, and B indices"
        raise UsageError(text, code="bad-shape", hint=hint)
    apply: Corruption = CORRUPTIONS.load(name)
    if not len(images):
        return images
    counted = images.dtype == torch.uint8
    unit = images.float() / 255 if counted else images.float()
    made = apply(unit, severity, Draws(seed, 0, indices, device=unit.device, name=name)).clamp(0, 1)
    return (made * 255).round().to(torch.uint8) if counted else made.to(images.dtype)
