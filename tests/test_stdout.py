"""A stdout of any encoding: what it has no letters for is written otherwise, and never ends a finished run."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from beholder.cli import run as running
from beholder.cli import show

NAMES = ("Käfer", "🐞", "甲虫", "caf\udce9", "\ud800", "a…b × c – d ≥ 1")


each = pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "cp437", "utf-8"])


@contextmanager
def stdout_in(encoding: str) -> Iterator[io.TextIOWrapper]:
    before, sys.stdout = sys.stdout, io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
    try:
        running._tolerate_any_file_name()
        yield sys.stdout
    finally:
        sys.stdout = before


def written(stream: io.TextIOWrapper) -> bytes:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue()


@each
def test_every_name_is_said(encoding: str) -> None:
    with stdout_in(encoding) as stdout:
        for name in NAMES:
            show.say(name)
        data = written(stdout)
        assert b"caf\xe9" in data, "a name that is no UTF-8 passes byte for byte"
        assert b"\\ud800" in data
        if encoding == "ascii":
            assert data.splitlines()[:3] == [b"K\\xe4fer", b"\\U0001f41e", b"\\u7532\\u866b"]
            assert data.endswith(b"a...b x c - d >= 1\n")


@each
def test_a_table_of_names_is_utf8_unless_a_terminal_reads_it(encoding: str) -> None:
    with stdout_in(encoding) as stdout:
        show.print_csv({"path": name, "label": name, "p": 1.0} for name in NAMES[:3])
        rows = list(csv.reader(io.StringIO(written(stdout).decode("utf-8"))))
        assert [row[0] for row in rows[1:]] == list(NAMES[:3])


@each
def test_tables_for_people_are_said(encoding: str) -> None:
    with stdout_in(encoding) as stdout:
        show.table([{"class": name, "n": 1} for name in NAMES])
        show.pairs({"classes": list(NAMES), "a…": 0.5})
        assert written(stdout).count(b"\n") > len(NAMES)
