from __future__ import annotations

import io
from pathlib import Path

import pytest

from beholder.base import events
from beholder.base.errors import DataError
from beholder.base.recipe import load
from beholder.base.sinks import Console
from beholder.cli.run import run
from beholder.sources import scan
from beholder.study.examine import audit
from beholder.study.introduce import SHOWN, counted, introduced
from beholder.study.steps import steps


def put(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def test_classes_and_counts_as_a_table(tmp_path: Path) -> None:
    put(tmp_path, "train/cat/1.png", "train/cat/2.png", "train/dog/1.png", "test/dog/1.png")
    stream = io.StringIO()
    with events.listen(Console(stream), alone=True):
        introduced(tmp_path)
    assert stream.getvalue().splitlines() == [
        "4 pictures in 2 classes (one label a picture)",
        "  class   pictures   train   test",
        "  cat            2       2      0",
        "  dog            2       1      1",
    ]


def test_what_was_warned_of_is_not_said_twice(tmp_path: Path) -> None:
    put(tmp_path, "animal/cat/1.png", "plant/rose/1.png", "notes.txt")
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        pictures = introduced(tmp_path)
    assert [event.kind for event in said] == ["warn", "note", "note"]
    assert {event.message for event in said[:2]} == set(pictures.notes)
    assert said[2].fields["table"] == [{"class": "animal", "pictures": 1}, {"class": "plant", "pictures": 1}]


def test_of_many_classes_the_largest_and_the_smallest(tmp_path: Path) -> None:
    put(tmp_path, *(f"{k}/{i}.png" for k in range(30) for i in range(k + 1)))
    rows = counted(scan(tmp_path))
    assert [row["class"] for row in rows] == [*map(str, range(29, 29 - SHOWN + 4, -1)), "… 18 more", "3", "2", "1", "0"]
    assert [row["pictures"] for row in rows][-1] == 1


def test_the_audit_and_its_json_say_it_too(leaves: Path) -> None:
    put(leaves, "notes.txt")
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        findings = audit(leaves, checks=["extension"])
    assert any(event.fields.get("table") for event in said)
    assert findings.json()["counts"] == {"healthy": 12, "mildew": 12, "rust": 12}
    assert "1 files that are no pictures were ignored" in findings.json()["notes"]


@pytest.mark.parametrize("each", [1, 2])
@pytest.mark.parametrize("classes", [2, 5])
def test_too_few_pictures_say_how_many_are_needed(tmp_path: Path, each: int, classes: int) -> None:
    from PIL import Image

    for k in range(classes):
        for i in range(each):
            (tmp_path / str(k)).mkdir(exist_ok=True)
            Image.effect_noise((40, 40), 20 + 9 * k + i).save(tmp_path / str(k) / f"{i}.png")
    with events.listen(alone=True), pytest.raises(DataError) as caught:
        steps(tmp_path, recipe=load("quick").set(net="cnn", epochs=1))
    assert caught.value.code in ("too-few-pictures", "one-class")
    assert "three" in caught.value.hint


def test_the_command_line_says_it_on_stderr(leaves: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", str(leaves), "--out", str(tmp_path / "a.csv"), "--check", "extension"]) == 0
    assert "  healthy         12" in capsys.readouterr().err
