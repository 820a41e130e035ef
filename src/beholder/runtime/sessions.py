"""The runtimes that run an exported graph, onnxruntime and OpenVINO. Each is imported when it is asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from beholder.base.arrays import F32, U8
from beholder.base.errors import UsageError
from beholder.machine import cpu

Run = Callable[[U8], tuple[F32, F32]]
"""Maps uint8 (N, C, height, width) to logits float32 (N, K), not calibrated, and features float32 (N, F)."""

Opened = tuple[str, Run, Mapping[str, str]]
"""Name of the runtime, what runs the net, what the graph says of itself."""

WANTED = ["logits", "features"]

_guard = threading.Lock()
_cores: list[Any] = []


def core() -> Any:
    """Return OpenVINO's `Core`: the same at each call, never freed.

    Each core lays the signal stack of its thread aside and puts it back when it goes. Of two that do not go in the reverse
    order of their coming, one puts back what the other has freed, and the next Ctrl-C ends the process by a segmentation fault
    (seen with OpenVINO 2026.4, and shown by tests/runtime/test_sessions.py). Raises `UsageError` where it is not installed.
    """
    with _guard:
        if not _cores:
            try:
                import openvino
            except ImportError as error:
                hint = "pip install 'beholder[openvino]'"
                raise UsageError("OpenVINO is not installed", code="needs-extra", hint=hint) from error
            _cores.append(openvino.Core())
        return _cores[0]


def onnx(data: list[bytes], *, threads: int = 0) -> Opened:
    """Return onnxruntime on a graph. data: the bytes of the .onnx file; threads: 0: as many as it thinks fit.

    Raises `ValueError` for a graph that is refused, or whose inputs and outputs are not those of an export.
    """
    session = session_of(data[0], threads=threads)
    _check([value.name for value in session.get_inputs()], [value.name for value in session.get_outputs()])

    def run(images: U8) -> tuple[F32, F32]:
        logits, features = session.run(WANTED, {"images": images})
        return logits, features

    return "onnxruntime", run, session.get_modelmeta().custom_metadata_map


def session_of(data: bytes, *, threads: int = 0) -> Any:
    """Return onnxruntime's session of a graph, as `onnx` has it. Raises `ValueError` for one that is refused."""
    try:
        import onnxruntime
    except ImportError as error:
        raise UsageError("onnxruntime is not installed", code="needs-extra", hint="pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or _threads()
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads leave the cores to the decoders
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base but Exception
        raise ValueError(f"onnxruntime refuses it ({type(error).__name__})") from error


def openvino(data: list[bytes], *, threads: int = 0, hint: str = "f32", size: tuple[int, int] | None = None) -> Opened:
    """Return OpenVINO on a graph. data: the bytes of an .onnx file, or of an .xml and its .bin.

    hint: f32 or bf16, in which the net may compute; size: (height, width) where all pictures have that of the net, which leaves
    the resize out. Raises `ValueError` as `onnx` does, `UsageError` where it is not installed.
    """
    opened, options = core(), {"INFERENCE_PRECISION_HINT": hint}
    if threads or _threads():
        options["INFERENCE_NUM_THREADS"] = str(threads or _threads())
    try:
        graph: Any = opened.read_model(*data)
        names = [sorted(port.get_names())[0] if port.get_names() else "" for port in (*graph.inputs, *graph.outputs)]
        _check(names[: len(graph.inputs)], names[len(graph.inputs) :])
        if size is not None:
            graph.reshape([-1, graph.input(0).partial_shape[1], *size])
        compiled: Any = opened.compile_model(graph, "CPU", options)
    except RuntimeError as error:
        raise ValueError(f"OpenVINO refuses it ({str(error).splitlines()[0][:100] if str(error) else ''})") from error
    places = [names[len(graph.inputs) :].index(name) for name in WANTED]
    said = graph.get_rt_info(["beholder"]).value if graph.has_rt_info(["beholder"]) else {}

    def run(images: U8) -> tuple[F32, F32]:
        found = compiled(images)
        return tuple(np.array(found[place], np.float32) for place in places)  # type: ignore[return-value]

    return "OpenVINO", run, {name: str(value) for name, value in said.items()}


def _threads() -> int:
    """Return 2 on a machine of two processors, which a runtime may take for the halves of one; else 0, as it likes."""
    return 2 if cpu.threads() == 2 else 0


def _check(inputs: list[str], outputs: list[str]) -> None:
    if inputs != ["images"] or not set(WANTED) <= set(outputs):
        raise ValueError("it has other inputs and outputs")
