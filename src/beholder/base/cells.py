"""CSV cells that no spreadsheet evaluates: what could be a formula is prefixed by an apostrophe, removed on reading.

Source: OWASP, CSV injection. Every CSV that is written goes through `line`; who reads one takes `plain` of its cells.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_FORMULA = re.compile(r"'*\s*[=+\-@＝＋－＠]")
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?([eE][+-]?\d+)?")
_QUOTED = re.compile(r'[,"\r\n]|^\s|\s$|[;\t]\s*[=+\-@＝＋－＠]')


def guarded(text: str) -> str:
    """Return a cell's text so that no spreadsheet takes it for a formula; numbers stay as they are.

    >>> guarded("=1+1"), guarded("-1.5"), guarded("'=1"), guarded("rust")
    ("'=1+1", '-1.5', "''=1", 'rust')
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def plain(cell: str) -> str:
    """Return the text that `guarded` made a cell of.

    >>> plain("'=1+1"), plain("'rust"), plain("''=1")
    ('=1+1', "'rust", "'=1")
    """
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def line(values: Iterable[object]) -> str:
    """Return a line of CSV with its end. Text is guarded; it is quoted where a comma could end it, and where a semicolon could.

    A semicolon divides cells where the comma is the decimal point, so what follows one could be a formula too. Several labels
    (a tuple or list) become one cell, divided by semicolons; each is guarded by itself, for each is read back by itself.

    >>> print(line(["=1;2", 0.5, "a, b", True, None]), end="")
    "'=1;2",0.5,"a, b",True,
    """
    return ",".join(map(_cell, values)) + "\n"


def _cell(value: object) -> str:
    if isinstance(value, (tuple, list)):
        text = ";".join(map(guarded, value))
    else:
        text = guarded(value) if isinstance(value, str) else "" if value is None else str(value)
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text
