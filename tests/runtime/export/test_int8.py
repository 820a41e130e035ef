from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import helper, numpy_helper

from beholder.bundle.bundle import Bundle
from beholder.runtime.export.int8 import least_error, quantised
from beholder.runtime.export.onnx import Answer


def net(weight: np.ndarray, bound: float) -> onnx.ModelProto:
    """levels (N, 2, 8, 8) → a convolution → a clip to 0..bound → a convolution, twice as wide as it is long."""
    nodes = [
        helper.make_node("Conv", ["levels", "w", "b"], ["wide"], name="one", pads=[1, 1, 1, 1]),
        helper.make_node("Clip", ["wide", "low", "high"], ["bounded"], name="bound"),
        helper.make_node("Conv", ["bounded", "w", "b"], ["out"], name="two", pads=[1, 1, 1, 1]),
    ]
    values = {"w": weight, "b": np.zeros(2, np.float32), "low": np.float32(0), "high": np.float32(bound)}
    given, made = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", 2, 8, 8]) for name in ("levels", "out"))
    constants = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in values.items()]
    graph = helper.make_graph(nodes, "net", [given], [made], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def run(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, {"levels": images.astype(np.float32)})[0]
    return found


def test_a_bound_is_part_of_its_product() -> None:
    """The 8 bits go to what the clip lets through, 0..6, not to the hundreds that it cuts away."""
    rng = np.random.default_rng(0)
    model = net(rng.normal(0, 0.5, (2, 2, 3, 3)).astype(np.float32), 6.0)
    images = rng.integers(0, 256, (12, 2, 8, 8), dtype=np.uint8)
    made = quantised(model, images, given="levels")
    assert "Clip" not in [node.op_type for node in made.graph.node]
    wanted = run(model, images)
    error = np.sqrt(np.mean((run(made, images) - wanted) ** 2))
    assert 0 < error < 0.03 * wanted.std()


def test_the_range_of_a_tensor_is_the_one_that_errs_least() -> None:
    values = np.random.default_rng(0).normal(0, 1, 20_000).astype(np.float32)
    low, high = -9.0, 11.0  # reached once among millions, of which few are kept
    found = least_error(low, high, values)
    assert low / 2 < found[0] < -3
    assert 3 < found[1] < high / 2

    def error(low: float, high: float) -> float:
        return float(
            np.mean((torch.fake_quantize_per_tensor_affine(torch.from_numpy(values), *steps(low, high)).numpy() - values) ** 2)
        )

    def steps(low: float, high: float) -> tuple[float, int, int, int]:
        return (high - low) / 255, round(-low / ((high - low) / 255)), 0, 255

    assert error(*found) < 0.8 * error(low, high)
    assert error(*found) <= min(error(low * share, high * share) for share in (0.35, 0.5, 0.75, 0.9)) * 1.001
    even = np.linspace(0, 6, 1000, dtype=np.float32)
    assert least_error(0.0, 6.0, even) == (0.0, 6.0)
    assert least_error(0.0, 0.0, even * 0) == (0.0, 0.0)


def test_both_sides_of_the_mirror_go_through_the_net_as_one_batch(small: tuple[Path, Path, Bundle]) -> None:
    bundle = small[2]
    config = replace(bundle.config, mirror=True)
    images = np.random.default_rng(0).integers(0, 256, (3, 3, bundle.policy.height, bundle.policy.width), dtype=np.uint8)
    both = Bundle(config, bundle.net, bundle.recipe)
    with torch.inference_mode():
        _, features, logits = Answer(both)(torch.from_numpy(images).float())
    wanted = both.outputs(images)
    assert np.allclose(logits.numpy(), wanted[0], atol=1e-5)
    assert np.allclose(features.numpy(), wanted[1], atol=1e-5)
    one = Bundle(replace(config, mirror=False), bundle.net, bundle.recipe)
    assert not np.allclose(one.outputs(images)[0], one.outputs(np.flip(images, -1).copy())[0], atol=1e-4)
