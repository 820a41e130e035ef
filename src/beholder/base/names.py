"""Many names in few bytes, for sources of millions of pictures."""

from __future__ import annotations

import bisect
import itertools
import unicodedata
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np

from beholder.base.arrays import I64, Integer

_CHUNK = 4096


class Names(Sequence[str]):
    """An unchangeable sequence of names: their UTF-8 one after another, and where each ends.

    A name takes eight bytes beside its letters; a `str` in a list takes some sixty.
    Bytes that are no UTF-8 (`surrogateescape`) come back as they went in.

    >>> Names.of(["a/1.png", "b/2.png"])[-1]
    'b/2.png'
    """

    def __init__(self, text: bytes, ends: I64) -> None:
        """text: the names' bytes; ends: int64 (N + 1,), the first is 0."""
        self._text = text
        self._ends = ends
        self._next = 0

    @classmethod
    def of(cls, names: Iterable[str]) -> Names:
        """Return the names, in the order given."""
        if isinstance(names, Names):
            return names
        text, ends = bytearray(), array("q", [0])
        for name in names:
            text += _encoded(name)
            ends.append(len(text))
        return cls(bytes(text), np.frombuffer(ends, np.int64))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Names: ...
    def __getitem__(self, index: int | slice) -> str | Names:
        if isinstance(index, slice):
            return self.take(np.arange(*index.indices(len(self))))
        n = len(self)
        if not -n <= index < n:
            raise IndexError(f"{index} of {n} names")
        index %= n
        return self._text[self._ends[index] : self._ends[index + 1]].decode("utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _CHUNK):
            ends = self._ends[start : start + _CHUNK + 1].tolist()
            for a, b in itertools.pairwise(ends):
                yield self._text[a:b].decode("utf-8", "surrogateescape")

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Names):
            return self._text == other._text and np.array_equal(self._ends, other._ends)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return f"<{len(self):,} names>"

    @property
    def nbytes(self) -> int:
        """Return the bytes held."""
        return len(self._text) + self._ends.nbytes

    def place(self, name: str) -> int:
        """Return where a name is, -1 if it is not there; the names must be sorted."""
        at = self._next  # most ask for one after the other
        if not (at < len(self) and self[at] == name):
            at = bisect.bisect_left(self, name)
            if at == len(self) or self[at] != name:
                return -1
        self._next = at + 1
        return at

    def take(self, indices: Integer) -> Names:
        """Return the names at `indices` (int (M,)), in that order."""
        rows = np.asarray(indices, np.int64)
        ends = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(self._ends[rows + 1] - self._ends[rows], out=ends[1:])
        text = bytearray()
        for start in range(0, len(rows), _CHUNK):
            some = rows[start : start + _CHUNK]
            spans = zip(self._ends[some].tolist(), self._ends[some + 1].tolist(), strict=True)
            text += b"".join([self._text[a:b] for a, b in spans])
        return Names(bytes(text), ends)


def composed(name: str) -> str:
    r"""Return a name in the Unicode form NFC, in which names are compared: systems write "ü" as one sign or as two.

    >>> composed("u\u0308")
    'ü'
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _encoded(name: str) -> bytes:
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # no file is called so
        return readable(name).encode()


def position(name: str, names: Sequence[str]) -> int:
    """Return where a name is among others, compared in one Unicode form; -1 if it is not there."""
    if name in names:
        return names.index(name)
    wanted = composed(name)
    return next((k for k, other in enumerate(names) if composed(other) == wanted), -1)


def readable(name: str) -> str:
    r"""Return a name as text that can be written: one that is no UTF-8 is taken for Windows-1252, else for Latin-1.

    Halves of characters that no bytes stand for, as JSON may hold them, are written out.

    >>> readable("caf\udce9")
    'café'
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        try:
            raw = name.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            return name.encode("utf-8", "backslashreplace").decode()
        try:
            return raw.decode("cp1252")
        except UnicodeDecodeError:
            return raw.decode("latin-1")
    return name
