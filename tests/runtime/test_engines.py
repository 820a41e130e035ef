from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from beholder.base.errors import UsageError
from beholder.bundle.bundle import Bundle, load
from beholder.cli.run import run
from beholder.machine.folders import cache_folder
from beholder.runtime import engines, exported, exports, picker
from beholder.runtime.engines import fastest
from beholder.runtime.export import export
from beholder.runtime.picker import Picked


@pytest.fixture(scope="module")
def carried(small: tuple[Path, Path, Bundle], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = Path(shutil.copytree(small[1], tmp_path_factory.mktemp("engines") / "leaves.beholder"))
    export(load(path))
    return path


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(engines.events, "note", lambda name, **fields: found.append(" ".join([name, *fields.get("rates", {})])))
    return found


def rates(monkeypatch: pytest.MonkeyPatch, best: str) -> None:
    monkeypatch.setattr(picker, "least_seconds", lambda ways, **_: {name: 2.0 - (name == best) for name in ways})


def test_a_bundle_without_a_graph_runs_on_torch(small: tuple[Path, Path, Bundle]) -> None:
    assert fastest(small[1]).engine == "torch fp32"
    with pytest.raises(UsageError) as caught:
        fastest(small[1], engine="onnxruntime fp32")
    assert caught.value.code == "unknown-engine"


def test_the_fastest_is_remembered(carried: Path, monkeypatch: pytest.MonkeyPatch, noted: list[str]) -> None:
    shutil.rmtree(cache_folder() / "engine", ignore_errors=True)
    rates(monkeypatch, "torch fp32")
    assert fastest(carried, probe=False).engine == "onnxruntime fp32"
    assert not noted
    assert fastest(carried).engine == "torch fp32"
    assert noted[-1].startswith("engines torch fp32")
    assert "onnxruntime fp32" in noted[-1]
    monkeypatch.setattr(picker, "least_seconds", lambda *_, **__: pytest.fail("it was remembered"))
    assert fastest(carried).engine == fastest(carried, probe=False).engine == "torch fp32"


def test_every_engine_gives_the_same(small: tuple[Path, Path, Bundle], carried: Path) -> None:
    bundle = small[2]
    images = np.random.default_rng(0).integers(0, 256, (3, 3, bundle.policy.height, bundle.policy.width), dtype=np.uint8)
    for name in engines._ways(carried, load(carried).config, trust=False):
        if name.endswith("fp32"):
            made = fastest(carried, engine=name)
            assert made.engine == name
            assert np.abs(made.probabilities(images) - bundle.probabilities(images)).max() < 1e-4


def test_what_differs_or_fails_is_not_used(carried: Path, monkeypatch: pytest.MonkeyPatch, noted: list[str]) -> None:
    shutil.rmtree(cache_folder() / "engine", ignore_errors=True)
    whole = exported.load(carried)
    wrong = exported.Exported(whole.config, lambda images: (np.roll(whole.run(images)[0], 1, 1), whole.run(images)[1]))
    ways = {"onnxruntime fp32": lambda: whole, "torch fp32": lambda: wrong, "OpenVINO fp32": lambda: 1 / 0}
    ways["OpenVINO fp32"] = lambda: fastest(carried, engine="nothing")
    monkeypatch.setattr(engines, "_ways", lambda *_: ways)
    rates(monkeypatch, "torch fp32")
    assert fastest(carried) is whole
    assert any("torch fp32 is not used" in note for note in noted)
    assert any("OpenVINO fp32 cannot be used" in note for note in noted)


def test_lower_precisions_only_where_they_were_found_good(carried: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(carried, tmp_path / "copy.beholder"))
    shutil.copy(path / "model.onnx", path / "model.int8.onnx")
    kept = json.loads((path / exports.LIST).read_bytes())
    kept["model.int8.onnx"] = {**kept["model.onnx"], "precision": "int8"}
    (path / exports.LIST).write_text(json.dumps(kept))
    config = load(path).config
    assert "onnxruntime int8" in engines._ways(path, config, trust=False)
    assert "onnxruntime int8" in engines.names(path)
    assert ("OpenVINO int8" in engines.names(path)) == (importlib.util.find_spec("openvino") is not None)
    kept["model.int8.onnx"]["parity"]["agreement"]["value"] = 0.9
    (path / exports.LIST).write_text(json.dumps(kept))
    assert "onnxruntime int8" not in engines._ways(path, config, trust=False)


def test_what_no_export_measured_is_taken_by_name_alone(carried: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    monkeypatch.setattr(engines, "_ways", lambda *_: dict.fromkeys([engines.TORCH, engines.ONNX, engines.BF16], object))
    monkeypatch.setattr(engines, "pick", lambda ways, *_, **__: tried.extend(ways) or Picked("", ways[engines.TORCH]()))
    fastest(carried, engine="fast")
    assert tried == [engines.ONNX, engines.TORCH]
    assert type(fastest(carried, engine=engines.BF16)) is object


def test_predict_names_the_engine(small: tuple[Path, Path, Bundle], carried: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = str(next(small[0].rglob("*.png")))
    assert run(["predict", str(carried), picture, "--engine", "onnxruntime fp32"]) == 0
    said = capsys.readouterr()
    assert "engine: onnxruntime fp32" in said.err
    answer = json.loads(said.out)
    assert answer["probabilities"] == pytest.approx(small[2](picture).probabilities, abs=1e-4)
    assert run(["predict", str(carried), picture, "--engine", "abacus"]) == 2
