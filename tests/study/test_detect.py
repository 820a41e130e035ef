"""From a table of boxes to a tested detector: the verb, the command line, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import squares

import beholder
from beholder.base.errors import DataError, UsageError
from beholder.cli.run import run
from beholder.study.detect import Outcome

QUICK = ["--epochs", "1", "--batch", "8", "--size", "96", "--set", "detect.pyramid=16", "--set", "detect.views=1"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return squares.drawn(tmp_path_factory.mktemp("boxes") / "set")


@pytest.fixture(scope="module")
def made(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "d.beholder"
    assert run(["train", str(table), "--out", str(out), *QUICK]) == 0
    return out


def test_a_table_of_boxes_makes_a_tested_detector(made: Path, table: Path) -> None:
    model = beholder.load(made)
    assert isinstance(model, beholder.Detector)
    assert model.classes == ("green", "red")
    assert {"ap", "ap50"} <= set(model.scores["scores"])
    assert (made / "report.html").stat().st_size < 3_000_000
    assert len(model.readings) == 1


def test_json_says_what_was_made(table: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "j.beholder"
    assert run(["train", str(table), "--out", str(out), "--json", *QUICK]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["task"] == "detect"
    assert set(said["scores"]["ap50"]) == {"value", "low", "high", "n"}
    assert [row["rung"] for row in said["tried"]] == ["head", "training"]
    assert sum(said["parts"].values()) == 40


def test_predict_tells_boxes_and_draws_them(made: Path, table: Path, tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / "drawn"
    pictures = [str(path) for path in sorted(table.parent.glob("*.png"))[:3]]
    assert run(["predict", str(made), *pictures, "--json", "--threshold", "0", "--max-boxes", "2", "--draw", str(folder)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["path"] for line in lines] == pictures
    for line in lines:
        assert (line["width"], line["height"]) == (96, 64)
        assert len(line["boxes"]) <= 2
        assert Path(line["drawn"]).is_file()
    assert run(["predict", str(made), *pictures, "--csv", "--threshold", "0"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "path,label,p,left,top,right,bottom,error"


def test_evaluate_and_compare_take_detectors(made: Path, table: Path, capsys: Any) -> None:
    assert run(["evaluate", str(made), str(table), "--json"]) == 0
    assert "ap75" in json.loads(capsys.readouterr().out)["scores"]
    assert run(["compare", str(made), str(made), str(table), "--json"]) == 0
    assert beholder.evaluate(made, beholder.scan(table)).json()["scores"]["ap"]["n"] == 40


def test_what_a_detector_has_not_is_refused(made: Path, table: Path, capsys: Any) -> None:
    assert run(["evaluate", str(made), str(table), "--sections", "all"]) == 2
    assert "--sections and --ood are for models of labels" in capsys.readouterr().err
    model = beholder.load(made)
    picture = str(next(table.parent.glob("*.png")))
    for wrong in ({"most": 2.5}, {"threshold": "0.5"}, {"threshold": 1.5}, {"most": 0}, {"most": 3000}):
        with pytest.raises(UsageError):
            model(picture, **wrong)


def test_python_makes_a_detector_of_parts_with_boxes_unless_labels_are_asked_for(table: Path) -> None:
    parts = beholder.split(beholder.scan(table), seed=0)
    fields: dict[str, Any] = {"epochs": 1, "size": 96, "pyramid": 16, "views": 1, "batch": 8}
    assert isinstance(beholder.train(parts, **fields), beholder.Detector)
    assert isinstance(beholder.train(parts, task="multi", net="logistic", epochs=1), beholder.Bundle)
    with pytest.raises(UsageError, match=r"train\.teacher") as found:
        beholder.train(parts, teacher="some.beholder", **fields)
    assert found.value.code == "unused-field"


def test_outcome_of_steps_says_its_kind(table: Path) -> None:
    outcome = beholder.steps(table, epochs=1, size=96, pyramid=16, views=1, batch=8)
    assert isinstance(outcome, Outcome)
    assert "AP50" in str(outcome)


def test_crops_make_a_picture_of_each_box(table: Path, tmp_path: Path) -> None:
    outcome = beholder.steps(str(table), task="crops", net="logistic", epochs=1)
    assert isinstance(outcome.bundle, beholder.Bundle)
    assert sum(outcome.bundle.config.parts.values()) > 40


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--task", "detect"], 1),
        (["--set", "detect.pyramid=32"], 2),
        (["--task", "crops"], 1),
    ],
)
def test_sources_of_labels_have_no_boxes(leaves: Path, tmp_path: Path, capsys: Any, words: list[str], code: int) -> None:
    assert run(["train", str(leaves), "--out", str(tmp_path / "x.beholder"), "--epochs", "1", *words]) == code
    assert "hint:" in capsys.readouterr().err


def test_one_class_is_enough_for_boxes_and_too_few_for_labels(table: Path, tmp_path: Path) -> None:
    text = table.read_text("utf-8").replace(",green,", ",red,")
    folder = tmp_path / "one"
    folder.mkdir()
    for picture in table.parent.glob("*.png"):
        (folder / picture.name).write_bytes(picture.read_bytes())
    (folder / "boxes.csv").write_text(text, "utf-8")
    parts = beholder.split(beholder.scan(folder / "boxes.csv"), seed=0)
    assert parts.train.classes == ("red",)
    made = beholder.train(parts, epochs=1, size=96, pyramid=16, views=1, batch=8)
    assert made.classes == ("red",)
    with pytest.raises(DataError) as found:
        beholder.train(parts, task="multi", net="logistic", epochs=1)
    assert found.value.code == "one-class"


def test_what_is_for_detectors_is_refused_for_labels(made: Path, table: Path, tmp_path: Path, capsys: Any) -> None:
    parts = beholder.split(beholder.scan(table), seed=0)
    labels = beholder.train(parts, task="multi", net="logistic", epochs=1)
    labels.save(tmp_path / "labels.beholder")
    picture = str(next(table.parent.glob("*.png")))
    assert run(["predict", str(tmp_path / "labels.beholder"), picture, "--threshold", "0.5"]) == 2
    assert "--threshold is for detectors" in capsys.readouterr().err
    with pytest.raises(UsageError) as found:
        beholder.compare([labels, made], table)
    assert found.value.code == "two-kinds"
    with pytest.raises(UsageError):
        list(beholder.predict(labels, picture, most=3))
    with pytest.raises(UsageError):
        beholder.evaluate(made, (np.zeros((4, 8, 8), np.uint8), np.arange(4)))
