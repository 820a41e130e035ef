"""Text on pictures: fonts that have the letters, and what would turn the text after it left out."""

from __future__ import annotations

import re
from typing import Any

from PIL import ImageFont

FONTS = ("DejaVuSans.ttf", "NotoSansCJK-Regular.ttc", "NotoSans-Regular.ttf", "Arial Unicode.ttf", "msyh.ttc", "PingFang.ttc")
"""Fonts that are looked for where a name has letters that Pillow's own font lacks."""

_TURNING = re.compile("[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]")
"""Characters without a form of their own that turn the text after them."""


def plain(text: str) -> str:
    """Return a text without the characters that turn what comes after them.

    >>> plain("a\u202eb")
    'ab'
    """
    return _TURNING.sub("", text)


def font(text: str, size: int) -> Any:
    """Return a font for a text: Pillow's own, or one of the machine's where the text is not of Western Europe."""
    if any(ord(letter) > 0x17F and letter not in "–’" for letter in text):
        for name in FONTS if all(ord(letter) < 0x530 for letter in text) else FONTS[1:]:
            try:
                return ImageFont.truetype(name, size)
            except OSError:
                continue
    return ImageFont.load_default(size)
