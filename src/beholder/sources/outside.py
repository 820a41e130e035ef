"""Names in tables and annotations that point outside their folder or archive: reported, or refused."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Sequence

from beholder.base import events
from beholder.base.errors import DataError
from beholder.sources.listing import some

UNSAFE = "unsafe-names"
"""The code of the error for a foreign table that names what lies outside."""


def leads_outside(name: str, above: str = "") -> bool:
    """Return True where a name, as written in a file of the folder `above`, leads out of the root by "..".

    >>> leads_outside("../a.png"), leads_outside("../a.png", "tables"), leads_outside("b/../../a.png")
    (True, False, True)
    """
    return posixpath.normpath(posixpath.join(above, name.replace("\\", "/"))).startswith("../")


def check(names: Iterable[tuple[str, str]], *, where: str, foreign: bool) -> list[str]:
    """Return a note, and warn, where names in files that lie in a folder or an archive lead out of that.

    names: each with the folder of the file that says it.
    What they mean is looked for inside, as absolute paths are: nothing outside is opened.
    Raises `DataError` (unsafe-names) where the file is foreign: out of an archive, or from the network.
    """
    return _said([name for name, above in names if leads_outside(name, above)], where, foreign)


def _said(out: Sequence[str], where: str, foreign: bool) -> list[str]:
    if not out:
        return []
    if foreign:
        hint = "give paths below the folder of the table; unpack it yourself if you trust it"
        raise DataError(f"{where} is refused: {len(out):,} of its names lead outside: {some(out)}", code=UNSAFE, hint=hint)
    text = f"{len(out):,} names in {where} lead outside: {some(out)}; they are looked for inside"
    return [events.warn(text, hint="give the table itself as the source to read what lies outside", code="outside-names")]


def absolute(paths: Sequence[str], keys: Sequence[str | None], *, where: str, foreign: bool) -> list[str]:
    """Return a note, and warn, where absolute paths in files of a folder or an archive are of no picture in it.

    keys: of each path, None = not there. Of another machine are paths that begin as those that were found; none else is.
    Raises `DataError` (unsafe-names) where the file is foreign.
    """
    known = {_head(path) for path, key in zip(paths, keys, strict=True) if key}
    out = [
        path for path, key in zip(paths, keys, strict=True) if not key and _ABSOLUTE.match(path) and _head(path) not in known
    ]
    return _said(out, where, foreign)


_ABSOLUTE = re.compile(r"[/\\~]|[A-Za-z]:[/\\]|[A-Za-z][A-Za-z0-9+.-]+:/")
"""How a path begins that is not of the folder of the file that says it: of a machine, a drive, a server."""


def _head(path: str) -> tuple[str, ...]:
    return tuple(path.replace("\\", "/").split("/")[:3])


def notes(keys: Sequence[str | None], base: str, *, where: str) -> list[str]:
    """Return a note, and warn, where files that a table on this disk names lie outside its folder `base`, an absolute path."""
    out = [key for key in keys if key is not None and _beyond(key, base)]
    if not out:
        return []
    text = (
        f"{len(out):,} of the {len(keys):,} names in {where} lead outside its folder, such as {some(out)}; these files are read"
    )
    return [events.warn(text, hint="see that the table is one that you trust", code="outside-names")]


def _beyond(key: str, base: str) -> bool:
    if not os.path.isabs(key) and not key.startswith(".."):  # noqa: PTH117 (once per row)
        return False
    return not os.path.normpath(os.path.join(base, key)).startswith(base.rstrip(os.sep) + os.sep)  # noqa: PTH118
