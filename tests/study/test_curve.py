from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import Draw

import beholder
from beholder.base.errors import DataError, Interrupted, UsageError
from beholder.base.recipe import load
from beholder.base.records import Pictures
from beholder.cli.run import run
from beholder.study import curve as verb
from beholder.study import setting as settings
from beholder.study.curve import Curve
from beholder.study.evidence import features_of
from beholder.study.setting import setting
from beholder.study.steps import preprocess


@pytest.fixture(scope="module")
def more(tmp_path_factory: pytest.TempPathFactory, draw: Draw) -> Path:
    return draw(tmp_path_factory.mktemp("more") / "leaves", each=40)


@pytest.fixture(scope="module")
def found(more: Path) -> Curve:
    return beholder.curve(more, minutes=0, audit="off", seed=1)


def test_a_curve_says_what_more_pictures_give(found: Curve) -> None:
    """Three colours are told apart by any net: nothing is to be gained, and it says so."""
    sizes = [row["pictures"] for row in found.rows()]
    assert sizes[:-2] == [20, 40, 81]
    assert [row["kind"] for row in found.rows()] == ["measured"] * 3 + ["expected"] * 2
    assert found.points[-1].score.value > 0.95
    assert found.ahead[0].gain.value < 0.03
    assert found.points[-1].score.low < 0.98  # 102 pictures without a mistake are no proof
    assert [row.verdict for row in found.classes] == ["unclear"] * 3
    assert "5-fold cross-validation on 102 training and validation pictures" in found.scored
    assert found.notes[-1] == "The test part was not read."
    said = str(found)
    assert "Twice as many" in said
    assert "gain" in said


def test_its_forms_agree(found: Curve, tmp_path: Path) -> None:
    told = json.loads(json.dumps(found.json()))
    assert told["measure"] == "accuracy"
    assert [row["pictures"] for row in told["points"]] == [20, 40, 81]
    assert told["points"][0]["score"].keys() == {"value", "low", "high", "n"}
    assert {row["class"] for row in told["classes"]} == {"healthy", "mildew", "rust"}
    rows = found.csv_rows()
    assert len({tuple(row) for row in rows}) == 1
    assert [row["kind"] for row in rows] == ["measured"] * 3 + ["expected"] * 2 + ["class"] * 3
    page = found.save(tmp_path / "curve.html").read_text()
    assert page.count("<svg") == 1
    assert "What more pictures would give" in page
    assert "http" not in page.replace("http-equiv", "")
    assert repr(found).startswith("Curve(accuracy ")


def test_the_same_seed_gives_the_same_curve(more: Path, found: Curve) -> None:
    again = beholder.curve(more, minutes=0, audit="off", seed=1)
    assert again.rows() == found.rows()
    assert again.class_rows() == found.class_rows()


def test_the_test_part_is_not_read(more: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Pictures] = []

    def watched(pictures: Pictures, *rest: Any, **options: Any) -> Any:
        seen.append(pictures)
        return features_of(pictures, *rest, **options)

    monkeypatch.setattr(settings, "features_of", watched)
    asked = load("quick").set(audit="off", seed=1)
    parts = preprocess(more, asked).parts
    beholder.curve(more, minutes=0, recipe=asked)
    (given,) = seen
    assert set(given.keys) == {*parts.train.keys, *parts.valid.keys}
    assert not set(given.keys) & set(parts.test.keys)


def test_with_many_validation_pictures_they_alone_are_scored(more: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "FEW", 10)
    asked = load("quick").set(audit="off", seed=1)
    curated = preprocess(more, asked)
    at = setting(curated, asked, train=False, until=verb.Deadline())
    ((rows, scored),) = at.grounds.rounds
    keys = np.array(list(at.pictures.keys))
    assert set(keys[rows]) == set(curated.parts.train.keys)
    assert set(keys[scored]) == set(curated.parts.valid.keys)
    assert at.scored == "scored on 18 validation pictures"


@pytest.mark.parametrize(
    ("fields", "measure"), [({"objective": "macro_f1"}, "macro_f1"), ({"task": "ordinal"}, "quadratic_kappa")]
)
def test_the_objective_follows_the_task_and_what_is_asked(
    fields: dict[str, str], measure: str, tmp_path: Path, draw: Draw
) -> None:
    source = draw(tmp_path / "leaves", each=30)
    for number, name in enumerate(("healthy", "mildew", "rust")):
        (source / name).rename(source / f"grade {number}")
    found = beholder.curve(source, minutes=0, audit="off", **fields)
    assert found.measure == measure
    assert found.points[-1].score.value > 0.9


def test_pictures_of_several_labels() -> None:
    rng = np.random.default_rng(0)
    hot = rng.integers(0, 2, (120, 2)).astype(np.uint8)
    pixels = np.repeat(np.repeat(255 * hot[:, None, None, :], 16, 1), 16, 2)
    pixels = np.concatenate([pixels, rng.integers(0, 255, (120, 16, 16, 1))], axis=3).astype(np.uint8)
    found = beholder.curve((pixels, hot), minutes=0, audit="off")
    assert found.measure == "map"
    assert found.points[-1].score.value > 0.95
    assert {row.name for row in found.classes} == {"0", "1"}


def test_training_gives_a_curve_too(more: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beholder.study.growth.DRAWS", 1)
    monkeypatch.setattr("beholder.study.growth.HALVES", 0)
    found = beholder.curve(more, train=True, minutes=0, audit="off", net="logistic", epochs=1, weights="none")
    assert found.way == "a net trained as the recipe says"
    assert found.scored == "scored on 18 validation pictures"
    assert [point.pictures for point in found.points] == [21, 42, 84]
    assert not found.classes
    assert any("one subset of some sizes" in note for note in found.notes)


def test_without_features_it_says_how_to_go_on(more: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="no pretrained net") as refused:
        beholder.curve(more, audit="off", weights="none")
    assert refused.value.code == "no-features"
    assert "--train" in refused.value.hint
    assert run(["curve", str(more), "--audit", "off", "--set", "net.weights=none"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_too_few_pictures_are_refused(leaves: Path) -> None:
    with pytest.raises(DataError) as refused:
        beholder.curve(leaves, minutes=0, audit="off")
    assert refused.value.code == "too-few-pictures"


@pytest.mark.parametrize("fields", [{"epochs": 3}, {"augment": "light"}, {"target_risk": 0.1}, {"minutes": -1.0}])
def test_what_it_does_not_use_is_refused(more: Path, fields: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        beholder.curve(more, **fields)


def test_an_interruption_leaves_no_traceback(
    more: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def cut(*_: object) -> None:
        raise Interrupted

    monkeypatch.setattr("beholder.study.growth.check_stop", cut)
    with pytest.raises(Interrupted):
        beholder.curve(more, minutes=0, audit="off")
    assert run(["curve", str(more), "--audit", "off"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_the_command_prints_tables_json_and_csv(
    found: Curve, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(verb, "curve", lambda source, **options: calls.append({"source": source, **options}) or found)
    asked = ["curve", "leaves", "--train", "--seed", "1", "--minutes", "3", "--for", "macro_f1"]
    page = tmp_path / "c.html"
    assert run([*asked, "--out", str(page)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["kind", "pictures", "accuracy"]
    assert any(line.startswith("Twice as many") for line in lines)
    assert page.exists()
    assert (calls[0]["source"], calls[0]["train"], calls[0]["minutes"]) == ("leaves", True, 3.0)
    assert (calls[0]["recipe"].seed, calls[0]["recipe"].train.objective) == (1, "macro_f1")
    assert run([*asked, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["points"]) == 3
    assert run([*asked, "--csv"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0] == "kind,class,pictures,accuracy,low,high,gain,gain low,gain high,verdict"
    assert len(table) == 9
    assert run([*asked, "--out", str(tmp_path)]) != 0
