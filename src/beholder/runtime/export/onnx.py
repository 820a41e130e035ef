"""The ONNX graph of a bundle: uint8 pixels of any size in; calibrated probabilities, features and logits out.

In three precisions. fp32; fp16: weights and net in half precision, pixels and answers not; int8: static QDQ (`int8.py`).
"""

from __future__ import annotations

import base64
import copy
import json

import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from beholder.base.arrays import U8
from beholder.base.errors import BundleError
from beholder.bundle import ood
from beholder.bundle.bundle import Bundle
from beholder.bundle.infer import outputs_of
from beholder.bundle.recogniser import Recogniser
from beholder.nets.features import head
from beholder.runtime.export.front import front
from beholder.runtime.export.quiet import quiet
from beholder.runtime.exports import OPSET

IR = 10
INPUT = "images"
OUTPUTS = ("probabilities", "features", "logits")
LEVELS = "levels"


class Answer(nn.Module):
    """The net with what surrounds it: levels float32 (N, C, height, width) in 0..255 → probabilities, features, logits."""

    scale: Tensor
    bias: Tensor
    slope: Tensor
    offset: Tensor

    def __init__(self, bundle: Bundle, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.net = copy.deepcopy(bundle.net).cpu().to(dtype).eval()
        self.dtype = dtype
        last = head(self.net)
        if last is not None:  # it is given features, which are float32 in any precision
            last.float()
        self.config = bundle.config
        self.activation = bundle.task.activation
        kept = bundle.config.calibration
        self.register_buffer("scale", torch.tensor(kept.scale if kept else (1.0,)))
        self.register_buffer("bias", torch.tensor(kept.bias if kept else (0.0,)))
        mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (self.config.mean, self.config.std))
        self.register_buffer("slope", 1 / std / 255)
        self.register_buffer("offset", -mean / std)

    def forward(self, levels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return probabilities float32 (N, K), calibrated; features float32 (N, F); logits float32 (N, W), not calibrated."""
        images = (levels * self.slope + self.offset).to(self.dtype)
        logits, features = self._both(images) if self.config.mirror else outputs_of(self.net, images, mirror=False)
        return self.activation(logits * self.scale + self.bias), features.float(), logits

    def _both(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the means of both sides of the mirror, which go through the net as one batch: half the nodes, and as fast."""
        logits, features = outputs_of(self.net, torch.cat([images, images.flip(-1)]), mirror=False)
        return logits.reshape(2, -1, logits.shape[1]).mean(0), features.reshape(2, -1, features.shape[1]).mean(0)


def encoded(bundle: Bundle, *, precision: str = "fp32", training: U8 | None = None, branch: bool = True) -> bytes:
    """Return the bytes of the bundle's graph (opset `OPSET`), checked by onnx. Raises `BundleError` if it cannot be made.

    training: uint8 (N, C, height, width), what int8 is calibrated on; branch: pass pixels of the net's size by the resize
    """
    net = _net(bundle, torch.float16 if precision == "fp16" else torch.float32)
    if precision == "int8":
        assert training is not None
        from beholder.runtime.export.int8 import quantised

        net = quantised(net, training, given=LEVELS)
    graph = _with_front(net, bundle, branch=branch)
    helper.set_model_props(graph, {**metadata(bundle), "precision": precision})
    try:
        onnx.checker.check_model(graph, full_check=True)
        return bytes(graph.SerializeToString())
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise failed(bundle, error) from error


def metadata(recogniser: Recogniser) -> dict[str, str]:
    """Return what the graph says of itself, name → text.

    classes, policy, operating and opset for readers of the file without Beholder (classes as a JSON list); beholder: the
    whole config.json; references: the features for OOD detection, a base64 .npy, where there are any.
    """
    config = recogniser.config
    found = {
        "classes": json.dumps(list(recogniser.classes), ensure_ascii=False),
        "task": config.task,
        "policy": json.dumps(config.pixels.json()),
        "operating": json.dumps({point.kind: point.json() for point in config.operating_points}),
        "opset": str(OPSET),
        "beholder": json.dumps(config.json()),
    }
    if recogniser.references is not None:
        found["references"] = base64.b64encode(ood.encoded(recogniser.references)).decode()
    return found


def _net(bundle: Bundle, dtype: torch.dtype) -> onnx.ModelProto:
    """Return the graph from levels, float32 of the net's own size, to the outputs."""
    policy = bundle.policy
    sample = torch.zeros(2, policy.channels, policy.height, policy.width)
    try:
        with quiet(), torch.inference_mode():
            program = torch.onnx.export(
                Answer(bundle, dtype).eval(),
                (sample,),
                input_names=[LEVELS],
                output_names=list(OUTPUTS),
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
        raise failed(bundle, error) from error
    return found


def _with_front(net: onnx.ModelProto, bundle: Bundle, *, branch: bool) -> onnx.ModelProto:
    policy = bundle.policy
    nodes, constants = front(policy, source=INPUT, target=LEVELS, branch=branch)
    graph = net.graph
    given = helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["N", policy.channels, "height", "width"])
    made = helper.make_graph([*nodes, *graph.node], "beholder", [given], list(graph.output), [*constants, *graph.initializer])
    model = helper.make_model(
        made, opset_imports=net.opset_import, functions=net.functions, producer_name="beholder", ir_version=IR
    )
    model.producer_version = bundle.config.version
    return model


def failed(bundle: Bundle, error: Exception) -> BundleError:
    """Return what to say of a bundle whose net an exporter cannot write."""
    return not_writable(bundle.config.net.name, error)


def not_writable(net: str, error: Exception) -> BundleError:
    """Return what to say of a net of this name that an exporter cannot write."""
    said = next(iter(str(error).splitlines()), "")
    text = f"net '{net}' cannot be written as ONNX: {type(error).__name__}: {said}"
    hint = "if it is a net of yours: torch.onnx.export has to be able to follow its forward"
    return BundleError(text, code="not-exportable", hint=hint)
