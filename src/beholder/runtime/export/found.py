"""The ONNX graph of a detector, in one piece: uint8 pixels of any size in; boxes in pixels of the picture out.

What the net says is decoded, suppressed class by class (`NonMaxSuppression`), sorted, calibrated and moved to the picture
inside the graph, so that whoever runs it needs nothing of Beholder. Of each picture there are as many rows as boxes were
asked for; those beyond `counts` are zero.
"""

from __future__ import annotations

import copy
import json

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from beholder.base.arrays import U8
from beholder.base.records import PixelPolicy
from beholder.bundle.detector import Detector
from beholder.bundle.finder import Config, Finder
from beholder.nets.detector import FLOOR, TOP, corners
from beholder.runtime.export.front import Lines, front
from beholder.runtime.export.onnx import IR, LEVELS, not_writable
from beholder.runtime.export.quiet import quiet
from beholder.runtime.exports import OPSET
from beholder.runtime.finders import IMAGES, MOST, OUTPUTS, SIZES

DENSE = ("net_boxes", "net_scores")


class _Dense(nn.Module):
    """Levels float32 (N, C, height, width) in 0..255 → boxes (N, A, 4) in pixels of the net, scores (N, K, A)."""

    slope: Tensor
    offset: Tensor

    def __init__(self, detector: Detector, dtype: torch.dtype) -> None:
        super().__init__()
        self.net = copy.deepcopy(detector.net).cpu().to(dtype).eval()
        self.dtype = dtype
        config = detector.config
        mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (config.mean, config.std))
        self.register_buffer("slope", 1 / std / 255)
        self.register_buffer("offset", -mean / std)

    def forward(self, levels: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.net((levels * self.slope + self.offset).to(self.dtype))
        return corners(seen).float(), seen.logits.float().sigmoid().transpose(1, 2)


def encoded(detector: Detector, *, precision: str = "fp32", training: U8 | None = None) -> bytes:
    """Return the bytes of the detector's graph (opset `OPSET`), checked by onnx. Raises `BundleError` if it cannot be made.

    precision: fp32 | fp16 | int8; training: uint8 (N, C, height, width), what int8 is calibrated on
    """
    net = _net(detector, torch.float16 if precision == "fp16" else torch.float32)
    if precision == "int8":
        assert training is not None
        from beholder.runtime.export.int8 import quantised

        net = quantised(net, training, given=LEVELS)
    graph = _whole(net, detector.config)
    helper.set_model_props(graph, {**metadata(detector), "precision": precision})
    try:
        onnx.checker.check_model(graph, full_check=True)
        return bytes(graph.SerializeToString())
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise not_writable(detector.config.net.backbone, error) from error


def metadata(finder: Finder) -> dict[str, str]:
    """Return what the graph says of itself, name → text.

    classes (a JSON list), thresholds (of probabilities, one a class), policy and opset for readers of the file without
    Beholder; beholder: the whole config.json.
    """
    config = finder.config
    return {
        "kind": config.kind,
        "classes": json.dumps(list(config.classes), ensure_ascii=False),
        "thresholds": json.dumps(list(config.thresholds)),
        "policy": json.dumps(config.pixels.json()),
        "opset": str(OPSET),
        "beholder": json.dumps(config.json()),
    }


def _net(detector: Detector, dtype: torch.dtype) -> onnx.ModelProto:
    """Return the graph from levels, float32 of the net's own size, to what is said of each point."""
    policy = detector.policy
    sample = torch.zeros(2, policy.channels, policy.height, policy.width)
    try:
        with quiet(), torch.inference_mode():
            program = torch.onnx.export(
                _Dense(detector, dtype).eval(),
                (sample,),
                input_names=[LEVELS],
                output_names=list(DENSE),
                opset_version=OPSET,
                dynamic_shapes=({0: torch.export.Dim("N", min=1)},),
                dynamo=True,
                verbose=False,
            )
            assert program is not None
            found: onnx.ModelProto = program.model_proto
            for node in found.graph.node:
                node.ClearField("metadata_props")  # stack traces of the exporter, which name folders of this machine
    except Exception as error:
        raise not_writable(detector.config.net.backbone, error) from error
    return found


def _whole(net: onnx.ModelProto, config: Config) -> onnx.ModelProto:
    """Return the graph with what comes before and after the net. `sizes` and `most` may be left out: they have defaults."""
    policy = config.pixels
    nodes, constants = front(policy, source=IMAGES, target=LEVELS)
    after = Lines("after_")
    _answers(after, config)
    given = [
        helper.make_tensor_value_info(IMAGES, TensorProto.UINT8, ["N", policy.channels, "height", "width"]),
        helper.make_tensor_value_info(SIZES, TensorProto.INT64, ["n", 2]),
        helper.make_tensor_value_info(MOST, TensorProto.INT64, [1]),
    ]
    usual = [
        numpy_helper.from_array(np.zeros((1, 2), np.int64), SIZES),
        numpy_helper.from_array(np.array([config.most], np.int64), MOST),
    ]
    kinds: dict[str, list[str | int | None]] = {"boxes": ["N", "rows", 4], "counts": ["N"]}
    whole = ("classes", "counts")
    told = [
        helper.make_tensor_value_info(
            name, TensorProto.INT64 if name in whole else TensorProto.FLOAT, kinds.get(name, ["N", "rows"])
        )
        for name in OUTPUTS
    ]
    graph = net.graph
    made = helper.make_graph(
        [*nodes, *graph.node, *after.nodes],
        "beholder",
        given,
        told,
        [*constants, *usual, *graph.initializer, *after.constants.values()],
    )
    return helper.make_model(
        made, opset_imports=net.opset_import, functions=net.functions, producer_name="beholder", ir_version=IR
    )


def _answers(on: Lines, config: Config) -> None:
    """Write what becomes of the dense answers: suppression, order, calibration, place in the picture."""
    boxes, scores = DENSE
    rows, kept = _kept(on, boxes, scores, config.overlap)
    shape = on("Shape", scores)  # (N, K, A)
    points = on("Gather", shape, np.array([2], np.int64))
    best, places = on.surest(on("Reshape", kept, np.array([0, -1], np.int64)), rows)
    sound = on("Greater", best, FLOOR)
    wanted = on("Cast", sound, to=TensorProto.INT64)
    which = on("Mod", places, points)
    index = on("Expand", on("Unsqueeze", which, np.array([2])), np.array([1, 1, 4], np.int64))
    own = _own(on, config.pixels, on("GatherElements", boxes, index, axis=1))
    mask = on("Cast", sound, to=TensorProto.FLOAT)
    on("Mul", own, on("Unsqueeze", mask, np.array([2])), named="boxes")
    on("Add", on("Where", sound, best, 0.0), _broken(on, boxes, scores), named="scores")
    on("Mul", _calibrated(on, config, best), mask, named="probabilities")
    on("Mul", on("Div", places, points), wanted, named="classes")
    on("ReduceSum", wanted, np.array([1]), keepdims=0, named="counts")


def _broken(on: Lines, boxes: str, scores: str) -> str:
    """Write (N, 1): 0, or NaN for a picture to which the net answers NaN or infinity: it must not pass for an empty one."""
    parts = [on("ReduceSum", on("Mul", values, 0.0), np.array([1, 2]), keepdims=0) for values in (boxes, scores)]
    return on("Unsqueeze", on("Add", *parts), np.array([1]))


def _kept(on: Lines, boxes: str, scores: str, overlap: float) -> tuple[str, str]:
    """Write the suppression; return the number of rows (1,) and the scores (N, K, A) with all that goes at 0.

    As `nets/detector.py: found_in` has it: the `TOP` · most surest of a picture are looked at, class by class.
    """
    flat = on("Reshape", scores, np.array([0, -1], np.int64))
    there = on("Gather", on("Shape", flat), np.array([1], np.int64))
    rows = on("Min", MOST, there)
    surest, _ = on.surest(flat, on("Min", on("Mul", MOST, TOP), there))
    least = on("ReduceMin", surest, np.array([1]), keepdims=1)
    seen = on("Where", on("Less", scores, on("Unsqueeze", least, np.array([2]))), 0.0, scores)
    chosen = on("NonMaxSuppression", boxes, seen, MOST, overlap, FLOOR)
    count = on("Slice", on("Shape", chosen), np.array([0]), np.array([1]))
    ones = on("Expand", np.ones(1, np.float32), count)
    zeros = on("Mul", scores, 0.0)
    return rows, on("Mul", on("ScatterND", zeros, chosen, ones), scores)


def _own(on: Lines, policy: PixelPolicy, boxes: str) -> str:
    """Write boxes (N, M, 4) of the net's pixels as boxes of the picture's, cut off at its edges; as `image/fit.py: placed`."""
    given = on("Slice", on("Shape", IMAGES), np.array([2]), np.array([4]))  # height, width
    shown = on("Gather", given, np.array([1, 0], np.int64))
    sizes = on("Where", on("Greater", SIZES, 0), SIZES, shown)
    picture = on("Cast", sizes, to=TensorProto.FLOAT)
    net = np.array([[policy.width, policy.height]], np.float32)
    if policy.fit == "squash":
        start, span = on.constant(np.zeros((1, 2), np.float32)), on.constant(net)
    else:
        shares = on("Div", net, picture)
        pick = "ReduceMax" if policy.fit == "crop" else "ReduceMin"
        span = on("Mul", picture, on(pick, shares, np.array([1]), keepdims=1))
        if policy.fit == "crop":
            start = on("Mul", on("Sub", net, span), 0.5)
        else:
            span = on("Min", on("Max", on("Round", span), 1.0), net)
            start = on("Floor", on("Mul", on("Sub", net, span), 0.5))
    scale = on("Div", picture, span)
    start, scale, edge = (
        on("Unsqueeze", on("Concat", value, value, axis=1), np.array([1])) for value in (start, scale, picture)
    )
    return on("Max", on("Min", on("Mul", on("Sub", boxes, start), scale), edge), 0.0)


def _calibrated(on: Lines, config: Config, scores: str) -> str:
    """Write scores (N, M) as shares that are right: piecewise linear between the knots, level beyond them."""
    if not config.calibration:
        return scores
    knots, shares = (np.array(row, np.float64) for row in config.calibration)
    apart = np.diff(knots) > 0  # of two knots at one score the last counts, as for any score above it
    first = np.concatenate([[True], apart])
    last = np.concatenate([apart, [True]])
    low, high = knots[first], knots[last]
    begins, ends = shares[last][:-1], shares[first][1:]
    jumps = shares[last] - shares[first]
    steps, slopes = np.diff(low), (ends - begins) / np.diff(high)
    wide = on("Unsqueeze", scores, np.array([2]))
    along = on("Min", on("Relu", on("Sub", wide, low[:-1].astype(np.float32))), steps.astype(np.float32))
    made = on("MatMul", along, slopes.astype(np.float32)[:, None])
    if jumps.any():
        over = on("Cast", on("GreaterOrEqual", wide, low.astype(np.float32)), to=TensorProto.FLOAT)
        made = on("Add", made, on("MatMul", over, jumps.astype(np.float32)[:, None]))
    return on("Add", on("Squeeze", made, np.array([2])), float(shares[0]))
