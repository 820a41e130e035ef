"""Isolate names given by users in generated text, so that right-to-left characters do not reorder what surrounds them.

A name may be Arabic or Hebrew, or hold a control character that turns the text after it. Each is put between U+2068 and
U+2069, which isolate it (Unicode Standard Annex 9, the isolates of version 6.3); browsers obey them in text and attributes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable

FIRST, LAST = "\u2068", "\u2069"
_TURNS = frozenset(("R", "AL", "AN", "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"))
_ISOLATES = re.compile("[\u2066-\u2069]")


def turns(text: str) -> bool:
    """Return whether a text may turn what stands around it."""
    return not text.isascii() and any(unicodedata.bidirectional(letter) in _TURNS for letter in text)


def isolated(name: str) -> str:
    r"""Return a name to be put into a sentence: as it is, or isolated where it may turn the sentence.

    >>> isolated("cat"), isolated("\u05d7\u05ea\u05d5\u05dc") == "\u2068\u05d7\u05ea\u05d5\u05dc\u2069"
    ('cat', True)
    """
    return FIRST + _ISOLATES.sub("\ufffd", name) + LAST if turns(name) else name


def isolating(names: Iterable[str]) -> Callable[[str], str]:
    """Return a function that isolates each of these names in a sentence, and a sentence that still turns as a whole."""
    known = sorted({name for name in names if turns(name)}, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, known))) if known else None

    def isolate(text: str) -> str:
        if not turns(text):
            return text
        if pattern is None:
            return isolated(text)
        rest = pattern.split(text)
        held = [isolated(name) for name in pattern.findall(text)]
        pieces = [isolated(piece) for piece in rest]
        return "".join(piece + name for piece, name in zip(pieces, [*held, ""], strict=True))

    return isolate
