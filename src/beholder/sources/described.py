"""The data.yaml of a YOLO set: names of the classes, and where the parts are."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from beholder.base import events
from beholder.base.errors import DataError
from beholder.sources.annotated import bad

_BYTES = 1 << 20
"""Of a data.yaml; that of the largest public set, with 1,203 names, has 30 kB."""

_CLASSES = 100_000
_PATHS = 1_000
"""Of one part: each is looked for among all pictures."""

_KEYS = {"train": 0, "val": 1, "valid": 1, "validation": 1, "test": 2}


@dataclass(frozen=True)
class Described:
    """What a data.yaml says.

    names:  of the classes by number, None where it gives none
    parts:  paths of folders, or of lists of pictures, by index into `PARTS`
    root:   the folder that the paths are below, as it says; "" = its own
    points: whether key points follow the box in each row
    """

    names: dict[int, str] | None
    parts: dict[int, list[str]]
    root: str = ""
    points: bool = False

    def bases(self, above: str) -> Iterator[str]:
        """Yield the folders from which paths are looked for; above: that of the .yaml."""
        if self.root:
            yield posixpath.normpath(posixpath.join(above, self.root))
        yield above
        yield ""


def described(data: bytes, name: str) -> Described | None:
    """Return what the bytes of a .yaml say of a YOLO set, None where they are no mapping with names or parts.

    Raises `DataError` (bad-annotations) where it is one and its names are no names.
    """
    import yaml  # type: ignore[import-untyped,unused-ignore]

    if len(data) > _BYTES:
        return None
    try:
        # Every scalar as text: a class may be called no, on or 1e3. This loader makes nothing but text, lists and mappings.
        whole = yaml.load(data, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError, ValueError):
        return None
    if not isinstance(whole, dict):
        return None
    parts: dict[int, list[str]] = {}
    for key, part in _KEYS.items():
        said = whole.get(key)
        paths = said if isinstance(said, list) else [said]
        parts.setdefault(part, []).extend(path for path in paths[:_PATHS] if isinstance(path, str) and path.strip())
    parts = {part: paths for part, paths in parts.items() if paths}
    if not parts and "names" not in whole:
        return None
    root = whole.get("path")
    return Described(_names(whole, name), parts, root if isinstance(root, str) else "", bool(whole.get("kpt_shape")))


def _names(whole: dict[object, object], name: str) -> dict[int, str] | None:
    said = whole.get("names")
    if said is None:
        return None
    pairs = list(enumerate(said)) if isinstance(said, list) else list(said.items()) if isinstance(said, dict) else []
    named: dict[int, str] = {}
    for key, label in pairs[:_CLASSES]:
        if not isinstance(label, str) or not label.strip() or not str(key).strip().isdecimal():
            raise bad(name, f"class {str(key)[:20]} has no name", "names are a list, or a mapping from numbers: 0: cat")
        named[int(str(key))] = label.strip()
    if not named or len(pairs) > _CLASSES:
        raise bad(name, f"names are {'more than 100,000' if named else 'no list of names'}", "names are a list: [cat, dog]")
    return named


def bad_yaml(name: str) -> DataError:
    """Return the error for a file that is no data.yaml."""
    return bad(
        name, "it is no mapping with names, or is larger than 1 MiB", "a data.yaml has names: [cat, dog] and train: PATH"
    )


def root_of(path: Path, data: Described) -> Path:
    """Return the folder that the set of a data.yaml on the disk is in: the one that it names if it is there, else its own."""
    path = path.absolute()
    try:
        named = path.parent / Path(data.root).expanduser() if data.root else path.parent
        there = named.is_dir() and named.resolve() != path.parent.resolve()
    except (OSError, RuntimeError, ValueError):
        there = False
    if not there:
        return path.parent
    if not named.resolve().is_relative_to(path.parent.resolve()):
        text = f"{path} leads outside its folder, to {named}, which is read"
        events.warn(text, hint="see that the file is one that you trust", code="outside-names")
    return named.resolve()
