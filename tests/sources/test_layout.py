"""Names of parts are never classes, whatever their spelling and depth; which level gives the labels is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from beholder.base import events
from beholder.base.errors import DataError
from beholder.base.records import Pictures
from beholder.sources import parts, scan


def put(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def read(root: Path) -> tuple[Pictures, list[str]]:
    """The pictures, and what was warned of before anything is trained."""
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        pictures = scan(root)
    return pictures, [event.message for event in said if event.kind == "warn"]


def split(pictures: Pictures) -> dict[str, int]:
    return dict(zip(pictures.keys, pictures.parts.tolist(), strict=True))


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *((name, 0) for name in ("train", "training", "TRAIN", "Train_Set", "trainset", "01-train", "TrainingData")),
        ("train2017", 0),
        *((name, 1) for name in ("val", "valid", "validation", "dev", "VAL", "val_set", "ValidationImages", "dev-data")),
        *((name, 2) for name in ("test", "testing", "holdout", "hold_out", "hold-out set", "TESTSET", "test images", "eval")),
        *((name, None) for name in ("trainer", "train station", "contest", "latest", "valid_id", "cat", "invalid", "2017")),
        ("trainval", 0), ("train_val", 0), ("train test", None), ("训练集", 0), ("测试集", 2),
    ],
)  # fmt: skip
def test_spellings(name: str, part: int | None) -> None:
    assert parts.part_of(name) == part


SPELLINGS = [
    ("training_set", "test_set"), ("TRAIN", "HOLDOUT"), ("Training", "Testing"), ("train-images", "test-images"),
    ("seg_train", "seg_test"), ("mnist_train", "mnist_holdout"), ("dataset_training", "dataset_testing"),
]  # fmt: skip


@pytest.mark.parametrize(("first", "last"), SPELLINGS)
@pytest.mark.parametrize("form", ["{part}/{label}", "a/b/{part}/{label}", "images/{part}/{label}", "{part}/images/{label}",
                                  "{part}/{part}/{label}", "{label}/{part}", "set/{label}/{part}"])  # fmt: skip
def test_parts_of_any_spelling_at_any_depth(tmp_path: Path, first: str, last: str, form: str) -> None:
    for part in (first, last):
        for label in ("cat", "dog"):
            put(tmp_path / form.format(part=part, label=label), f"{part}1.jpg", f"{part}2.jpg")
    pictures, said = read(tmp_path)
    assert pictures.classes == ("cat", "dog")
    assert sorted(pictures.parts.tolist()) == [0, 0, 0, 0, 2, 2, 2, 2]
    assert all(part == (0 if f"{first}1" in key or f"{first}2" in key else 2) for key, part in split(pictures).items())
    assert said == []


@pytest.mark.parametrize(("first", "last"), [*SPELLINGS, ("train", "val"), ("train2017", "val2017")])
@pytest.mark.parametrize("form", ["{part}", "a/{part}", "images/{part}", "{part}/images"])
def test_parts_without_classes_have_no_labels(tmp_path: Path, first: str, last: str, form: str) -> None:
    for part in (first, last):
        put(tmp_path / form.format(part=part), "1.jpg", "2.jpg")
        put(tmp_path / form.format(part=part).replace("images", "labels"), *["1.txt", "2.txt"] * ("images" in form))
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert caught.value.code == "no-labels"
    assert ("YOLO" in caught.value.hint) == ("images" in form)


def test_a_part_without_classes_beside_one_with(tmp_path: Path) -> None:
    put(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg", "test/1.jpg", "test/2.jpg")
    pictures, _ = read(tmp_path)
    assert pictures.classes == ("cat", "dog")
    assert pictures.parts.tolist() == [0, 0]
    assert "2 pictures of test lie in no class folder and were ignored" in pictures.notes


def test_a_class_that_is_named_as_a_part_is_said(tmp_path: Path) -> None:
    put(tmp_path, "train/1.jpg", "bus/1.jpg", "tram/1.jpg")
    pictures, said = read(tmp_path)
    assert pictures.classes == ("bus", "train", "tram")
    assert any("train is taken for a class" in text for text in said)
    assert set(said) <= set(pictures.notes)


def test_words_that_only_hold_one(tmp_path: Path) -> None:
    put(tmp_path, "train station/1.jpg", "test tube/1.jpg", "trainers/1.jpg")
    pictures, said = read(tmp_path)
    assert pictures.classes == ("test tube", "train station", "trainers")
    assert said == []


@pytest.mark.parametrize("form", ["{label}", "train/{label}", "a/b/{label}"])
@pytest.mark.parametrize("held", [[], ["clip.mp4"], ["sub/notes.txt"], [".DS_Store"]])
def test_class_folders_without_a_picture_are_said(tmp_path: Path, form: str, held: list[str]) -> None:
    for label in ("cat", "dog"):
        put(tmp_path / form.format(label=label), "1.jpg", "2.jpg")
    (tmp_path / form.format(label="bird")).mkdir(parents=True)
    put(tmp_path / form.format(label="bird"), *held)
    (tmp_path / form.format(label="labels")).mkdir(parents=True)
    pictures, said = read(tmp_path)
    assert pictures.classes == ("cat", "dog")
    assert said == ["no classes, for there is no picture in them: bird"]
    assert said[0] in pictures.notes


def test_levels_of_folders(tmp_path: Path) -> None:
    put(tmp_path, *(f"{name}/{i}.jpg" for name in ("animal/cat", "animal/dog", "plant/rose", "plant/oak") for i in range(2)))
    pictures, said = read(tmp_path)
    assert pictures.classes == ("animal", "plant")
    assert said == [
        "the labels are the upper folders (animal, plant); the 4 below them, with 8 pictures, are not told apart: cat, dog, "
        "oak and 1 more"
    ]
    assert said[0] in pictures.notes


def csv(path: Path, header: str, *rows: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join((header, *rows)))


def test_a_table_of_each_part(tmp_path: Path) -> None:
    for part in ("training", "Test"):
        put(tmp_path / part, "1.jpg", "2.jpg", "3.jpg")
        csv(tmp_path / part / "metadata.csv", "file_name,label", "1.jpg,cat", "2.jpg,dog")
    pictures, said = read(tmp_path)
    assert split(pictures) == {"Test/1.jpg": 2, "Test/2.jpg": 2, "training/1.jpg": 0, "training/2.jpg": 0}
    assert [pictures.labels(i)[0] for i in range(4)] == ["cat", "dog", "cat", "dog"]
    assert said == ["2 of the 6 pictures have no label in the tables and were left out"]
    assert "labels are those of Test/metadata.csv (test), training/metadata.csv (train)" in pictures.notes[0]


def test_a_table_of_each_part_as_json_lines(tmp_path: Path) -> None:
    for part in ("train", "validation"):
        put(tmp_path / part, "1.jpg", "2.jpg")
        lines = [{"file_name": "1.jpg", "label": "cat"}, {"file_name": "2.jpg", "label": "dog", "odd": [1, 2]}]
        (tmp_path / part / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    pictures, _ = read(tmp_path)
    assert pictures.parts.tolist() == [0, 0, 1, 1]
    assert len(scan(tmp_path / "train/metadata.jsonl")) == 2


@pytest.mark.parametrize("whole", [True, False])
def test_a_table_above_the_parts_has_those_of_the_folders(tmp_path: Path, whole: bool) -> None:
    put(tmp_path, *(f"{part}/{i}.jpg" for part in ("training", "TEST") for i in range(2)))
    csv(
        tmp_path / "labels.csv", "path,label", *(f"{part}/{i}.jpg,{'ab'[i]}" for part in ("training", "TEST") for i in range(2))
    )
    pictures, _ = read(tmp_path if whole else tmp_path / "labels.csv")
    assert split(pictures) == {"training/0.jpg": 0, "training/1.jpg": 0, "TEST/0.jpg": 2, "TEST/1.jpg": 2}
    assert any("those of the folders" in note for note in pictures.notes)


@pytest.mark.parametrize("ending", [".jpg", ""])
def test_tables_named_after_parts_beside_their_folders(tmp_path: Path, ending: str) -> None:
    put(tmp_path, *(f"{part}/{i}.jpg" for part in ("train", "test") for i in range(4)))
    csv(tmp_path / "train.csv", "id,label", *(f"{i}{ending},{'cat' if i % 2 else 'dog'}" for i in range(4)))
    csv(tmp_path / "test.csv", "id", *(f"{i}{ending}" for i in range(4)))
    csv(tmp_path / "sample_submission.csv", "id,label", *(f"{i}{ending},cat" for i in range(4)))
    pictures, said = read(tmp_path)
    assert split(pictures) == {f"train/{i}.jpg": 0 for i in range(4)}
    assert pictures.classes == ("cat", "dog")
    assert said == ["4 of the 8 pictures have no label in the tables and were left out"]
    assert any("test.csv has no column 'label'" in note for note in pictures.notes)
    assert any("sample_submission.csv is an example" in note for note in pictures.notes)
    csv(tmp_path / "test.csv", "id,label", "0,cat", "1,dog")
    assert split(read(tmp_path)[0]) == {"test/0.jpg": 2, "test/1.jpg": 2} | {f"train/{i}.jpg": 0 for i in range(4)}


def test_tables_that_may_say_different_things(tmp_path: Path) -> None:
    put(tmp_path, "x/1.jpg", "x/2.jpg")
    for name in ("one.csv", "two.csv"):
        csv(tmp_path / name, "path,label", "x/1.jpg,a", "x/2.jpg,b")
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert caught.value.code == "several-tables"
