"""Whole numbers of 8 bits in place of floats: static quantisation (QDQ) of a net's graph, on pictures that it was trained on.

Weights have a scale for each channel, activations one for each tensor: the range that training pictures reach.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

BATCH = 16
PRODUCTS = ["Conv", "MatMul", "Gemm"]
"""Operators that are quantised: where the work is. What is between them stays in floats, which costs no accuracy."""


class _Levels:
    """What onnxruntime reads calibration batches from: uint8 (N, C, height, width), given as floats under the name `given`."""

    def __init__(self, images: npt.NDArray[np.uint8], given: str) -> None:
        self.batches = iter([images[start : start + BATCH] for start in range(0, len(images), BATCH)])
        self.given = given

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        """Return the next batch, None after the last."""
        batch = next(self.batches, None)
        return None if batch is None else {self.given: batch.astype(np.float32)}


def quantised(net: onnx.ModelProto, images: npt.NDArray[np.uint8], *, given: str) -> onnx.ModelProto:
    """Return the graph of a net with its products in int8.

    images: uint8 (N, C, height, width), N ≥ 1, training pictures; given: the name of the net's one input, float32 levels
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder, _quiet():
        plain, ready, done = (Path(folder) / f"{name}.onnx" for name in ("plain", "ready", "done"))
        plain.write_bytes(net.SerializeToString())
        quant_pre_process(str(plain), str(ready), skip_symbolic_shape=True)
        quantize_static(
            str(ready),
            str(done),
            _Levels(images, given),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=PRODUCTS,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        return onnx.load_from_string(done.read_bytes())


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the advice that onnxruntime's tools give on the root logger from the user."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
