"""What a label is, and when there is none: one rule for every source.

None, NaN and empty text are no labels. -1 is none where the other labels count up from 0, as 0, 1, 2 do. Text such as "nan",
which programs write where they had no label, is none where all other labels are numbers, and is warned of elsewhere. Of -1
and 0 alone, -1 is a class.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from beholder.base import events
from beholder.base.names import composed, readable

_WORDS = frozenset({"nan", "null", "<na>", "nat", "none", "na", "n/a", "#n/a"})
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_BYTES = re.compile(r"b(['\"])(.*)\1", re.DOTALL)


def text(value: object) -> str:
    """Return one label as text, "" for none: bytes are decoded, whole floats lose their ".0".

    >>> text(b"cat"), text(2.0), text(float("nan")), text(None)
    ('cat', '2', '', '')
    """
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, bytes):
        value = readable(value.decode("utf-8", "surrogateescape"))
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value):
        return ""
    return composed(str(value).rstrip("\0").strip())


def cell(value: object) -> str:
    """Return a value of a typed table as the text of a cell; of a list, its labels with ";" between them."""
    return ";".join(map(cell, value)) if isinstance(value, (list, tuple)) else text(value)


@dataclass(frozen=True)
class Reading:
    """How the labels of a source are read. names: label → class, "" = none; notes: what was decided, in sentences."""

    names: dict[str, str]
    notes: tuple[str, ...]


def read(counts: Mapping[str, int], *, where: str) -> Reading:
    """Return how the labels of a whole source are read, and warn of what was decided in doubt.

    counts: label as `text` gives it → how many pictures carry it
    """
    names = {label: composed(readable(label)) for label in counts}
    notes = _unbytes(names) + _forms(names)
    known = [name for name in names.values() if name]
    numbers = [name for name in known if _NUMBER.fullmatch(name)]
    odd = [label for label, name in names.items() if name.lower() in _WORDS]
    if odd:
        notes.append(_of_words(names, odd, counts, where, numbers=len(numbers) >= 2 and len(numbers) + len(odd) == len(known)))
    if numbers and len(numbers) == sum(bool(name) for name in names.values()):
        _whole(names)
    minus = [label for label, name in names.items() if name == "-1"]
    if minus:
        notes.append(_of_minus(names, minus, counts, where))
    return Reading(names, tuple(notes))


def _unbytes(names: dict[str, str]) -> list[str]:
    """Turn b'cat', as Python writes bytes, into cat where every label is written so."""
    found = {label: _BYTES.fullmatch(name) for label, name in names.items() if name and name.lower() not in _WORDS}
    if not found or not all(found.values()):
        return []
    for label in found:
        try:
            names[label] = text(ast.literal_eval(names[label]))
        except (ValueError, SyntaxError):  # no such text as Python writes
            names[label] = composed(names[label][2:-1])
    return ["labels written as Python writes bytes, such as b'cat', are read without the b and the quotes"]


def _forms(names: dict[str, str]) -> list[str]:
    """Say which labels are one class although they are written in two Unicode forms."""
    several: dict[str, int] = {}
    for label, name in names.items():
        several[name] = several.get(name, 0) + (label != "")
    return [f"'{name}' is written in {n} Unicode forms and is one class" for name, n in several.items() if n > 1]


def _whole(names: dict[str, str]) -> None:
    """Take 1.0 and 1e+00 for 1 where all labels are whole numbers: columns with a gap are written as floats, others are not."""
    short = {label: _short(name) for label, name in names.items()}
    if all(re.fullmatch(r"-?\d+", name) for name in short.values() if name):
        names.update(short)


def _short(name: str) -> str:
    """Return a whole number that is written as a float, as numpy.savetxt does too, without what follows its point."""
    if not re.search(r"[.e]", name, re.IGNORECASE) or not float(name).is_integer() or abs(float(name)) > 1e15:
        return name
    return str(int(float(name)))


def _of_words(names: dict[str, str], odd: list[str], counts: Mapping[str, int], where: str, *, numbers: bool) -> str:
    """Decide about text such as "nan": none where the other labels are numbers, else a class that is warned of."""
    n, words = sum(counts[label] for label in odd), ", ".join(f"'{names[label]}'" for label in odd)
    if numbers:
        names.update(dict.fromkeys(odd, ""))
        note = f"{n:,} labels of {where} are {words}, where all others are numbers: taken for no label"
    else:
        note = f"{n:,} labels of {where} are {words}, which programs write for no label: taken for a class all the same"
    events.warn(note, hint="leave the label empty where there is none; give a class another name", code="nan-label")
    return note


def _of_minus(names: dict[str, str], minus: list[str], counts: Mapping[str, int], where: str) -> str:
    n = sum(counts[label] for label in minus)
    rest = {name for name in names.values() if name not in ("", "-1")}
    none = rest != {"0"} and rest <= {str(number) for number in range(len(rest))}
    if none:
        names.update(dict.fromkeys(minus, ""))
    why = "there is one other only" if len(rest) == 1 else "the other labels do not count up from 0"
    says = "no label, for the others count up from 0" if none else f"a class, for {why}"
    note = f"{n:,} labels of {where} are -1: taken for {says}"
    events.warn(note, hint="if that is wrong, give the classes names, or leave the label empty", code="minus-one")
    return note
