"""docs/PEERS.md: what it says shows our column exists, and its tables are whole."""

from __future__ import annotations

import itertools
import re
import shlex
import sys
from pathlib import Path

import pytest

from beholder.base.recipe import Recipe
from beholder.evaluation.sections import SECTIONS
from beholder.quality.checks import CHECKS
from beholder.runtime.exports import EXPORTS

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from docs import tables  # noqa: E402

PAGE = ROOT / "docs" / "PEERS.md"
NAMED = {"--check": CHECKS, "--sections": SECTIONS, "--to": EXPORTS}
PEERS = ("fastai", "AutoGluon", "Ultralytics", "timm", "Keras", "Ludwig", "cleanlab", "FiftyOne", "LitServe")


def rows_of(text: str) -> list[list[str]]:
    """The cells of every row under a header that has "shown by", the header itself first."""
    found: list[list[str]] = []
    for block in re.split(r"\n\n+", text):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines() if line.startswith("|")]
        if rows and "shown by" in rows[0]:
            assert {len(row) for row in rows} == {len(rows[0])}, rows[0]
            found += [rows[0], *rows[2:]]
    return found


ROWS = rows_of(PAGE.read_text("utf-8"))
SHOWN = [row[2] for row in ROWS if row[0] != "feature"]


def exists(shown: str) -> None:
    """Fail unless `shown`, a command, a target of make or a file, is one that there is."""
    words = shlex.split(shown)
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE), shown
    elif words[0] != "beholder":
        assert len(words) == 1, shown
        assert (ROOT / shown).is_file(), shown
    elif words[1:] not in (["--help"], ["--show-completion", "bash"]):
        command = tables.commands()[words[1]]
        if words[2:] != ["--help"]:
            with command.make_context(words[1], list(words[2:])):  # refuses unknown options, missing arguments, wrong types
                pass  # and closes the file of --log
        pairs = list(itertools.pairwise(words))
        assert all(name in NAMED[option] for option, name in pairs if option in NAMED), shown
        Recipe().override([value for option, value in pairs if option == "--set"])


@pytest.mark.parametrize("shown", sorted(set(SHOWN)))
def test_what_shows_our_column_exists(shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # --log writes there
    assert re.fullmatch(r"`[^`]+`", shown)
    exists(shown.strip("`"))


@pytest.mark.parametrize(
    "shown",
    [
        "make nothing",
        "bench/nothing.py",
        "beholder nothing",
        "beholder train leaves/ --nothing",
        "beholder train leaves/ --minutes ten",
        "beholder train",
        "beholder audit leaves/ --check nothing",
        "beholder train leaves/ --set net.nothing=1",
    ],
)
def test_what_does_not_exist_is_found(shown: str) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011  (each in its own way: KeyError, a click error, UsageError, AssertionError)
        exists(shown)


def test_every_row_has_a_cell_for_every_peer() -> None:
    headers = [row for row in ROWS if row[0] == "feature"]
    assert [name for row in headers for name in row[3:]] == list(PEERS)
    assert len(SHOWN) > 60
    assert all(cell and cell != "not checked" for row in ROWS for cell in row)


def test_versions_and_the_licence_that_matters_are_said() -> None:
    text = PAGE.read_text("utf-8")
    table = text.partition("\n\n| program |")[2].partition("\n\n")[0]
    assert [line.split("|")[1].strip() for line in table.splitlines()[2:]] == list(PEERS)
    assert all(re.search(r"\d+\.\d+\.\d+", line.split("|")[2]) for line in table.splitlines()[2:])
    assert re.search(r"\| Ultralytics \| [\d.]+ \| \*\*AGPL-3\.0\*\*", table)
