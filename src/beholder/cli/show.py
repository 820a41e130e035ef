"""How results look on stdout: one JSON object, a table, or lines of name and value."""

from __future__ import annotations

import csv
import json
import math
import numbers
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any


def say(text: object) -> None:
    """Print one result."""
    print(text)


def json_line(value: object) -> str:
    """Return `value` as JSON on one line; numbers that are not finite become null, as JSON has none."""
    return json.dumps(_plain(value), allow_nan=False)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value) if math.isfinite(value) else None
    return str(value)


def table(rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows that have the same keys as columns; numbers to the right, nothing wrapped when stdout is not a terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return
    shown = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for name, value in rows[0].items():
        number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        shown.add_column(Text(name), justify="right" if number else "left")
    for row in rows:
        shown.add_row(*(Text(_cell(value)) for value in row.values()))
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 240, highlight=False)
    with console.capture() as drawn:
        console.print(shown)
    say("\n".join(line.rstrip() for line in drawn.get().splitlines()))


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return f"{int(value):,}"
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return f"{float(value):.4g}"
    return str(value)


def pairs(values: Mapping[str, object]) -> None:
    """Print names and values, one a line, those of an inner mapping indented below its name."""
    width = max((len(name) for name, _ in _flat(values)), default=0)
    for name, value in _flat(values):
        say(f"{name:<{width}}  {_cell(value)}".rstrip())


def _flat(values: Mapping[str, object], *, indent: str = "") -> Iterable[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield indent + name, ""
            yield from _flat(value, indent=indent + "  ")
        elif isinstance(value, (list, tuple)):
            yield indent + name, ", ".join(str(inner) for inner in value)
        else:
            yield indent + name, value


def print_lines(lines: Iterator[dict[str, object]]) -> tuple[int, int]:
    """Print one JSON object a line; return how many pictures were read and how many were not."""
    read = bad = 0
    for line in lines:
        say(json_line(line))
        bad += "error" in line
        read += "error" not in line
    return read, bad


_BEYOND = ("abstain", "positive", "set", "stranger", "strangeness")


def _word(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def print_csv(lines: Iterator[dict[str, Any]]) -> tuple[int, int]:
    """Print path, label, p, error and what else is said of a picture, a line each; return how many were read and how many not.

    The columns of abstain, positive, set, stranger and strangeness are there always, empty where nothing is said.
    """
    read = bad = 0
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["path", "label", "p", "error", *_BEYOND])
    for line in lines:
        error = line.get("error")
        row = {**line, "error": error["code"] if error else "", "set": ";".join(line.get("set", ()))}
        writer.writerow([_word(row.get(name, "")) for name in ("path", "label", "p", "error", *_BEYOND)])
        bad += error is not None
        read += error is None
    return read, bad
