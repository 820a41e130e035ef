"""Real pictures, end to end, through the real command. Short budgets: the figures that count are measured by bench/spine.py."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from beholder.cli.run import run

pytestmark = [pytest.mark.shared, pytest.mark.slow]


def _train(source: Path, out: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    assert run(["train", str(source), "--out", str(out), "--json", *options]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert result["bundle"] == str(out)
    for score in result["scores"].values():
        assert score["low"] <= score["value"] <= score["high"]
    return result


def _evaluate(bundle: Path, source: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert run(["evaluate", str(bundle), str(source), "--json"]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_fashion_by_the_tutorial(shared: Path, tmp_path: Path, capsys) -> None:
    source = shared / "data" / "fashion-mnist.zip"
    result = _train(source, tmp_path / "m.beholder", capsys, "--recipe", "tutorial", "--set", "train.epochs=2")
    assert result["parts"] == {"train": 51_000, "valid": 9_000, "test": 10_000}
    assert result["scores"]["accuracy"]["value"] > 0.85


def test_x_rays_with_their_own_split_show_sensitivity_and_specificity(shared: Path, tmp_path: Path, capsys) -> None:
    source = shared / "data" / "pneumonia.zip"
    result = _train(source, tmp_path / "m.beholder", capsys, "--minutes", "0.7")
    assert result["parts"] == {"train": 3872, "valid": 524, "test": 624}  # ten of 3,882 are in the other parts too
    scores = _evaluate(tmp_path / "m.beholder", source, capsys)
    assert scores["n"] == 624
    classes = scores["classes"]
    assert len(classes) == 2
    for of in classes.values():
        for name in ("recall", "specificity", "precision"):
            assert 0 <= of[name]["low"] <= of[name]["value"] <= of[name]["high"] <= 1
    sick, well = sorted(classes, key=lambda name: "norm" in name.lower())
    assert classes[sick]["specificity"]["value"] == pytest.approx(classes[well]["recall"]["value"])
    assert result["scores"]["accuracy"]["value"] > 0.7


def test_blood_cells_carry_several_labels(shared: Path, tmp_path: Path, capsys) -> None:
    zipfile.ZipFile(shared / "data" / "blood-cells.zip").extractall(tmp_path / "blood-cells")
    source = tmp_path / "blood-cells.csv"
    source.write_bytes((shared / "data" / "blood-cells.csv").read_bytes())
    result = _train(source, tmp_path / "m.beholder", capsys, "--minutes", "0.7")
    assert sum(result["parts"].values()) == 364
    assert set(result["scores"]) == {"map", "micro_f1", "macro_f1", "auroc"}
    assert result["scores"]["map"]["value"] > 0.5


def test_photos_from_pretrained_weights(shared: Path, tmp_path: Path, capsys) -> None:
    source, weights = shared / "data" / "trashnet.zip", shared / "weights" / "mobilenetv2_100"
    options = ("--net", "timm:mobilenetv2_100", "--set", f"net.weights={weights}", "--minutes", "1.5")
    result = _train(source, tmp_path / "m.beholder", capsys, *options)
    assert result["scores"]["accuracy"]["value"] > 0.75
    import timm

    net = timm.create_model(f"local-dir:{tmp_path / 'm.beholder'}", pretrained=True)
    assert net.get_classifier().out_features == 6


@pytest.mark.parametrize("name", ["brain-mri", "ants-bees", "sign-digits"])
def test_sets_of_other_fields_go_the_same_way(name: str, shared: Path, tmp_path: Path, capsys) -> None:
    result = _train(shared / "data" / f"{name}.zip", tmp_path / "m.beholder", capsys, "--minutes", "0.3")
    chance = {"brain-mri": 0.5, "ants-bees": 0.45, "sign-digits": 0.3}[name]
    assert result["scores"]["accuracy"]["value"] > chance
