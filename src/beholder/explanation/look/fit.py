"""A page within its limit: what is left out where the maps, the layers and the classes do not fit beside the other numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from beholder.explanation.look import layers, page
from beholder.explanation.look.blob import Blob
from beholder.explanation.look.trace import Layer

LARGEST = 2_000_000
"""Bytes of a page."""

ARRAYS, MAPS = 1_150_000, 400_000
"""Bytes of all arrays of a page, and of the maps among them, before they are packed."""

FEWER = ((1500, 1000), (500, 300), (100, 50))
"""Layers and classes that are listed, where a page without any maps is still too large."""


def fitted(facts: dict[str, Any], seen: Sequence[Layer], blob: Blob) -> tuple[dict[str, Any], str]:
    """Return the facts with the layers, and the page: the first of `tries` that has at most `LARGEST` bytes, else the last.

    facts: all others, whose arrays are in `blob`, which is left as it is
    """
    for room, rows, classes in tries(max(0, min(MAPS, ARRAYS - blob.size))):
        arrays = blob.copy()
        left = {"layers": max(0, len(seen) - rows), "maps": room == 0}
        head = listed(facts["head"], classes)
        whole = {**facts, "head": head, "layers": layers.facts(seen[:rows], arrays, room=room), "left_out": left}
        html = page.html(whole, arrays.text())
        if len(html.encode("utf-8", "replace")) <= LARGEST:
            break
    return whole, html


def tries(room: int) -> Iterator[tuple[int, int, int]]:
    """Yield bytes of maps, layers and classes, from most to least: the largest maps become coarser first."""
    most = FEWER[0]
    while room > 10_000:
        yield room, *most
        room //= 2
    for fewer in FEWER:
        yield 0, *fewer


def listed(head: dict[str, Any], most: int) -> dict[str, Any]:
    """Return the facts of a head with at most so many classes, the most probable and the one that the page begins with."""
    kept = [one for k, one in enumerate(head["classes"]) if k < most or one["at"] == head["first"]]
    cut = [one for k, one in enumerate(head["classes"]) if not (k < most or one["at"] == head["first"])]
    others = {"count": head["others"]["count"] + len(cut), "p": head["others"]["p"] + sum(one["p"] for one in cut)}
    return {**head, "classes": kept, "others": others, "steps": head["steps"] and head["steps"][:most]}
