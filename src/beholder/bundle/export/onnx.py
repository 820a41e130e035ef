"""The ONNX graph of a bundle: uint8 pixels of any size in; calibrated probabilities, features and logits out."""

from __future__ import annotations

import base64
import copy
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from beholder.base.errors import BundleError
from beholder.bundle import stranger
from beholder.bundle.bundle import Bundle
from beholder.bundle.export.front import front
from beholder.bundle.infer import activated, outputs_of
from beholder.bundle.recogniser import Recogniser

OPSET = 18
IR = 10
INPUT = "images"
OUTPUTS = ("probabilities", "features", "logits")
_LEVELS = "levels"


class _Answer(nn.Module):
    """The net with what surrounds it: levels float32 (N, C, height, width) in 0..255 → probabilities, features, logits."""

    scale: Tensor
    bias: Tensor
    slope: Tensor
    offset: Tensor

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        self.net = copy.deepcopy(bundle.net).cpu().float().eval()
        self.config = bundle.config
        self.multi = bundle.multi
        kept = bundle.config.get("calibration") or {"scale": [1.0], "bias": [0.0]}
        self.register_buffer("scale", torch.tensor(kept["scale"], dtype=torch.float32))
        self.register_buffer("bias", torch.tensor(kept["bias"], dtype=torch.float32))
        mean, std = (torch.tensor(self.config[name], dtype=torch.float32).view(1, -1, 1, 1) for name in ("mean", "std"))
        self.register_buffer("slope", 1 / std / 255)
        self.register_buffer("offset", -mean / std)

    def forward(self, levels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits, features = outputs_of(self.net, levels * self.slope + self.offset, mirror=bool(self.config["mirror"]))
        return activated(logits * self.scale + self.bias, multi=self.multi), features, logits


def encoded(bundle: Bundle) -> bytes:
    """Return the bytes of the bundle's graph (opset `OPSET`), checked by onnx. Raises `BundleError` if it cannot be made."""
    graph = _with_front(_net(bundle), bundle)
    helper.set_model_props(graph, metadata(bundle))
    try:
        onnx.checker.check_model(graph, full_check=True)
        return bytes(graph.SerializeToString())
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise _failed(bundle, error) from error


def metadata(recogniser: Recogniser) -> dict[str, str]:
    """Return what the graph says of itself, name → text.

    classes, policy, operating and opset for whoever reads the file without Beholder (classes as a JSON list); beholder: the
    whole config.json; references: the features that strangers are told by, a base64 .npy, where there are any.
    """
    config = recogniser.config
    found = {
        "classes": json.dumps(list(recogniser.classes), ensure_ascii=False),
        "task": str(config["task"]),
        "policy": json.dumps(config["pixels"]),
        "operating": json.dumps(config.get("operating", {})),
        "opset": str(OPSET),
        "beholder": json.dumps(config),
    }
    if recogniser.references is not None:
        found["references"] = base64.b64encode(stranger.encoded(recogniser.references)).decode()
    return found


def _net(bundle: Bundle) -> onnx.ModelProto:
    """Return the graph from levels, float32 of the net's own size, to the outputs."""
    policy = bundle.policy
    sample = torch.zeros(2, policy.channels, policy.height, policy.width)
    try:
        with _quiet(), torch.inference_mode():
            program = torch.onnx.export(
                _Answer(bundle).eval(),
                (sample,),
                input_names=[_LEVELS],
                output_names=list(OUTPUTS),
                opset_version=OPSET,
                dynamic_shapes=({0: torch.export.Dim("N", min=1)},),
                dynamo=True,
                verbose=False,
            )
            assert program is not None
            found: onnx.ModelProto = program.model_proto
    except Exception as error:
        raise _failed(bundle, error) from error
    return found


def _with_front(net: onnx.ModelProto, bundle: Bundle) -> onnx.ModelProto:
    policy = bundle.policy
    nodes, constants = front(policy, source=INPUT, target=_LEVELS)
    graph = net.graph
    given = helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["N", policy.channels, "height", "width"])
    made = helper.make_graph([*nodes, *graph.node], "beholder", [given], list(graph.output), [*constants, *graph.initializer])
    model = helper.make_model(
        made, opset_imports=net.opset_import, functions=net.functions, producer_name="beholder", ir_version=IR
    )
    model.producer_version = str(bundle.config.get("version", ""))
    return model


def _failed(bundle: Bundle, error: Exception) -> BundleError:
    said = next(iter(str(error).splitlines()), "")
    return BundleError(
        f"net '{bundle.spec.name}' cannot be written as ONNX: {type(error).__name__}: {said}",
        code="not-exportable",
        hint="if it is a net of yours: torch.onnx.export has to be able to follow its forward",
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporter says of its own inner matters from the user."""
    names = ("torch.onnx", "onnxscript", "onnx_ir")
    before = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
