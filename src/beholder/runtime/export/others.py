"""The other two forms: OpenVINO's own, made of the ONNX graph, and a program of torch.export."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from beholder.bundle.bundle import Bundle
from beholder.runtime.export.onnx import Answer, failed, metadata
from beholder.runtime.export.quiet import quiet
from beholder.runtime.sessions import Run, core

SAID = "beholder.json"
"""What a program holds beside itself: the metadata of the graph, as JSON."""


def openvino(bundle: Bundle, graph: bytes, precision: str) -> list[bytes]:
    """Return the .xml and the .bin of an ONNX graph of the bundle; fp16: weights are kept in half precision.

    Raises `UsageError` where OpenVINO is not installed.
    """
    opened = core()
    import openvino as ov

    try:
        made: Any = opened.read_model(graph)
    except RuntimeError as error:
        raise failed(bundle, error) from error
    for name, text in {**metadata(bundle), "precision": precision}.items():
        made.set_rt_info(text, ["beholder", name])
    with tempfile.TemporaryDirectory() as folder:
        ov.save_model(made, str(Path(folder) / "model.xml"), compress_to_fp16=precision == "fp16")
        return [(Path(folder) / name).read_bytes() for name in ("model.xml", "model.bin")]


class _Program(nn.Module):
    """uint8 (N, C, height, width) of the net's own size → probabilities, features, logits."""

    def __init__(self, bundle: Bundle, dtype: torch.dtype) -> None:
        super().__init__()
        self.answer = Answer(bundle, dtype).eval()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found: tuple[Tensor, Tensor, Tensor] = self.answer(images.float())
        return found


def program(bundle: Bundle, precision: str) -> bytes:
    """Return the bytes of a .pt2 file: a program of torch.export, with the metadata of the graph in `SAID`.

    It holds no pickle: the sample inputs, which torch would write as one, are left out.
    """
    policy = bundle.policy
    dtype = torch.float16 if precision == "fp16" else torch.float32
    sample = torch.zeros(2, policy.channels, policy.height, policy.width, dtype=torch.uint8)
    try:
        with quiet():
            with torch.no_grad():
                made = torch.export.export(
                    _Program(bundle, dtype).eval(), (sample,), dynamic_shapes=({0: torch.export.Dim("N", min=1)},)
                )
            made.example_inputs = None
            buffer = io.BytesIO()
            torch.export.save(made, buffer, extra_files={SAID: metadata(bundle)["beholder"]})
    except Exception as error:  # the exporter raises whatever a net of somebody's own makes it raise
        raise failed(bundle, error) from error
    return buffer.getvalue()


def running(data: bytes) -> Run:
    """Return what runs a program of `program`."""
    with quiet():
        module = torch.export.load(io.BytesIO(data)).module()

    def run(images: Any) -> tuple[Any, Any]:
        with torch.inference_mode():
            _, features, logits = module(torch.from_numpy(images))
        return logits.numpy(), features.numpy()

    return run
