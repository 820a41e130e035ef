"""Pascal VOC: an XML file for each picture.

M. Everingham et al., "The Pascal visual object classes (VOC) challenge", 2010.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from xml.etree import ElementTree

from beholder.base.names import composed
from beholder.sources.annotated import CORNERS, Annotated, bad, number, size_of
from beholder.sources.crops import Box
from beholder.sources.listing import Listing, is_picture
from beholder.sources.parts import in_part, part_of, says_nothing

NAMED = re.compile(r"(^|/)Annotations/[^/]+\.xml$", re.IGNORECASE)
"""Where VOC files lie as they are published."""


class _Plain(ElementTree.TreeBuilder):
    """Refuses what defines entities as the parser meets it, whatever the encoding: a few lines could grow without end."""

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        """Raise `ValueError`: this is called before any entity is defined."""
        raise ValueError("it defines a document type, which annotations do not need")


def parse_voc(data: bytes, name: str, parts: dict[str, int] | None = None) -> Annotated:
    """Return the picture of a VOC file. parts: by the file's name without its ending. Raises `DataError` (bad-annotations)."""
    try:
        root = ElementTree.fromstring(data, ElementTree.XMLParser(target=_Plain()))
        boxes = [_box(thing) for thing in root.iter("object")]
    except (ValueError, LookupError, ElementTree.ParseError, RecursionError, OverflowError) as error:
        raise bad(name, error, "Pascal VOC has objects with a name and a bndbox of xmin, ymin, xmax, ymax") from error
    unboxed = tuple(label for box, label in boxes if box is None)
    stem = posixpath.splitext(posixpath.basename(name))[0]
    part = (parts or {}).get(composed(stem), in_part(posixpath.dirname(name)))
    path = (root.findtext("filename") or "").strip() or stem
    size = size_of(root.findtext("size/width"), root.findtext("size/height"))
    return Annotated(path, name, tuple(box for box, _ in boxes if box is not None), part, size, unboxed)


def _box(thing: ElementTree.Element) -> tuple[Box | None, str]:
    """Return the box of an object, None where it has none, and its label."""
    label = (thing.findtext("name") or "").strip()
    if not label:
        raise ValueError("an object has no name")
    said = [(thing.findtext(f"bndbox/{corner}") or "").strip() for corner in CORNERS]
    if not any(said):
        return None, label
    left, top, right, bottom = map(number, said)
    return Box(label, left, top, right, bottom, (thing.findtext("difficult") or "").strip() == "1"), label


def beside(names: Sequence[str], *, boxes: bool) -> list[str]:
    """Return the .xml files that most pictures have beside them, as some programs export VOC; class folders come first."""
    files = {name for name in names if name.endswith(".xml")}
    pictures = [name for name in names if is_picture(name)] if files else []
    paired = [xml for name in pictures if (xml := posixpath.splitext(name)[0] + ".xml") in files]
    return paired if 2 * len(paired) > len(pictures) and (boxes or not in_class_folders(pictures)) else []


def in_class_folders(pictures: Sequence[str]) -> bool:
    """Return True where pictures lie in two folders or more that may be classes."""
    folders = {posixpath.basename(posixpath.dirname(name)) for name in pictures}
    return sum(part_of(name) is None and not says_nothing(name) for name in folders) > 1


def image_sets(listing: Listing) -> dict[str, int]:
    """Return the part of each picture by its name without ending, as ImageSets/Main/train.txt, val.txt and test.txt say."""
    parts: dict[str, int] = {}
    for name in listing.names:
        match = re.search(r"(^|/)ImageSets/Main/(train|val|test)\.txt$", name)
        if match:
            for line in listing.bytes_of(name).decode("utf-8", "replace").split("\n"):
                if line.strip():
                    parts[composed(line.split()[0])] = in_part(match[2])
    return parts
