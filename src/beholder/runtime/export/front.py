"""Preprocessing inside the graph: uint8 pixels of any size to the input size, by the pixel policy.

The filter is the one of `image/fit.py`: triangles whose support grows with the reduction, columns first, each pass
rounded to whole levels. It is written as two products with matrices that the graph computes from the picture's size: the
operator Resize of ONNX differs between runtimes, and in onnxruntime 1.32 its antialiasing is wrong at the edges by up to 15
levels of 255. A picture that has the net's size already is passed on as it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from beholder.base.records import PixelPolicy

Name = str


class Lines:
    """Nodes and constants of a graph as they are written down, one after the other."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def __call__(self, operator: str, *inputs: Name | float | np.ndarray, named: Name = "", **attributes: Any) -> Name:
        """Write one node and return the name of what it gives, `named` or one of its own; numbers become constants."""
        name = f"{self.prefix}{len(self.nodes)}_{operator}"
        given = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        self.nodes.append(helper.make_node(operator, given, [named or name], name=name, **attributes))
        return named or name

    def surest(self, values: Name, count: Name) -> tuple[Name, Name]:
        """Write `TopK` along the last axis and return the names of the largest values, in their order, and of their places."""
        name = self("TopK", values, count)
        self.nodes[-1].output.append(f"{name}_places")
        return name, f"{name}_places"

    def constant(self, value: float | np.ndarray) -> Name:
        """Return the name of a constant; Python's floats are float32, whole numbers int64."""
        array = np.asarray(value)
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        name = f"{self.prefix}k{len(self.constants)}"
        self.constants[name] = numpy_helper.from_array(array, name)
        return name


def front(
    policy: PixelPolicy, *, source: Name, target: Name, branch: bool = True
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Return nodes and constants that make `target`, float32 (N, C, height, width) of whole levels 0..255, of `source`.

    source: uint8 (N, C, h, w), upright pictures of one size, with as many channels as the policy has; branch: pass pictures of
    the net's size by the resize, which would leave them as they are.
    """
    outer, inner = Lines("front_"), Lines("resize_")
    levels = outer("Cast", source, to=TensorProto.FLOAT)
    shape = outer("Shape", source)
    tall = outer("Gather", shape, np.array(2, np.int64))
    wide = outer("Gather", shape, np.array(3, np.int64))
    if not branch:
        outer("Identity", _fitted(outer, policy, levels, tall, wide))
        outer.nodes[-1].output[0] = target
        return outer.nodes, list(outer.constants.values())
    same = outer("And", outer("Equal", tall, policy.height), outer("Equal", wide, policy.width))
    made = _fitted(inner, policy, levels, tall, wide)
    kept = helper.make_node("Identity", [levels], ["front_kept"], name="front_kept")
    branches = {
        "then_branch": helper.make_graph([kept], "as_it_is", [], [_pixels("front_kept", policy)]),
        "else_branch": helper.make_graph(
            inner.nodes, "resized", [], [_pixels(made, policy)], initializer=list(inner.constants.values())
        ),
    }
    outer.nodes.append(helper.make_node("If", [same], [target], name="front_size", **branches))
    return outer.nodes, list(outer.constants.values())


def _pixels(name: Name, policy: PixelPolicy) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", policy.channels, policy.height, policy.width])


def _fitted(on: Lines, policy: PixelPolicy, levels: Name, tall: Name, wide: Name) -> Name:
    """Write what `fitted` of image/fit.py does and return the name of its result."""
    high, broad = on("Cast", tall, to=TensorProto.FLOAT), on("Cast", wide, to=TensorProto.FLOAT)
    if policy.fit == "squash":
        return _resized(on, levels, (high, policy.height), (broad, policy.width))
    if policy.fit == "crop":
        return _cropped(on, policy, levels, high, broad)
    return _padded(on, policy, levels, high, broad)


def _cropped(on: Lines, policy: PixelPolicy, levels: Name, high: Name, broad: Name) -> Name:
    scale = on("Min", on("Div", broad, float(policy.width)), on("Div", high, float(policy.height)))
    boxes = []
    for length, size in ((high, policy.height), (broad, policy.width)):
        span = on("Mul", scale, float(size))
        start = on("Max", on("Mul", on("Sub", length, span), 0.5), 0.0)
        boxes.append((start, on("Min", span, length)))
    rows = _weights(on, high, policy.height, *boxes[0])
    columns = _weights(on, broad, policy.width, *boxes[1])
    return _passes(on, levels, rows, columns)


def _padded(on: Lines, policy: PixelPolicy, levels: Name, high: Name, broad: Name) -> Name:
    """Write a letter-box: the picture less its background, with zeros around it, and the background again."""
    scale = on("Min", on("Div", float(policy.width), broad), on("Div", float(policy.height), high))
    sides, before = [], []
    for length, size in ((high, policy.height), (broad, policy.width)):
        rounded = on("Round", on("Mul", length, scale))
        side = on("Cast", on("Min", on("Max", rounded, 1.0), float(size)), to=TensorProto.INT64)
        sides.append(side)
        before.append(on("Div", on("Sub", size, side), 2))
    made = _resized(on, levels, (high, sides[0]), (broad, sides[1]))
    sizes = (policy.height, policy.width)
    after = [on("Sub", on("Sub", size, side), start) for size, side, start in zip(sizes, sides, before, strict=True)]
    ground = _background(policy)
    one = np.array([1], np.int64)
    ends: list[Name | int] = [0, 0, *before, 0, 0, *after]
    pads = on("Concat", *(on("Reshape", value, one) for value in ends), axis=0)
    return on("Add", on("Pad", on("Sub", made, ground), pads, 0.0), ground)


def _background(policy: PixelPolicy) -> np.ndarray:
    """Return the colour of the letter-box, float32 (1, C, 1, 1); for grey its ITU-R 601 luma, rounded as Pillow does."""
    red, green, blue = policy.background
    if policy.channels == 1:
        return np.array([[[[(red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16]]]], np.float32)
    return np.array(policy.background, np.float32).reshape(1, 3, 1, 1)


def _resized(on: Lines, levels: Name, rows: tuple[Name, Name | int], columns: tuple[Name, Name | int]) -> Name:
    """Write a resize of the whole picture; rows, columns: (length as float, length wanted)."""
    down = _weights(on, rows[0], rows[1], on.constant(0.0), rows[0])
    along = _weights(on, columns[0], columns[1], on.constant(0.0), columns[0])
    return _passes(on, levels, down, along)


def _passes(on: Lines, levels: Name, rows: Name, columns: Name) -> Name:
    """Write the two passes of the resize, columns first: (N, C, h, w) → (N, C, height, width) in whole levels."""
    first = _rounded(on, on("MatMul", levels, on("Transpose", columns, perm=[1, 0])))
    return _rounded(on, on("MatMul", rows, first))


def _rounded(on: Lines, values: Name) -> Name:
    return on("Clip", on("Floor", on("Add", values, 0.5)), 0.0, 255.0)


def _weights(on: Lines, length: Name, wanted: Name | int, start: Name, span: Name) -> Name:
    """Write the matrix (wanted, length) by which a line of `length` pixels, from start over span, becomes one of `wanted`."""
    count = on.constant(wanted) if isinstance(wanted, int) else wanted
    scale = on("Div", span, on("Cast", count, to=TensorProto.FLOAT))
    reach = on("Max", scale, 1.0)
    targets = on("Cast", on("Range", 0, count, 1), to=TensorProto.FLOAT)
    centres = on("Add", on("Mul", on("Add", targets, 0.5), scale), start)
    places = on("Add", on("Range", 0.0, length, 1.0), 0.5)
    apart = on("Sub", on("Unsqueeze", places, np.array([0])), on("Unsqueeze", centres, np.array([1])))
    weights = on("Relu", on("Sub", 1.0, on("Div", on("Abs", apart), reach)))
    return on("Div", weights, on("ReduceSum", weights, np.array([1]), keepdims=1))
