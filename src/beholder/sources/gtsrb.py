"""The German traffic signs: class folders of pictures, each with a table GT-CLASS.csv of where in them the sign is.

The pictures of a class are frames of tracks, 00007_00029.ppm being the last of 30 of one sign: they are all but the same, and
a split that tears them apart tests on what was trained on.
J. Stallkamp et al., "Man vs. computer: benchmarking machine learning algorithms for traffic sign recognition", 2012.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from beholder.base.records import Pictures
from beholder.sources import layout, rows
from beholder.sources.annotated import Annotated
from beholder.sources.listing import Listing

_TABLE = re.compile(r"(?:^|/)([^/]+)/GT-\1\.csv$", re.IGNORECASE)
_FRAME = re.compile(r"(?:^|/)([^/]+)/(\d+)_\d+\.[^./]+$")


def named(names: Sequence[str]) -> list[str]:
    """Return the tables GT-CLASS.csv that lie in the folders of their classes."""
    return [name for name in names if _TABLE.search(name)]


def pictures_of(listing: Listing) -> Pictures:
    """Return the pictures with their folders' names as labels, those of one track in one group. Raises as `layout` does."""
    pictures = layout.pictures_of(listing)
    tracks = [track_of(key) for key in pictures.keys]
    numbers = {track: i for i, track in enumerate(dict.fromkeys(filter(None, tracks)))}
    if pictures.multi or not numbers:
        return pictures
    groups = np.fromiter((numbers.get(track, -1) for track in tracks), np.int64, len(tracks))
    return replace(pictures, groups=groups, notes=(*pictures.notes, _told(len(numbers))))


def rows_of(listing: Listing, tables: Sequence[str], notes: list[str]) -> list[Annotated]:
    """Return what the tables say of the pictures beside them; labels are the names of the folders. Raises as `rows.parse`."""
    found = []
    for name in tables:
        above = name.rpartition("/")[0]
        label = above.rpartition("/")[2]
        for row in rows.parse(listing.bytes_of(name), name, f"{listing.store.name}: {name}"):
            boxes = tuple(replace(box, label=label) for box in row.boxes)
            found.append(replace(row, boxes=boxes, group=track_of(f"{above}/{row.path}")))
    tracks = {row.group for row in found if row.group}
    notes += [_told(len(tracks))] if tracks else []
    return found


def _told(tracks: int) -> str:
    return f"the pictures are frames of {tracks:,} tracks, which were taken as groups: no split tears one apart"


def track_of(key: str) -> str:
    """Return class and number of the track that a picture is a frame of, "" where its name says none.

    >>> track_of("Training/00003/00007_00029.ppm"), track_of("00003/7.ppm")
    ('00003/00007', '')
    """
    frame = _FRAME.search(key)
    return f"{frame[1]}/{frame[2]}" if frame else ""
