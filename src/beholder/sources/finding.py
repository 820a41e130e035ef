"""Which file of a source a table or an annotation means, where the name it gives is not quite the name that is there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence

from beholder.base import events
from beholder.base.names import composed
from beholder.sources import parts
from beholder.sources.listing import is_picture, some


class Finder:
    """The pictures of a source by name; names are compared in one Unicode form, and by case only where case alone decides."""

    def __init__(self, names: Iterable[str]) -> None:
        self._exact: dict[str, str] = {}
        self._ends: dict[str, list[str]] = {}
        for name in names:
            if is_picture(name):
                self._exact.setdefault(composed(name), name)
                base = composed(name.rpartition("/")[2]).casefold()
                self._ends.setdefault(base, []).append(name)
                self._ends.setdefault(base.rpartition(".")[0], []).append(name)

    def at(self, path: str) -> str | None:
        """Return the picture at just this path, or None."""
        return self._exact.get(composed(path))

    def one(self, path: str, *, part: int = -1) -> str | None:
        """Return the one picture whose path ends in `path`, or None.

        The ending may be left out, or be of another case, as the whole may; of several the one in a folder of `part` is taken.
        """
        tail = re.sub(r"^(\.\./)+|^/+", "", composed(path))
        near = self._ends.get(tail.rpartition("/")[2].casefold(), [])
        return _only([name for name in near if _ends(composed(name), tail)], part) or _only(
            [name for name in near if _ends(composed(name).casefold(), tail.casefold())], part
        )

    def under(self, path: str) -> str | None:
        """Return the one picture at this path but for its ending, which the path lacks, or None."""
        wanted = composed(path)
        near = self._ends.get(wanted.rpartition("/")[2].casefold(), [])
        return _only([name for name in near if composed(name).rpartition(".")[0] == wanted], -1)

    def stem(self, path: str, *, part: int = -1) -> str | None:
        """Return the one picture whose path ends in `path` but for what follows the last dot, or None."""
        return self.one(path.rpartition(".")[0], part=part) if is_picture(path) else None


def _ends(name: str, tail: str) -> bool:
    return f"/{name}".endswith(f"/{tail}") or ("/" + name.rpartition(".")[0]).endswith(f"/{tail}")


def _only(near: Sequence[str], part: int) -> str | None:
    if len(near) > 1 and part >= 0:
        near = [name for name in near if parts.in_part(name.rpartition("/")[0]) == part]
    return near[0] if len(near) == 1 else None


def found(
    paths: Sequence[str], keys: Sequence[str | None], names: Iterable[str], *, above: str = "", part: int = -1, where: str = ""
) -> tuple[list[str | None], list[str]]:
    """Return the key of each path of a table, None where there is no such picture, and what was found otherwise, in sentences.

    keys: those that are known already; above: the table's folder, "" or "a/b/"; part: index into `PARTS` that the table is of.
    """
    finder = Finder(names)
    filled = [
        (finder.at(os.path.normpath(above + path)) or finder.one(path, part=part)) if key is None and path else key
        for path, key in zip(paths, keys, strict=True)
    ]
    notes = _case_notes(paths, filled, where)
    for way in (_stripped, _stems):
        if None in filled:
            filled, more = way(finder, paths, filled, part, where)
            notes += more
    return filled, notes


def _case_notes(paths: Sequence[str], keys: Sequence[str | None], where: str) -> list[str]:
    """Say of which paths the case differs from that of the files."""
    odd = [path for path, key in zip(paths, keys, strict=True) if key and not _same(composed(path), composed(key))]
    return [f"{len(odd):,} names in {where} differ from those of the files in case: {some(odd)}"] if odd else []


def _same(path: str, key: str) -> bool:
    base = key.rpartition("/")[2]
    return path.rpartition("/")[2] in (base, base.rpartition(".")[0])


def _stripped(
    finder: Finder, paths: Sequence[str], keys: Sequence[str | None], part: int, where: str
) -> tuple[list[str | None], list[str]]:
    """Find paths of another machine: what all of them begin with is not here, and what follows it is.

    The beginning may not name another part than the file that is found lies in: test/1.jpg is not train/1.jpg.
    """
    missing = [i for i, key in enumerate(keys) if key is None and paths[i]]
    common = _common(paths)
    for n in range(1, len(common) + 1):
        said = parts.in_part("/".join(common[:n]))
        wanted = said if said >= 0 else part
        hits = {i: finder.one("/".join(_folders(paths[i])[n:]), part=wanted) for i in missing}
        hits = {i: key for i, key in hits.items() if key and (said < 0 or parts.in_part(key.rpartition("/")[0]) in (said, -1))}
        if hits:
            text = f"{len(hits):,} paths in {where} begin with {'/'.join(common[:n])}, which is not here: "
            text += f"the pictures are found by what follows it, such as {hits[next(iter(hits))]}"
            note = events.warn(text, hint="check that these are the pictures that are meant", code="moved-files")
            return [hits.get(i) or key for i, key in enumerate(keys)], [note]
    return list(keys), []


def _folders(path: str) -> list[str]:
    return path.split("/")


def _common(paths: Sequence[str]) -> list[str]:
    """Return the folders that all paths begin with."""
    named = [path for path in paths if path]
    if not named:
        return []
    low, high = _folders(min(named))[:-1], _folders(max(named))[:-1]
    n = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))
    return low[:n]


def _stems(
    finder: Finder, paths: Sequence[str], keys: Sequence[str | None], part: int, where: str
) -> tuple[list[str | None], list[str]]:
    """Find pictures that have another ending than the table says: they were converted after it was written."""
    hits = {i: finder.stem(paths[i], part=part) for i, key in enumerate(keys) if key is None and paths[i]}
    hits = {i: key for i, key in hits.items() if key}
    if not hits:
        return list(keys), []
    text = f"{len(hits):,} pictures have another ending than {where} says, such as {next(iter(hits.values()))}"
    events.warn(text, hint="check that these are the pictures that are meant", code="other-ending")
    return [hits.get(i) or key for i, key in enumerate(keys)], [text]
