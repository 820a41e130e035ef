"""The forms that a bundle can be exported to: how each is made and run. A plug-in adds one through `beholder.exports`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from beholder.base.arrays import U8
from beholder.runtime.exported import opened
from beholder.runtime.exports import OPSET, PRECISIONS, Form
from beholder.runtime.sessions import Run

if TYPE_CHECKING:
    from beholder.bundle.bundle import Bundle


def _onnx(bundle: Bundle, precision: str, training: U8) -> list[bytes]:
    from beholder.runtime.export.onnx import encoded

    return [encoded(bundle, precision=precision, training=training)]


def _openvino(bundle: Bundle, precision: str, training: U8) -> list[bytes]:
    from beholder.runtime.export.onnx import encoded
    from beholder.runtime.export.others import openvino

    inner = "int8" if precision == "int8" else "fp32"
    return openvino(bundle, encoded(bundle, precision=inner, training=training, branch=False), precision)


def _torch(bundle: Bundle, precision: str, _training: U8) -> list[bytes]:
    from beholder.runtime.export.others import program

    return [program(bundle, precision)]


def _running(data: list[bytes]) -> Run:
    from beholder.runtime.export.others import running

    return running(data[0])


ONNX = Form(_onnx, lambda data: opened(data, Path("model.onnx"))[1], ".onnx", PRECISIONS, resizes=True, facts={"opset": OPSET})
OPENVINO = Form(_openvino, lambda data: opened(data, Path("model.xml"))[1], ".xml", PRECISIONS, resizes=True)
TORCH = Form(_torch, _running, ".pt2", ("fp32", "fp16"))
