"""The journal of labels and what follows from it: replay, undo, a kill at any byte, other classes, what is no journal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beholder.base.errors import DataError, MachineError, UsageError
from beholder.study.annotations import (
    NONE,
    PERSON,
    PRESORTED,
    SKIPPED,
    UNUSABLE,
    Action,
    Annotations,
    begun,
    continued,
    journal_of,
)

KEYS = [f"{n}.jpg" for n in range(8)]
CLASSES = ("cat", "dog", "owl")
SAMPLE = np.array([True, True] + 6 * [False])


def state(notes: Annotations) -> list[Any]:
    rejected = {row: sorted(held) for row, held in notes.rejected.items() if held}
    return [notes.by.tolist(), notes.label.tolist(), np.nan_to_num(notes.p, nan=-1).round(4).tolist(), rejected]


def plain() -> Annotations:
    return Annotations(KEYS, CLASSES, SAMPLE)


def test_each_action_does_what_it_says() -> None:
    notes = plain()
    notes.take(Action("label", (0, 1), label=2, asked=2, left=(3,)))
    notes.take(Action("reject", (4, 5), asked=0))
    notes.take(Action("skip", (5,), asked=0))
    notes.take(Action("unusable", (6,)))
    notes.take(Action("presort", (2, 7), labels=(0, 1), p=(0.99, 0.5)))
    assert notes.by.tolist() == [PERSON, PERSON, PRESORTED, NONE, NONE, SKIPPED, UNUSABLE, PRESORTED]
    assert notes.label.tolist() == [2, 2, 0, -1, -1, -1, -1, 1]
    assert notes.p[[2, 7]].tolist() == pytest.approx([0.99, 0.5])
    assert notes.rejected == {3: {2}, 4: {0}, 5: {0}}
    assert notes.counts() == [0, 0, 2]
    notes.take(Action("again", (5,)))
    assert notes.by[5] == NONE


def test_what_was_left_is_not_of_the_class_that_was_given() -> None:
    notes = plain()
    notes.take(Action("label", (0,), label=1, asked=2))
    assert notes.rejected == {}
    notes.take(Action("label", (3,), label=1, asked=2, left=(4,)))
    assert notes.rejected == {4: {1}}


def test_undo_goes_back_to_the_beginning() -> None:
    notes = plain()
    seen = [state(notes)]
    actions = [
        Action("label", (0, 1), label=0, asked=0, left=(2,)),
        Action("label", (1,), label=1),  # a second thought
        Action("reject", (2,), asked=0),  # it was rejected before: undo keeps that
        Action("presort", (3,), labels=(2,), p=(0.9,)),
        Action("skip", (4,)),
    ]
    for action in actions:
        notes.take(action)
        seen.append(state(notes))
    for action, before in zip(reversed(actions), reversed(seen[:-1]), strict=True):
        assert notes.undo() == action
        assert state(notes) == before
    assert notes.undo() is None
    assert notes.turn == 2 * len(actions)


@pytest.mark.parametrize(
    "action",
    [
        Action("label", (), label=0),
        Action("label", (0, 0), label=0),
        Action("label", (0,), label=0, left=(0,)),
        Action("label", (8,), label=0),
        Action("label", (-1,), label=0),
        Action("label", (0,), label=3),
        Action("label", (0,)),
        Action("skip", (0,), label=1),
        Action("reject", (0,)),
        Action("burn", (0,)),
    ],
)
def test_what_is_no_action_changes_nothing(action: Action, tmp_path: Path) -> None:
    notes = begun(tmp_path / "a.jsonl", KEYS, CLASSES, SAMPLE)
    before = (tmp_path / "a.jsonl").read_bytes()
    with pytest.raises(UsageError):
        notes.take(action)
    assert (state(notes), notes.turn) == (state(plain()), 0)
    assert (tmp_path / "a.jsonl").read_bytes() == before


rows = st.lists(st.integers(0, 7), min_size=1, max_size=4, unique=True).map(tuple)
deeds = st.one_of(
    st.builds(lambda r, k: Action("label", r, label=k, asked=k, left=tuple(sorted({6, 7} - set(r)))), rows, st.integers(0, 2)),
    st.builds(lambda r, do: Action(do, r), rows, st.sampled_from(["skip", "unusable", "again"])),
    st.builds(lambda r, k: Action("reject", r, asked=k), rows, st.integers(0, 2)),
    st.builds(lambda r: Action("presort", r, labels=tuple(row % 3 for row in r), p=tuple(0.9 for _ in r)), rows),
    st.just("undo"),
)


@given(st.lists(deeds, max_size=8), st.data())
def test_a_kill_at_any_byte_loses_one_action_at_most(
    tmp_path_factory: pytest.TempPathFactory, given_: list[Any], data: Any
) -> None:
    path = tmp_path_factory.mktemp("journal") / "a.jsonl"
    notes = begun(path, KEYS, CLASSES, SAMPLE)
    states, ends = [state(notes)], [path.stat().st_size]
    for action in given_:
        if action == "undo":
            notes.undo()
        else:
            notes.take(action)
        if path.stat().st_size > ends[-1]:
            states.append(state(notes))
            ends.append(path.stat().st_size)
    whole = path.read_bytes()
    cut = data.draw(st.integers(ends[0], len(whole)))
    path.write_bytes(whole[:cut])
    found = continued(path, KEYS, ())
    assert found is not None
    at = max(n for n, end in enumerate(ends) if end <= cut)
    assert state(found) == states[at]
    assert path.stat().st_size == ends[at]  # the torn line is gone, and the next one is whole
    found.take(Action("label", (0,), label=1))
    again = continued(path, KEYS, ())
    assert again is not None
    assert state(again) == state(found)


def test_a_journal_without_a_whole_line_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    assert continued(path, KEYS, CLASSES) is None
    begun(path, KEYS, CLASSES, SAMPLE)
    path.write_bytes(path.read_bytes()[:-1])
    assert continued(path, KEYS, CLASSES) is None


def test_the_sample_stays_and_pictures_may_come_and_go(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    notes = begun(path, ["a\udce9.jpg", *KEYS], CLASSES, np.array([True, *SAMPLE]))
    notes.take(Action("label", (0, 1, 8), label=1, asked=1, left=(2,)))
    later = continued(path, [*KEYS[:-1], "new.jpg"], ())
    assert later is not None
    assert later.sample.tolist() == [True, True, *6 * [False]]
    assert later.label.tolist() == [1, *7 * [-1]]
    assert later.missing == 2
    with pytest.raises(DataError) as refused:
        continued(path, ["other.jpg"], ())
    assert refused.value.code == "other-labels"


def test_classes_may_be_added_and_none_may_go(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    begun(path, KEYS, CLASSES, SAMPLE).take(Action("label", (0,), label=2))
    more = continued(path, KEYS, ("yak", "owl", "dog", "cat"))
    assert more is not None
    assert more.classes[more.label[0]] == "owl"
    with pytest.raises(UsageError, match="cat, dog, owl") as refused:
        continued(path, KEYS, ("cat", "dog"))
    assert (refused.value.code, refused.value.exit_code) == ("other-classes", 2)


@pytest.mark.parametrize(
    "line",
    [b"not json\n", b"[1]\n", b'{"do": "burn"}\n', b'{"do": "label", "pictures": ["0.jpg"], "class": "yak"}\n',
     b'{"do": "undo"}\n', b'{"do": "presort", "pictures": ["0.jpg"]}\n', b"\xff\xfe\n"],
)  # fmt: skip
def test_damage_is_said_with_its_line(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    begun(path, KEYS, CLASSES, SAMPLE)
    path.write_bytes(path.read_bytes() + line)
    with pytest.raises(DataError, match="line 2") as refused:
        continued(path, KEYS, ())
    assert refused.value.code == "bad-journal"


@pytest.mark.parametrize("head", [{}, {"beholder": "label", "version": 2}, {"beholder": "label", "version": 1, "classes": 3}])
def test_what_is_no_journal_of_labels_is_refused(head: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(head) + "\n")
    with pytest.raises(DataError, match="line 1"):
        continued(tmp_path / "a.jsonl", KEYS, ())


def test_a_full_disk_takes_no_action_and_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = begun(tmp_path / "a.jsonl", KEYS, CLASSES, SAMPLE)
    before = (tmp_path / "a.jsonl").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(MachineError) as refused:
            notes.take(Action("label", (0,), label=1))
        assert refused.value.code == "disk-full"
    assert state(notes) == state(plain())
    assert (tmp_path / "a.jsonl").read_bytes() == before


def test_the_journal_lies_beside_a_table_and_a_folder() -> None:
    assert journal_of(Path("x/labels.csv")) == Path("x/labels.actions.jsonl")
    assert journal_of(Path("x/labels")) == Path("x/labels.actions.jsonl")
    assert journal_of(Path("x/v1.2")) == Path("x/v1.2.actions.jsonl")
