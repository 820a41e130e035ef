"""Whether annotated pictures have the size for which their boxes were drawn."""

from __future__ import annotations

from collections.abc import Mapping

from beholder import image
from beholder.base import events
from beholder.base.errors import PictureError
from beholder.base.limits import Limits
from beholder.base.order import spread
from beholder.base.records import Store
from beholder.sources.crops import scale
from beholder.sources.listing import some

LOOKED = 1_000
"""Pictures whose size is looked at, spread over the source; reading a header takes a fraction of a millisecond."""


def told(store: Store, drawn: Mapping[str, tuple[int, int]], *, boxes: bool, limits: Limits) -> list[str]:
    """Return what is to be said of pictures of another size than their annotations state, and warn of it.

    drawn: (width, height) by key, as the annotations say; boxes: whether boxes are cut out, or only labels read
    """
    keys = list(drawn)
    rows = spread(len(keys), LOOKED).tolist()
    scaled: list[str] = []
    odd: list[str] = []
    for key in (keys[row] for row in rows):
        actual = upright(store, key, limits)
        if actual is not None and actual != drawn[key]:
            text = f"{key} ({drawn[key][0]} × {drawn[key][1]} said, {actual[0]} × {actual[1]} here)"
            (scaled if scale(drawn[key], actual) else odd).append(text)
    of = f"of the {len(rows):,} pictures" if len(rows) == len(keys) else f"of {len(rows):,} pictures looked at"
    said = []
    if scaled:
        what = "their boxes are scaled" if boxes else "labels by presence do not depend on it"
        said.append(f"{len(scaled):,} {of} are larger or smaller than their annotations say; {what}: {some(scaled)}")
    if odd:
        what = "their boxes cannot be cut out" if boxes else "labels by presence do not depend on it"
        said.append(f"{len(odd):,} {of} have another shape than their annotations say; {what}: {some(odd)}")
    return [events.warn(text, hint="check that these are the pictures that were annotated", code="other-size") for text in said]


def upright(store: Store, key: str, limits: Limits) -> tuple[int, int] | None:
    """Return (width, height) upright, None for a picture that cannot be read, of which others tell."""
    try:
        data = store.read(key)
        head = image.header(data, limits=limits)
    except PictureError:
        return None
    return head.width, head.height
