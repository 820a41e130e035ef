"""Static int8 quantisation (QDQ) of a net's graph, calibrated on training pictures.

Weights have a scale for each channel, activations one for each tensor. Two things decide how much is lost. What bounds a
product (ReLU, Clip) is part of it: else the 8 bits are spent on values that are cut away right after. And the range of a
tensor is the one whose rounding and clipping together err least, which is narrower than what training pictures reach.
docs/LOG.md has the figures of both and of what was tried and lost.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from beholder.base.arrays import F32, U8
from beholder.runtime.export.quiet import quiet

BATCH = 8
PRODUCTS = ("Conv", "MatMul", "Gemm")
"""Operators that are quantised: where the work is. What is between them stays in floats, which costs no accuracy."""

BOUNDS = ("Clip", "Relu")
"""Operators that an 8-bit range does for nothing, where a product is before them."""

KEPT = 3000
"""So many values of a tensor are kept for each picture, drawn by chance, to choose its range on: memory stays bounded."""

SHRUNK = np.linspace(0.3, 1, 36)
LEVELS = 255


@dataclass
class _Seen:
    """What a tensor held on calibration pictures: the least and the largest value, and values drawn by chance."""

    low: float
    high: float
    values: list[F32]

    def add(self, found: F32, n: int, rng: np.random.Generator) -> None:
        self.low, self.high = min(self.low, float(found.min())), max(self.high, float(found.max()))
        self.values.append(found.ravel()[rng.integers(0, found.size, n)])


def quantised(net: onnx.ModelProto, images: U8, *, given: str) -> onnx.ModelProto:
    """Return the graph of a net with its products in int8.

    images: uint8 (N, C, height, width), N ≥ 1, training pictures; given: the name of the net's one input, float32 levels
    """
    from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType, TensorData, TensorsData

    with quiet():
        ready = _prepared(net)
        seen = _seen(ready, images, given)
        ranges = {name: least_error(held.low, held.high, np.concatenate(held.values)) for name, held in seen.items()}
        kept = {name: TensorData(lowest=np.float32(low), highest=np.float32(high)) for name, (low, high) in ranges.items()}
        quantiser = QDQQuantizer(
            ready,
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, kept),
            nodes_to_quantize=[],
            nodes_to_exclude=[],
            op_types_to_quantize=[*PRODUCTS, *BOUNDS],
            extra_options={},
        )
        quantiser.quantize_model()
        quantiser.model.topological_sort()
        found: onnx.ModelProto = quantiser.model.model
    return found


def least_error(low: float, high: float, values: F32) -> tuple[float, float]:
    """Return the range, a share of (low, high) and 0, in which `values` have the least mean square error in 8 bits."""
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        return low, high
    errors = [float(np.mean((_rounded(values, low * share, high * share) - values) ** 2)) for share in SHRUNK]
    share = float(SHRUNK[int(np.argmin(errors))])
    return low * share, high * share


def _rounded(values: F32, low: float, high: float) -> F32:
    step = (high - low) / LEVELS
    zero = np.round(-low / step)
    found: F32 = (np.clip(np.round(values / step) + zero, 0, LEVELS) - zero) * np.float32(step)
    return found


def _prepared(net: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with batch norm folded into the products before it, and the shape of every tensor."""
    from onnxruntime.quantization import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        plain, ready = (Path(folder) / f"{name}.onnx" for name in ("plain", "ready"))
        plain.write_bytes(net.SerializeToString())
        quant_pre_process(str(plain), str(ready), skip_symbolic_shape=True)
        return onnx.load_from_string(ready.read_bytes())


def _seen(net: onnx.ModelProto, images: U8, given: str) -> dict[str, _Seen]:
    """Return name → what it held, for every float tensor that an operator to be quantised takes or gives."""
    import onnxruntime

    names = _tensors(net)
    wide = onnx.ModelProto()
    wide.CopyFrom(net)
    there = {value.name for value in (*wide.graph.output, *wide.graph.input)}
    wide.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names if name not in there
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(wide.SerializeToString(), options, providers=["CPUExecutionProvider"])
    inner = [name for name in names if name != given]
    found = {name: _Seen(np.inf, -np.inf, []) for name in names}
    rng = np.random.default_rng(0)
    for start in range(0, len(images), BATCH):
        levels = images[start : start + BATCH].astype(np.float32)
        made = dict(zip(inner, session.run(inner, {given: levels}), strict=True)) | {given: levels}
        for name, seen in found.items():
            seen.add(made[name], KEPT * len(levels), rng)
    return found


def _tensors(net: onnx.ModelProto) -> list[str]:
    constants = {tensor.name for tensor in net.graph.initializer}
    floats = {
        value.name
        for value in (*net.graph.value_info, *net.graph.input, *net.graph.output)
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    }
    nodes = [node for node in net.graph.node if node.op_type in (*PRODUCTS, *BOUNDS)]
    return sorted({name for node in nodes for name in (*node.input, *node.output)} & floats - constants)
