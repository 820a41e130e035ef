"""How a source was interpreted, reported before anything is done: each decision in a line, then classes and counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from beholder.base import events
from beholder.base.names import readable
from beholder.base.records import PARTS, Pictures
from beholder.sources import scan

SHOWN = 12
"""Classes that the table has a row for; of more, the largest and the smallest."""


def introduced(
    source: str | Path | tuple[Any, Any] | Pictures,
    *,
    labels: bool | None = True,
    images: str | Path | None = None,
    allow_download: bool = False,
) -> Pictures:
    """Return the pictures of a source, and say what was decided in reading it, and its classes with their counts.

    labels, images: as of `scan`. Raises what `scan` raises.
    """
    warned: set[str] = set()

    def sink(event: events.Event) -> None:
        if event.kind == "warn":
            warned.add(event.message)

    with events.listen(sink):
        pictures = (
            source
            if isinstance(source, Pictures)
            else scan(source, labels=labels, images=images, allow_download=allow_download)
        )
    for note in pictures.notes:
        if note not in warned:
            events.note(note)
    if not pictures.labelled:
        events.note(f"{len(pictures):,} pictures without labels")
        return pictures
    many = "several labels a picture" if pictures.multi else "one label a picture"
    classes = "1 class" if len(pictures.classes) == 1 else f"{len(pictures.classes):,} classes"
    events.note(f"{len(pictures):,} pictures in {classes} ({many})", table=counted(pictures))
    return pictures


def counted(pictures: Pictures) -> list[dict[str, object]]:
    """Return a row per class: class, pictures and, where the source gives parts, how many are of each."""
    given = [part for part in range(3) if (pictures.parts == part).any()]
    columns = {"pictures": pictures.counts()}
    if given:
        kinds = [(PARTS[part], part) for part in given] + [("no part", -1)] * bool((pictures.parts < 0).any())
        columns |= {name: pictures.take(np.flatnonzero(pictures.parts == part)).counts() for name, part in kinds}
    order = np.arange(len(pictures.classes))
    if len(order) > SHOWN:
        largest = np.argsort(-columns["pictures"], kind="stable")
        order = np.concatenate([largest[: SHOWN - 4], [-1], largest[-4:]])
    names = [readable(name) for name in pictures.classes]
    rest = f"… {len(pictures.classes) - SHOWN:,} more"
    return [
        {"class": names[k] if k >= 0 else rest} | {name: int(counts[k]) if k >= 0 else "" for name, counts in columns.items()}
        for k in order.tolist()
    ]
