"""Several labels in one cell: divided or warned of, never one class for each combination unsaid."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from beholder.base import events
from beholder.base.records import Pictures
from beholder.sources import scan


def read(root: Path, cells: list[str], header: str = "path,label") -> tuple[Pictures, list[str]]:
    for i in range(len(cells)):
        (root / f"{i}.jpg").touch()
    (root / "t.csv").write_text("\n".join([header, *(f'{i}.jpg,"{cell}"' for i, cell in enumerate(cells))]))
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        pictures = scan(root / "t.csv")
    return pictures, [str(event.fields["code"]) for event in said if event.kind == "warn"]


FINDINGS = ["Effusion", "Mass", "Nodule", "Hernia"]
COMBINED = [row for n in (1, 2, 3) for row in itertools.combinations(FINDINGS, n)] * 3


@pytest.mark.parametrize("mark", ["|", ";", ",", " | ", ", ", "; ", " ", "/", "+", " & "])
def test_combinations(tmp_path: Path, mark: str) -> None:
    pictures, _ = read(tmp_path, [mark.join(row) for row in COMBINED])
    if pictures.multi:
        assert set(pictures.classes) == set(FINDINGS)
        assert [set(pictures.labels(i)) for i in range(len(COMBINED))] == [set(row) for row in COMBINED]
        assert any("labels in one cell of" in note for note in pictures.notes)
    else:
        assert any("look like several" in note for note in pictures.notes)


@pytest.mark.parametrize("form", ["['{}']", "[{}]", "({})"])
def test_lists_as_python_and_json_write_them(tmp_path: Path, form: str) -> None:
    mark = "', '" if "'" in form else ", "
    pictures, _ = read(tmp_path, [form.format(mark.join(row)) for row in COMBINED])
    assert set(pictures.classes) == set(FINDINGS)
    assert pictures.targets.sum() == sum(map(len, COMBINED))


def test_numbers_with_blanks_between(tmp_path: Path) -> None:
    pictures, said = read(tmp_path, ["16 0", "7", "0", "16", "7 0", "0"])
    assert pictures.classes == ("0", "7", "16")
    assert said == ["divided-labels"]


def test_few_words_that_recur_are_warned_of(tmp_path: Path) -> None:
    pictures, said = read(tmp_path, ["rust", "scab", "rust scab", "healthy"])
    assert pictures.classes == ("healthy", "rust", "rust scab", "scab")
    assert said == ["several-labels"]


@pytest.mark.parametrize(
    "cells",
    [
        ["big dog", "small dog", "big cat", "small cat"],
        ["Paris, France", "Rome, Italy"],
        ["n/a b", "c"],
        ["a & b", "c"],
        ["R&B", "pop"],
    ],
)
def test_names_with_such_signs_stay_whole(tmp_path: Path, cells: list[str]) -> None:
    pictures, said = read(tmp_path, cells)
    assert set(pictures.classes) == set(cells)
    assert said == []


def test_one_row_of_many_with_two_labels_is_said(tmp_path: Path) -> None:
    pictures, said = read(tmp_path, [*["cat", "dog"] * 20, "cat;dog"])
    assert pictures.multi
    assert said == ["few-several"]
    assert "1 of the 41 pictures has several labels or none (40.jpg), the others one each" in " ".join(pictures.notes)


def test_which_column_was_taken_is_said(tmp_path: Path) -> None:
    for i in range(4):
        (tmp_path / f"{i}.jpg").touch()
    rows = [f"{i}.jpg,{i % 2},{'cat' if i % 2 else 'dog'}" for i in range(4)]
    (tmp_path / "t.csv").write_text("\n".join(["image,label,label_name", *rows]))
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        pictures = scan(tmp_path / "t.csv")
    assert pictures.classes == ("0", "1")
    assert [event.message for event in said] == ["labels are those of the column label; not used: label_name"]
    assert said[0].message in pictures.notes
