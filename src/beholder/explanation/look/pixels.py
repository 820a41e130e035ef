"""A picture before and after the pixel policy: what was cut, scaled and normalised, in numbers."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from beholder.base.arrays import U8
from beholder.base.records import PixelPolicy
from beholder.bundle.bundle import Bundle
from beholder.explanation.look.blob import Blob
from beholder.explanation.look.first import INPUT, middle
from beholder.image.fit import placed

SHOWN = 480
"""Longer side in pixels of the picture as it was given."""


def facts(bundle: Bundle, whole: U8, image: U8, blob: Blob) -> dict[str, Any]:
    """Return the picture as given, uint8 (h, w, 3), and as the net is given it, uint8 (C, H, W), with the numbers between.

    {"preview", "width", "height", "box", "steps", "size", "window", "image", "channels"}
    """
    policy, config = bundle.policy, bundle.config
    height, width = whole.shape[:2]
    window = middle(image.shape, 1, INPUT)
    top, left, tall, wide = window
    names = ("grey",) if policy.channels == 1 else ("red", "green", "blue")
    return {
        "preview": preview(whole),
        "width": width,
        "height": height,
        "box": cropped(height, width, policy) if policy.fit == "crop" else None,
        "steps": steps(height, width, policy),
        "size": list(image.shape),
        "window": list(window),
        "image": blob.add(np.ascontiguousarray(image[:, top : top + tall, left : left + wide])),
        "channels": [
            {"name": name, "mean": mean, "std": std, "low": int(plane.min()), "high": int(plane.max())}
            for name, mean, std, plane in zip(names, config.mean, config.std, image, strict=True)
        ],
    }


def cropped(height: int, width: int, policy: PixelPolicy) -> list[float]:
    """Return the part of a picture that `crop` keeps: left, top, width, height in pixels of the picture as given."""
    scale = max(policy.width / width, policy.height / height)
    wide, tall = policy.width / scale, policy.height / scale
    return [(width - wide) / 2, (height - tall) / 2, wide, tall]


def steps(height: int, width: int, policy: PixelPolicy) -> list[str]:
    """Return what the policy does with a picture of height × width pixels, in sentences."""
    given, wanted = f"{width} × {height}", f"{policy.width} × {policy.height}"
    said = [f"Your picture has {given} pixels, upright, in red, green and blue from 0 to 255."]
    if (height, width) == (policy.height, policy.width):
        said.append(f"The net wants {wanted}: it stays as it is.")
    elif policy.fit == "crop":
        _, _, wide, tall = cropped(height, width, policy)
        said.append(f"Crop: the middle {wide:.4g} × {tall:.4g} pixels are kept, which have the shape of {wanted}.")
        said.append(
            f"Resize: they become {wanted} pixels; each new one is a weighted mean of the old ones below it (bilinear)."
        )
    elif policy.fit == "pad":
        top, left, tall, wide = placed(height, width, policy)
        said.append(
            f"Resize: it becomes {wide:.0f} × {tall:.0f} pixels; each new one is a weighted mean of the old ones below it."
        )
        ground = ", ".join(str(level) for level in policy.background)
        said.append(
            f"Pad: it is laid on {wanted} pixels of colour ({ground}), {left:.0f} from the left and {top:.0f} from the top."
        )
    else:
        said.append(f"Resize: it becomes {wanted} pixels; each new one is a weighted mean of the old ones below it (bilinear).")
    if policy.channels == 1:
        said.append("Grey: v = 0.299 · red + 0.587 · green + 0.114 · blue.")
    return said


def preview(whole: U8) -> str:
    """Return a picture uint8 (h, w, 3) as a data URI, small pictures without loss, of at most `SHOWN` pixels a side."""
    image = Image.fromarray(whole)
    small = max(image.size) <= 64
    image.thumbnail((SHOWN, SHOWN))
    made = io.BytesIO()
    if small:
        image.save(made, "PNG", optimize=True)
    else:
        image.save(made, "JPEG", quality=82)
    return f"data:image/{'png' if small else 'jpeg'};base64,{base64.b64encode(made.getvalue()).decode()}"
