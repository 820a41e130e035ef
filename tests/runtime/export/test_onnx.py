from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import beholder
from beholder.base.errors import BundleError
from beholder.bundle.bundle import Bundle
from beholder.measure.calibration import Calibration
from beholder.runtime.export import export
from beholder.runtime.export.onnx import encoded


def shape(bundle: Bundle) -> tuple[int, int, int]:
    return bundle.policy.channels, bundle.policy.height, bundle.policy.width


@pytest.fixture(scope="module")
def graph(small: tuple[Path, Path, Bundle], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(small[2], tmp_path_factory.mktemp("graph") / "leaves.onnx").path


def test_a_graph_runs_with_no_python_of_ours(small: tuple[Path, Path, Bundle], graph: Path) -> None:
    bundle = small[2]
    images = np.random.default_rng(0).integers(0, 256, (5, *shape(bundle)), dtype=np.uint8)
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    made, features, logits = session.run(["probabilities", "features", "logits"], {"images": images})
    ours = bundle.outputs(images)
    assert np.allclose(made, bundle.activated(ours[0]), atol=1e-5)
    assert np.allclose(logits, ours[0], atol=1e-4)
    assert np.allclose(features, ours[1], atol=1e-4)
    odd = session.run(["probabilities"], {"images": np.zeros((1, bundle.policy.channels, 61, 35), np.uint8)})[0]
    assert odd.shape == (1, 3)
    assert odd.sum() == pytest.approx(1, abs=1e-5)


def test_a_graph_says_what_it_is(small: tuple[Path, Path, Bundle], graph: Path) -> None:
    said = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"]).get_modelmeta()
    found = said.custom_metadata_map
    assert json.loads(found["classes"]) == ["healthy", "mildew", "rust"]
    assert json.loads(found["policy"]) == small[2].config.pixels.json()
    assert json.loads(found["beholder"]) == small[2].config.json()
    assert found["opset"] == "18"
    assert said.producer_name == "beholder"
    assert str(Path(beholder.__file__).parent).encode() not in graph.read_bytes(), "no folder of the machine that made it"


def test_calibration_is_in_the_graph(small: tuple[Path, Path, Bundle], tmp_path: Path) -> None:
    bundle = small[2]
    kept = Calibration("vector", (0.5, 2.0, 1.0), (0.1, -0.2, 0.3), 9)
    changed = Bundle(replace(bundle.config, calibration=kept), bundle.net, bundle.recipe)
    images = np.random.default_rng(1).integers(0, 256, (4, *shape(bundle)), dtype=np.uint8)
    session = onnxruntime.InferenceSession(encoded(changed), providers=["CPUExecutionProvider"])
    made = session.run(["probabilities"], {"images": images})[0]
    assert np.allclose(made, changed.probabilities(images), atol=1e-5)
    assert not np.allclose(made, bundle.probabilities(images), atol=1e-3)


def test_what_cannot_be_exported_is_said(small: tuple[Path, Path, Bundle]) -> None:
    class Odd(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.flatten(1)[:, : 3 if float(images.sum()) > 0 else 2]

    bundle = small[2]
    with pytest.raises(BundleError, match="cannot be written as ONNX") as caught:
        encoded(Bundle(bundle.config, Odd(), bundle.recipe))
    assert caught.value.code == "not-exportable"
    assert "\n" not in caught.value.message
