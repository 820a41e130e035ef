from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from PIL import Image

from beholder.base.records import PixelPolicy
from beholder.image import load
from beholder.runtime.export.front import front

SIZES = [(40, 32), (1, 1), (1, 90), (77, 1), (200, 131), (39, 33), (320, 256), (23, 190)]


def session(policy: PixelPolicy) -> onnxruntime.InferenceSession:
    nodes, constants = front(policy, source="x", target="y")
    given = helper.make_tensor_value_info("x", TensorProto.UINT8, ["N", policy.channels, "h", "w"])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", policy.channels, policy.height, policy.width])
    graph = helper.make_graph(nodes, "g", [given], [made], initializer=constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def picture(height: int, width: int, channels: int) -> np.ndarray:
    rng = np.random.default_rng(height * 1000 + width)
    coarse = Image.fromarray(rng.integers(0, 256, (height // 5 + 1, width // 5 + 1, 3), dtype=np.uint8))
    made = coarse.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(made if channels == 3 else made.convert("L"))


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_graph_resizes_as_we_do_to_two_levels(fit: str, channels: int) -> None:
    policy = PixelPolicy(height=40, width=32, channels=channels, fit=fit, background=(250, 3, 77))
    run = session(policy)
    for height, width in SIZES:
        pixels = picture(height, width, channels)
        planes = pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
        apart = np.abs(run.run(None, {"x": planes[None]})[0][0] - load(pixels, policy).astype(np.float32))
        assert apart.max() <= 2, (height, width)
        assert apart.mean() < 0.25, (height, width)


def test_pixels_of_the_right_size_pass_as_they_are() -> None:
    policy = PixelPolicy(height=9, width=7, channels=3, fit="pad", background=(1, 2, 3))
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 9, 7), dtype=np.uint8)
    assert np.array_equal(session(policy).run(None, {"x": pixels})[0], pixels.astype(np.float32))


def test_a_graph_takes_many_pictures_of_one_size() -> None:
    policy = PixelPolicy(height=9, width=7, channels=3, fit="crop", background=(0, 0, 0))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 31, 20), dtype=np.uint8)
    run = session(policy)
    together = run.run(None, {"x": pixels})[0]
    alone = np.concatenate([run.run(None, {"x": pixel[None]})[0] for pixel in pixels])
    assert together.shape == (3, 3, 9, 7)
    assert np.array_equal(together, alone)
