"""Digital corruptions: contrast, elastic distortion, pixelation, JPEG."""

from __future__ import annotations

import torch
from torch import Tensor

from beholder.image.corruptions.filters import places, sampled, smoothed
from beholder.image.corruptions.jpeg import compressed
from beholder.image.corruptions.strength import strength
from beholder.machine.draws import Draws


def contrast(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Bring every value nearer to its channel's mean."""
    kept = strength(images, severity, (0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05))
    mean = images.mean(dim=(2, 3), keepdim=True)
    return (images - mean) * kept + mean


def elastic(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Move three points of the picture by chance, which bends it affinely, and every pixel by a smooth random field.

    Published strengths are shares of the side. At 224 pixels severities 1 and 2 are mostly affine, 3 to 5 mostly elastic.
    """
    side = min(images.shape[-2:])
    push = side * strength(images, severity, (0, 0.05, 0.08, 0.1, 0.1), (2, 2, 0.05, 0.07, 0.12))
    sigma = side * strength(images, severity, (0, 0.2, 0.06, 0.04, 0.03), (0.7, 0.08, 0.01, 0.01, 0.01))
    reach = side * strength(images, severity, (0.08, 0.07, 0.06, 0.05, 0.03), (0.1, 0.2, 0.02, 0.02, 0.02))
    across, down = places(images)
    height, width = images.shape[-2:]
    bent = sampled(images, *_affine(draws.between("points", -reach, reach, 3, 2), across, down))
    field = smoothed(draws.between("field", -1, 1, 2, height, width), sigma) * push if push else None
    return bent if field is None else sampled(bent, across + field[:, 0], down + field[:, 1])


def _affine(moves: Tensor, across: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
    """Return where each pixel of the result lies in the source, (B, H, W) twice; three points move by `moves` (B, 3, 2)."""
    height, width = across.shape[-2:]
    middle = torch.tensor([width // 2, height // 2], device=moves.device, dtype=torch.float32)
    arm = min(height, width) // 3 or 1
    offsets = torch.tensor([[arm, arm], [arm, -arm], [-arm, -arm]], device=moves.device, dtype=torch.float32)
    before = middle + offsets
    after = before + moves
    # From a point of the result to the source: the matrix that takes the moved points back to where they were.
    ones = torch.ones(len(moves), 3, 1, device=moves.device)
    matrix = torch.linalg.solve(torch.cat([after, ones], dim=2), before.expand(len(moves), 3, 2))
    points = torch.stack([across[0], down[0], torch.ones_like(down[0])], dim=-1)
    x, y = (points @ matrix[:, None]).unbind(-1)
    return x, y


def pixelate(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Shrink with a box filter and enlarge again."""
    share = strength(images, severity, (0.95, 0.9, 0.85, 0.75, 0.65), (0.6, 0.5, 0.4, 0.3, 0.25))
    height, width = images.shape[-2:]
    rows, columns = (_there_and_back(n, share, images.device) for n in (height, width))
    return rows @ images @ columns.T


def jpeg(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Store as JPEG of low quality."""
    quality = round(strength(images, severity, (80, 65, 58, 50, 40), (25, 18, 15, 10, 7)))
    return compressed(images, quality)


def _there_and_back(n: int, share: float, device: torch.device) -> Tensor:
    """Return the matrix (n, n) that shrinks n pixels to a `share` of them with a box filter, and enlarges them again."""
    small = max(1, int(n * share))
    return (_box(small, n) @ _box(n, small)).to(device)


def _box(given: int, wanted: int) -> Tensor:
    """Return the matrix (wanted, given) of Pillow's box filter: means of the pixels whose middles lie in each window."""
    scale = given / wanted
    support = max(scale, 1) / 2
    middles = (torch.arange(wanted, dtype=torch.float64) + 0.5) * scale
    offset = torch.arange(given, dtype=torch.float64) + 0.5 - middles[:, None]
    inside = ((offset > -support) & (offset <= support)).float()
    return inside / inside.sum(dim=1, keepdim=True)
