"""How results look on stdout: one JSON object, a table, or lines of name and value."""

from __future__ import annotations

import io
import json
import math
import numbers
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from beholder.base import cells


def say(text: object) -> None:
    """Print one result."""
    print(text)


def on_terminal() -> bool:
    """Return True where a person sees stdout at a terminal."""
    return sys.stdout.isatty()


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


def table(rows: Sequence[Mapping[str, object]], *, gap: int = 3) -> None:
    """Print rows that have the same keys as columns, `gap` blanks between; numbers to the right.

    Nothing is wrapped when stdout is not a terminal.
    """
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return
    shown = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold")
    for name, value in rows[0].items():
        number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        shown.add_column(Text(name), justify="right" if number else "left")
    for row in rows:
        shown.add_row(*(Text(_cell(value)) for value in row.values()))
    _draw(shown)


def ended(found: Any) -> None:
    """Print what a run or a search made (an `Outcome` or a `Tuning`): on a terminal its card as a panel, else in lines."""
    outcome = getattr(found, "outcome", found)
    if outcome.tried():
        table(outcome.tried())
        say("")
    if not on_terminal():
        say(found)
        return
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    say(f"test part:\n{outcome.evaluation}\n")
    rows = Table.grid(padding=(0, 2))
    for heading, words in outcome.card.items():
        rows.add_row(Text(heading, "bold"), Text(_printable(words), "bold cyan" if heading == "next" else ""))
    net = f"{outcome.bundle.config.net.name}, {outcome.seconds:.0f} s"
    title = Text(_printable(f"{outcome.path.name}: {net}" if outcome.path is not None else net))
    _draw(Panel(rows, title=title, title_align="left", expand=False, padding=(1, 2)))


def _draw(shown: Any) -> None:
    """Print something of rich; nothing is wrapped when stdout is not a terminal.

    Colours and bold type where stdout is a terminal that has them; never with NO_COLOR or TERM=dumb, with FORCE_COLOR anywhere.
    """
    from rich.console import Console

    console = Console(file=sys.stdout, width=None if on_terminal() else 240, highlight=False)
    if console.no_color:  # rich leaves bold type even then
        console = Console(file=sys.stdout, width=console.width, highlight=False, color_system=None)
    with console.capture() as drawn:
        console.print(shown)
    say("\n".join(line.rstrip() for line in drawn.get().splitlines()))


def _printable(text: str) -> str:
    r"""Return a text with what would steer a terminal (escape, bell, bidirectional marks, …) as escapes.

    >>> print(_printable("a\x1b[31m\u202eb"))
    a\x1b[31m\u202eb
    """
    text = text.replace("\xa0", " ").replace("\u202f", " ")
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return f"{int(value):,}"
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return f"{float(value):.4g}"
    return _printable(str(value))


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


def print_findings(findings: Any, out: object) -> None:
    """Print the checks of an audit that found something, its notes, and where the findings are."""
    found = findings.summary()
    table([row for row in found if row["found"]])
    quiet = [row["check"] for row in found if not row["found"]]
    if quiet:
        say(f"{'nothing else' if len(quiet) < len(found) else 'nothing'} found; looked for: {', '.join(map(str, quiet))}")
    for note in findings.notes:
        say(note)
    say(f"{len(findings):,} findings in {out}")


BLOCK = 64
"""Lines of a table of predictions that are aligned with each other; then the next table begins."""


def print_table(lines: Iterator[dict[str, Any]]) -> tuple[int, int]:
    """Print what is said of pictures as a table; return how many were read and how many were not."""
    read = bad = 0
    while block := list(islice(lines, BLOCK)):
        table([_row(line, block) for line in block])
        bad += sum("error" in line for line in block)
        read += sum("error" not in line for line in block)
    return read, bad


def _row(line: Mapping[str, Any], block: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    """Return a line as a row: the columns that some line of its block has something in."""
    said = {name for other in block for name in other}
    row: dict[str, object] = {
        "path": line["path"],
        "label": line.get("label"),
        "p": f"{line['p']:.3f}" if "p" in line else None,
    }
    if "probabilities" in said:
        others = sorted(line.get("probabilities", {}).items(), key=lambda item: -item[1])
        beside = others[1:] if line.get("label") else others  # of several labels none may reach its threshold
        row["next"] = f"{beside[0][0]} {beside[0][1]:.2f}" if beside else None
    if "set" in said:
        row["set"] = ", ".join(line.get("set", ())) or None
    row |= {name: {True: "yes", False: "no"}.get(line.get(name, "")) for name in ("abstain", "positive") if name in said}
    if "ood" in said:
        row["out-of-distribution"] = "yes" if line.get("ood") else None
    if "error" in said:
        row["error"] = line.get("error", {}).get("message")
    return row


def print_lines(lines: Iterator[dict[str, object]]) -> tuple[int, int]:
    """Print one JSON object a line; return how many pictures were read and how many were not."""
    read = bad = 0
    for line in lines:
        say(json_line(line))
        bad += "error" in line
        read += "error" not in line
    return read, bad


_BEYOND = ("abstain", "positive", "set", "ood", "ood_score", "stranger", "strangeness")


def _word(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def _in_utf8() -> None:
    """Write UTF-8 from now on unless a terminal reads it: a table of names is to be read back, whatever the locale."""
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        sys.stdout.reconfigure(encoding="utf-8")


def csv_rows(rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows that have the same keys as CSV, the keys in the first line."""
    _in_utf8()
    sys.stdout.write(cells.line(rows[0]))
    for row in rows:
        sys.stdout.write(cells.line(row.values()))


def print_csv(lines: Iterator[dict[str, Any]]) -> tuple[int, int]:
    """Print path, label, p, error and what else is said of a picture, a line each; return how many were read and how many not.

    The columns from abstain on are there always, empty where nothing is said; the last two are old names of ood and ood_score.
    """
    read = bad = 0
    _in_utf8()
    sys.stdout.write(cells.line(["path", "label", "p", "error", *_BEYOND]))
    for line in lines:
        error = line.get("error")
        row = {**line, "error": error["code"] if error else "", "set": tuple(line.get("set", ()))}
        sys.stdout.write(cells.line(_word(row.get(name, "")) for name in ("path", "label", "p", "error", *_BEYOND)))
        bad += error is not None
        read += error is None
    return read, bad
