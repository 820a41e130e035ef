"""The two nets of a class-conditional GAN of small pictures: residual, without norms, as in R3GAN.

Source: Y. Huang et al., "The GAN is dead; long live the GAN! A modern GAN baseline", NeurIPS 2024: convolutions between leaky
ReLUs whose residual branches begin at nothing, resampling outside them; the class enters the discriminator by projection
(T. Miyato & M. Koyama, ICLR 2018).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.nets.vae import sides

NOISE = 64
"""Numbers from which a picture is made."""

PATCHED = 32
"""Pixels of the shorter side from which the nets work on patches of 2 × 2 pixels, where both sides are even."""


def patch_of(size: tuple[int, int]) -> int:
    """Return the side of the patches that are the pixels of the nets' largest maps: 2, or 1 for small or odd sizes.

    Of 32 pixels twice the channels at half the side take half the time, and what samples are worth gains; of 28 they take
    nearly as long, and cover less (docs/LOG.md).
    """
    return 2 if min(size) >= PATCHED and not (size[0] % 2 or size[1] % 2) else 1


class Residual(nn.Module):
    """x + convolutions 1×1, 3×3, 1×1 between leaky ReLUs; the last begins at zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.into, self.mid, self.back = (
            nn.Conv2d(width, width, 1),
            nn.Conv2d(width, width, 3, padding=1),
            nn.Conv2d(width, width, 1, bias=False),
        )
        for layer in (self.into, self.mid):
            nn.init.kaiming_normal_(layer.weight, a=0.2)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.back.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, width, H, W)."""
        y = F.leaky_relu(self.into(x), 0.2)
        y = F.leaky_relu(self.mid(y), 0.2)
        seen: Tensor = x + self.back(y)
        return seen


def _widths(size: tuple[int, int], width: int) -> list[tuple[tuple[int, int], int]]:
    """Return (side, channels) of the maps, the smallest first: twice the channels a halving, at most four times."""
    whole = [size, *(side for side in sides(size) if side != (1, 1))][::-1]
    return [(side, width * min(4, 2 ** (len(whole) - 1 - k))) for k, side in enumerate(whole)]


class Generator(nn.Module):
    """Noise (B, 64) and targets (B, K) → pictures (B, C, H, W), about -1..1."""

    def __init__(self, *, channels: int, size: tuple[int, int], classes: int, width: int, patch: int = 1) -> None:
        super().__init__()
        self.patch = patch
        self.sides, widths = zip(*_widths((size[0] // patch, size[1] // patch), width), strict=True)
        self.named = nn.Linear(classes, NOISE, bias=False) if classes else None
        self.first = nn.Linear(NOISE * (2 if classes else 1), widths[0] * math.prod(self.sides[0]))
        self.blocks = nn.ModuleList(Residual(w) for w in widths)
        self.turned = nn.ModuleList(
            nn.Conv2d(a, b, 1, bias=False) if a != b else nn.Identity()
            for a, b in zip((widths[0], *widths), widths, strict=False)
        )
        self.out = nn.Conv2d(widths[-1], channels * patch**2, 3, padding=1)

    def forward(self, noise: Tensor, targets: Tensor) -> Tensor:
        """Return pictures of the classes that targets say."""
        known = noise if self.named is None else torch.cat([noise, self.named(targets)], dim=1)
        x = self.first(known).reshape(len(noise), -1, *self.sides[0])
        for side, turned, block in zip(self.sides, self.turned, self.blocks, strict=True):
            x = block(turned(x if x.shape[-2:] == side else F.interpolate(x, size=side)))
        made: Tensor = self.out(F.leaky_relu(x, 0.2))
        return F.pixel_shuffle(made, self.patch)


class Discriminator(nn.Module):
    """Pictures (B, C, H, W) and targets (B, K) → how real they seem, (B,)."""

    def __init__(self, *, channels: int, size: tuple[int, int], classes: int, width: int, patch: int = 1) -> None:
        super().__init__()
        self.patch = patch
        self.sides, widths = zip(*_widths((size[0] // patch, size[1] // patch), width)[::-1], strict=True)
        self.stem = nn.Conv2d(channels * patch**2, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(Residual(w) for w in widths)
        self.turned = nn.ModuleList(
            nn.Conv2d(a, b, 1, bias=False) if a != b else nn.Identity()
            for a, b in zip((widths[0], *widths), widths, strict=False)
        )
        self.last = nn.Linear(widths[-1] * math.prod(self.sides[-1]), features := 4 * width)
        self.real = nn.Linear(features, 1)
        self.named = nn.Linear(classes, features, bias=False) if classes else None

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        """Return how real each picture seems as one of its class; float32."""
        x = self.stem(F.pixel_unshuffle(images, self.patch))
        for side, turned, block in zip(self.sides, self.turned, self.blocks, strict=True):
            x = block(turned(x if x.shape[-2:] == side else F.adaptive_avg_pool2d(x, side)))
        seen = F.leaky_relu(self.last(F.leaky_relu(x, 0.2).flatten(1)), 0.2)
        said: Tensor = self.real(seen).squeeze(1).float()
        if self.named is not None:
            said = said + (self.named(targets).float() * seen.float()).sum(1) / math.sqrt(seen.shape[1])
        return said


class Gan(nn.Module):
    """Both nets.

    patch: side of the patches that their largest maps are of; penalty: γ of the gradient penalties; augment: whether pictures
    are varied before they are judged
    """

    seen: Tensor

    def __init__(
        self,
        *,
        channels: int,
        size: tuple[int, int],
        classes: int,
        width: int,
        patch: int = 1,
        penalty: float = 0.5,
        augment: bool = False,
    ) -> None:
        super().__init__()
        self.channels, self.size, self.classes, self.penalty, self.augment = channels, size, classes, penalty, augment
        shape = {"channels": channels, "size": size, "classes": classes, "width": width, "patch": patch}
        self.generator = Generator(**shape)  # type: ignore[arg-type]
        self.discriminator = Discriminator(**shape)  # type: ignore[arg-type]
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def noise(self, n: int, generator: torch.Generator | None = None) -> list[Tensor]:
        """Return standard normal numbers for n pictures, (n, 64), as a list of one."""
        on = self.seen.device
        return [torch.randn((n, NOISE), generator=generator, device="cpu" if generator else on).to(on)]

    def drawn(self, targets: Tensor, noise: list[Tensor]) -> Tensor:
        """Return pictures float32 (B, C, H, W) in -1..1."""
        made: Tensor = self.generator(noise[0], targets).float().clamp(-1, 1)
        return made
