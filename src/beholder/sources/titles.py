"""Safe file and folder names made from given names."""

from __future__ import annotations

import os
import re
from collections import defaultdict

from beholder.sources.listing import is_junk
from beholder.sources.parts import part_of

LONGEST = 200
"""Bytes that a name may have: file systems allow 255, and a number may have to be added."""

_ODD = re.compile(r'[<>:"|?*]' if os.name == "nt" else r"(?!)")
_CONTROL = re.compile(r"[\0-\x1f\x7f/\\]")
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


def is_title(name: str) -> bool:
    """Return True where a class's name can be that of a folder, which scanning then reads as the same class.

    >>> is_title("rust"), is_title("../rust"), is_title("test"), is_title(".rust")
    (True, False, False, False)
    """
    return name == _tamed(name) and len(_raw(name)) <= LONGEST and part_of(name) is None and not is_junk(name)


def _tamed(name: str) -> str:
    """Return a name without what no name of a file may hold; never "", "." or ".."."""
    name = _ODD.sub("_", _CONTROL.sub("_", name))
    if os.name == "nt":
        name = re.sub(r"[. ]+$", "_", name)
    return "_" + name if not name or name.startswith(".") or _DEVICE.match(name) else name


def _raw(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


class Titles:
    """Gives each file of a folder a name of its own. changed: how many could not keep theirs."""

    def __init__(self) -> None:
        self.changed = 0
        self._taken: dict[str, set[str]] = defaultdict(set)

    def give(self, folder: str, key: str, suffix: str = "") -> str:
        """Return the name in `folder` for the picture `key`: the last part of the key, and `suffix`, which it lacks.

        It differs from all that were given in that folder in more than case; "a.png" may become "a-2.png".
        """
        plain = key.rpartition("/")[2]
        wanted = _tamed(plain)
        stem, dot, ending = wanted.rpartition(".") if "." in wanted and not suffix else (wanted, "", "")
        tail = dot + ending + suffix
        if len(_raw(stem + tail)) > LONGEST:
            stem = _raw(stem)[: max(LONGEST - len(_raw(tail)), 1)].decode("utf-8", "ignore") or "_"
        name, taken, number = stem + tail, self._taken[folder], 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}{tail}"
        taken.add(name.casefold())
        self.changed += name != plain + suffix
        return name
