"""What a spreadsheet would run is guarded in every CSV, and read back unchanged."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from beholder.base.cells import guarded, line, plain
from beholder.base.records import Finding
from beholder.cli.show import print_csv
from beholder.quality import audit, clean
from beholder.sources import scan, table

FORMULAS = ("=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", " =1", "＝1+1", "=cmd|' /C calc'!A0", "-1+cmd|x")


def cells_of(text: str) -> list[str]:
    (row,) = csv.reader(io.StringIO(text, newline=""))
    return row


@given(st.text(alphabet=st.characters(codec="utf-8")))
@example("'=1")
@example("''=1")
@example("-5")
@example("'-5")
@example("'rust")
@example('a,"b"\r\nc')
def test_text_is_read_back_unchanged(text: str) -> None:
    assert plain(guarded(text)) == text
    assert [plain(cell) for cell in cells_of(line([text, "x", text]))] == [text, "x", text]


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_begin_with_an_apostrophe(text: str) -> None:
    assert guarded(text) == "'" + text
    assert line([text]).lstrip('"').startswith("'")


def test_numbers_stay_numbers_and_a_semicolon_begins_no_cell() -> None:
    assert line([-0.5, "-0.5", "1e-3", 3, None, True]) == "-0.5,-0.5,1e-3,3,,True\n"
    assert line(["a;=1"]) == '"a;=1"\n'
    assert line([["=1", "b", "-x"]]) == "'=1;b;'-x\n"


def test_audit_csv_keeps_names_that_are_formulas(tmp_path: Path) -> None:
    rows = [Finding(f"{text}.png", "label", 0.5, text, f"relabel:{text.strip()}", text, "drop") for text in FORMULAS]
    path = tmp_path / "audit.csv"
    path.write_text(",".join(audit.COLUMNS) + "\n" + "".join(audit.line(row) for row in rows), "utf-8", newline="")
    with path.open(newline="", encoding="utf-8") as file:
        assert all(cell[:1] not in "=+@" for cells in csv.reader(file) for cell in cells if cell)
    assert audit.read(path) == rows


def test_a_cleaned_table_keeps_names_and_labels_that_are_formulas(tmp_path: Path) -> None:
    for k, label in enumerate(("=1+1", "+cat", "-dog", "'@x")):
        for i in range(4):
            file = tmp_path / "set" / label / f"={i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((8, 8), 20 * k + i, np.uint8)).save(file)
    findings = audit.Findings(scan(tmp_path / "set"), (), {})
    (tmp_path / "audit.csv").write_text(findings.csv(), "utf-8")
    done = clean.clean(tmp_path / "set", apply=tmp_path / "audit.csv", out=tmp_path / "set.csv")
    text = Path(done.out).read_text("utf-8")
    assert not any(cell[:1] in "=+@-" for cells in csv.reader(io.StringIO(text)) for cell in cells)
    again = scan(done.out)
    assert again.classes == scan(tmp_path / "set").classes
    assert len(again) == 16


def test_a_table_with_several_labels_in_a_cell_is_read_back() -> None:
    text = "path,label\n" + line(["=a.png", ["=x", "'=y", "z"]])
    (row,) = table.parse(text.encode(), "t.csv", where="t.csv")
    assert (row.path, row.labels) == ("=a.png", ("=x", "'=y", "z"))


def test_predictions_as_csv_are_guarded(capsys: pytest.CaptureFixture[str]) -> None:
    def lines() -> Iterator[dict[str, object]]:
        yield {"path": "=x.png", "label": "=cmd", "p": 0.5, "set": ["=cmd", "+b"], "strangeness": -1.5}

    assert print_csv(lines()) == (1, 0)
    head, row = csv.reader(io.StringIO(capsys.readouterr().out))
    found = dict(zip(head, row, strict=True))
    assert (found["path"], found["label"], found["set"], found["p"]) == ("'=x.png", "'=cmd", "'=cmd;'+b", "0.5")
    assert found[next(name for name in head if name.endswith(("strangeness", "ood_score")))] in ("-1.5", "")
    json.dumps(found)
