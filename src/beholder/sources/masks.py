"""Segmentation masks beside the pictures: detected and left out.

x.jpg with x.png, x_mask.png or x_lesion.png beside it, or images/x.jpg with masks/x.png. Names only raise the suspicion; a look
at some of the pairs decides: a mask has few colours in large patches, and its picture has not.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from beholder import image
from beholder.base import events
from beholder.base.arrays import I64
from beholder.base.errors import PictureError
from beholder.base.names import Names
from beholder.base.order import spread
from beholder.sources.listing import Listing, is_picture, some

CHUNK = 4096
"""Names that are looked through at once."""

STRETCH, STRETCHES = 512, 8
"""Names of one stretch in which endings of names are looked for, and stretches."""

LOOKED = 12
"""Pairs of each kind that are opened."""

_WORD = (
    r"(?:masks?|seg|segm|segs|segmentations?|segmentationclass|segmentationobject|gt|groundtruth|ground[ _-]truth|mattes?"
    r"|trimaps?|labels?|annotations?)"
)
_FOLDER = re.compile(rf"(?:.*[^a-z])?{_WORD}(?:[^a-z].*)?", re.IGNORECASE)
_AFTER = re.compile(rf"(.+?)[ _.-]+{_WORD}(?:[ _-]*\d+)?", re.IGNORECASE)
_BEFORE = re.compile(rf"{_WORD}[ _-]+(.+)", re.IGNORECASE)
_BREAK = re.compile(r"(?<=[^ _.-])[ _.-]|(?<=\d)(?=[A-Za-z])|(?<=[a-z])(?=[A-Z])")
_ANY = re.compile(_WORD, re.IGNORECASE)


@dataclass(frozen=True)
class _Pairs:
    """Pictures that may be masks of others, of one kind. masks, of: names, one for one; sure: the names say "mask" too."""

    kind: str
    masks: list[str]
    of: list[str]
    sure: bool


def left_out(listing: Listing) -> Listing:
    """Return the listing without the masks in it, which is said; pairs that cannot be told apart stay, and are warned of."""
    masks: list[str] = []
    notes: list[str] = []
    for pairs in (*_same_stem(listing.names), *_named(listing.names), *_suffixed(listing.names)):
        share = _look(listing, pairs)
        if share >= (0.5 if pairs.sure else 0.8):
            masks += pairs.masks
        elif pairs.kind.startswith("."):
            notes.append(_asked(pairs, few=20 * len(pairs.masks) < len(listing.names)))
    if masks:
        found = sorted(set(masks))
        text = f"{len(found):,} masks beside the pictures that they belong to were left out: {some(found)}"
        notes.append(events.warn(text, hint="if they are pictures to learn from, put them elsewhere", code="masks"))
        gone = set(masks)
        listing = replace(listing, names=Names.of(name for name in listing.names if name not in gone))
    return replace(listing, notes=(*listing.notes, *notes)) if notes else listing


def _asked(pairs: _Pairs, *, few: bool) -> str:
    """Return the sentence that both of each pair stay; warn of it unless they are few."""
    text = f"{len(pairs.masks):,} pictures have the name of another but for the ending, such as {pairs.of[0]} and "
    text += f"{pairs.masks[0]}: both are taken for pictures"
    if not few:
        events.warn(text, hint="if they belong to each other, as pictures and masks do, leave one kind out", code="same-stem")
    return text


def _same_stem(names: Sequence[str]) -> Iterator[_Pairs]:
    """Yield the pairs in one folder whose names differ in the ending alone, by the two endings; names are sorted."""
    found: dict[tuple[str, str], tuple[list[str], list[str]]] = {}
    before, stem = "", ""
    for name in names:
        own = name.rpartition(".")[0]
        if own and own == stem and is_picture(name) and is_picture(before):
            ends = (before[len(stem) :].lower(), name[len(own) :].lower())
            first, second = found.setdefault(ends, ([], []))
            first.append(before)
            second.append(name)
        before, stem = name, own
    for (one, other), (first, second) in found.items():
        lossy = one.startswith((".j", ".w"))
        yield _Pairs(other if lossy else one, second if lossy else first, first if lossy else second, sure=False)


def _named(names: Sequence[str]) -> Iterator[_Pairs]:
    """Yield the pairs of which one is called a mask, by its own name or its folder's."""
    if not any(_may_call(names[start : start + CHUNK]) for start in range(0, len(names), CHUNK)):
        return
    called = [name for name in names if _ANY.search(name) and is_picture(name)]
    wanted: dict[tuple[str, str], list[str]] = {}
    for name in called:
        for key in _partners(name):
            wanted.setdefault(key, []).append(name)
    if not wanted:
        return
    depths = {place.split("/").index("*") for place, _ in wanted if "*" in place}
    masks, of = {}, set(called)
    for name in names:
        if is_picture(name) and (name not in of or not any(True for _ in _partners(name))):
            for key in _keys(name, depths):
                masks.update({mask: name for mask in wanted.get(key, ()) if mask != name})
    if masks:
        yield _Pairs("named", list(masks), list(masks.values()), sure=True)


def _suffixed(names: Sequence[str]) -> Iterator[_Pairs]:
    """Yield the pairs in one folder of which one has the other's name and more, such as 1.jpg and 1_lesion.png.

    What follows is found in a few stretches of the names, which are sorted, and looked for in all where it is common there.
    """
    starts = np.unique(np.linspace(0, max(len(names) - STRETCH, 0), STRETCHES).astype(int)).tolist()
    counts: Counter[str] = Counter()
    seen = 0
    for start in starts:
        stretch = [name.rpartition(".")[0] for name in names[start : start + STRETCH] if is_picture(name)]
        stems, seen = set(stretch), seen + len(stretch)
        counts.update(stem[cut:].lower() for stem in stretch if (cut := _cut(stem, stems)))
    for suffix, n in counts.items():
        if 5 * n < seen or n < 2:
            continue
        masks = {name.rpartition(".")[0][: -len(suffix)]: name for name in names if _ends(name, suffix)}
        of = {stem: name for name in names if is_picture(name) and (stem := name.rpartition(".")[0]) in masks}
        if of:
            yield _Pairs("suffixed", [masks[stem] for stem in of], list(of.values()), sure=False)


def _cut(stem: str, stems: set[str]) -> int:
    """Return where a stem that is another one and more ends to be the other; 0 where it is none. A number is no more."""
    cuts = (match.start() for match in _BREAK.finditer(stem) if not stem[match.start() :].strip(" _.-()").isdecimal())
    return max((cut for cut in cuts if stem[:cut] in stems), default=0)


def _ends(name: str, suffix: str) -> bool:
    return is_picture(name) and name.rpartition(".")[0].lower().endswith(suffix)


def _may_call(names: Sequence[str]) -> bool:
    """Return whether a word for masks may be in one of the names: found at once for all, it costs next to nothing."""
    text = "\n".join(names).lower()
    return any(word in text for word in ("mask", "seg", "gt", "truth", "matte", "trimap", "label", "annotation"))


def _partners(name: str) -> Iterator[tuple[str, str]]:
    """Yield (folder, stem) of the pictures that a mask of this name may belong to; "*" in a folder: any other one there."""
    folder, _, base = name.rpartition("/")
    stem = base.rpartition(".")[0]
    match = _AFTER.fullmatch(stem) or _BEFORE.fullmatch(stem)
    stems = {stem.lower(), match[1].lower()} if match else {stem.lower()}
    if match:
        yield folder, match[1].lower()
    parts = folder.split("/") if folder else []
    for depth, part in enumerate(parts):
        if _FOLDER.fullmatch(part):
            for own in stems:
                yield "/".join((*parts[:depth], *parts[depth + 1 :])), own
                yield "/".join((*parts[:depth], "*", *parts[depth + 1 :])), own


def _keys(name: str, depths: set[int]) -> Iterator[tuple[str, str]]:
    folder, _, base = name.rpartition("/")
    stem = base.rpartition(".")[0].lower()
    yield folder, stem
    parts = folder.split("/") if folder else []
    for depth in depths:
        if depth < len(parts):
            yield "/".join((*parts[:depth], "*", *parts[depth + 1 :])), stem


def _look(listing: Listing, pairs: _Pairs) -> float:
    """Return the share of some pairs in which the one looks like a mask and the other does not; 0 where none can be read."""
    rows = spread(len(pairs.masks), LOOKED).tolist()
    found = []
    for row in rows:
        mask, picture = _read(listing, pairs.masks[row]), _read(listing, pairs.of[row])
        found.append(mask is not None and picture is not None and is_mask(mask, picture))
    return float(np.mean(found)) if found else 0.0


def _read(listing: Listing, name: str) -> npt.NDArray[np.generic] | None:
    try:
        data = listing.store.read(name)
        return image.decode(data, channels=3) if isinstance(data, bytes) else np.asarray(data)
    except PictureError:
        return None


def is_mask(one: npt.NDArray[np.generic], other: npt.NDArray[np.generic]) -> bool:
    """Return True where one of two pictures, uint8 (H, W, 3), can be a mask of the other.

    Colours are compared in steps of 16, for masks are stored as JPEG too. Eight of them hold 97 % of a mask's pixels, at most
    one neighbour in ten differs, and the picture has more than twice as many.
    """
    codes, theirs = _codes(one), _codes(other)
    few = np.sort(np.bincount(codes.ravel()))[::-1][:8].sum() >= 0.97 * codes.size
    edges = np.count_nonzero(codes[:, 1:] != codes[:, :-1]) + np.count_nonzero(codes[1:] != codes[:-1])
    return bool(few and edges <= 0.1 * 2 * codes.size and len(np.unique(theirs)) > 2 * len(np.unique(codes)))


def _codes(pixels: npt.NDArray[np.generic]) -> I64:
    """Return a number for the colour of each pixel, int64 (H, W)."""
    coarse: I64 = (np.asarray(pixels, np.int64) + 8) // 16
    return coarse @ np.array([1, 32, 1024]) if coarse.ndim == 3 else coarse
