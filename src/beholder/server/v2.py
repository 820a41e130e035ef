"""The Open Inference Protocol, version 2, so that clients which speak it to other servers work here unchanged.

A model takes `images`, UINT8 (N, C, height, width) of any height and width, or `files`, BYTES (N,), encoded pictures: binary,
or base64 in JSON. It gives `probabilities`, FP32 (N, K), `label`, BYTES (N,), `p`, FP32 (N,), and where promised
`abstain`, `positive`, `ood`, BOOL (N,), and `ood_score`, FP32 (N,). A detector gives `boxes`, FP32 (N, M, 4), `scores`,
FP32 (N, M), `labels`, BYTES (N, M), zero and empty beyond `counts`, INT64 (N,), and `sizes`, INT64 (N, 2); a request may have
the parameters `threshold` and `most`. Tensors travel as JSON or as binary data (the extension `binary_tensor_data`).
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from beholder.base.arrays import U8
from beholder.server.answering import Asked
from beholder.server.bounds import Bounds
from beholder.server.model import Encoded, Model
from beholder.server.refusal import Refusal, not_finite

LENGTH = "Inference-Header-Content-Length"
"""The header that says where JSON ends and binary data begins."""

VERSION = "1"

_DTYPES = {"FP32": np.float32, "BOOL": np.bool_, "INT64": np.int64}


def metadata(model: Model) -> dict[str, Any]:
    """Return what a model takes and gives."""
    policy = model.recogniser.policy
    return {
        "name": model.name,
        "versions": [VERSION],
        "platform": "beholder_" + model.recogniser.engine.replace(" ", "_"),
        "inputs": [
            {"name": "images", "datatype": "UINT8", "shape": [-1, policy.channels, -1, -1]},
            {"name": "files", "datatype": "BYTES", "shape": [-1]},
        ],
        "outputs": model.answers.outputs(model.says),
    }


def read(body: bytes, head: str | None, model: Model, bounds: Bounds) -> tuple[dict[str, Any], list[Encoded]]:
    """Return the request and its pictures. head: the value of the header `LENGTH`. Raises `Refusal` 400 bad-request."""
    length = len(body) if head is None else _whole(head, len(body))
    try:
        asked = json.loads(body[:length])
    except (ValueError, RecursionError):
        raise _bad("the request is not JSON") from None
    if not isinstance(asked, dict) or not isinstance(asked.get("inputs"), list) or len(asked["inputs"]) != 1:
        raise _bad("a request is an object with one input")
    given = asked["inputs"][0]
    if not isinstance(given, dict) or not isinstance(given.get("parameters", {}), dict):
        raise _bad("an input is an object")
    shape = given.get("shape")
    if not isinstance(shape, list) or not all(type(side) is int and 0 < side < 1 << 31 for side in shape):
        raise _bad("a shape is a list of whole numbers above 0")
    if not shape or shape[0] > bounds.parts:
        raise _bad(f"a request holds 1 to {bounds.parts} pictures")
    rest = body[length:] if "binary_data_size" in given.get("parameters", {}) else None
    if rest is not None and given["parameters"]["binary_data_size"] != len(rest):
        raise _bad("binary_data_size is not the size of the binary data")
    if given.get("name") == "images" and given.get("datatype") == "UINT8":
        return asked, list(_arrays(given.get("data"), rest, shape, model, bounds))
    if given.get("name") == "files" and given.get("datatype") == "BYTES" and len(shape) == 1:
        return asked, _files(given.get("data"), rest, shape[0])
    raise _bad("the input is images, UINT8 (N, C, height, width), or files, BYTES (N,)")


def wanted(asked: dict[str, Any], model: Model) -> Asked:
    """Return what a request wants of each picture, by its parameters. Raises `Refusal` 400 and 422."""
    given = asked.get("parameters")
    given = given if isinstance(given, dict) else {}
    threshold, most = given.get("threshold"), given.get("most")
    if not (threshold is None or type(threshold) in (int, float)) or not (most is None or type(most) is int):
        raise _bad("threshold is a number, and most a whole one")
    found = Asked(threshold, most)
    model.answers.check(found)
    return found


def _arrays(data: Any, rest: bytes | None, shape: list[int], model: Model, bounds: Bounds) -> Iterator[U8]:
    channels = model.recogniser.policy.channels
    if len(shape) != 4 or shape[1] != channels:
        raise _bad(f"images have the shape (N, {channels}, height, width)")
    if shape[2] * shape[3] > bounds.pixels:
        raise _bad(f"a picture has {bounds.pixels} pixels at most")
    if math.prod(shape) != (len(rest) if rest is not None else _count(data)):
        raise _bad("there are more or fewer values than the shape says")
    if rest is not None:
        found = np.frombuffer(rest, np.uint8)
    else:
        try:
            wide = np.asarray(data).reshape(-1)
        except ValueError:
            raise _bad("the values are no table") from None
        if wide.dtype.kind not in "iu" or wide.min() < 0 or wide.max() > 255:
            raise _bad("values of UINT8 are whole numbers from 0 to 255")
        found = wide.astype(np.uint8)
    for image in found.reshape(shape):  # as (height, width, C), which can be mistaken for nothing else
        yield np.ascontiguousarray(image[0] if channels == 1 else image.transpose(1, 2, 0))


def _count(data: Any) -> int:
    """Return how many numbers a list, or a list of lists, holds; -1 where it holds something else."""
    if not isinstance(data, list):
        return -1
    if not any(isinstance(value, list) for value in data):
        return len(data)
    try:
        return int(np.asarray(data).size)
    except (ValueError, RecursionError):
        return -1


def _files(data: Any, rest: bytes | None, count: int) -> list[Encoded]:
    if rest is not None:
        found = list(_strings(rest))
    elif isinstance(data, list) and all(isinstance(text, str) for text in data):
        try:
            found = [base64.b64decode(text, validate=True) for text in data]
        except (binascii.Error, ValueError):
            raise _bad("files in JSON are base64") from None
    else:
        raise _bad("files are a list of texts, in base64")
    if len(found) != count:
        raise _bad("there are more or fewer files than the shape says")
    return list(found)


def _strings(data: bytes) -> Iterator[bytes]:
    """Yield the strings of a tensor of BYTES: each has its length, four bytes, before it."""
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            raise _bad("the binary data ends in the middle of a length")
        (length,) = struct.unpack_from("<I", data, at)
        if at + 4 + length > len(data):
            raise _bad("the binary data ends in the middle of a file")
        yield data[at + 4 : at + 4 + length]
        at += 4 + length


def said(asked: dict[str, Any], answers: list[dict[str, Any]], model: Model) -> tuple[bytes, dict[str, str]]:
    """Return body and headers of the reply.

    Raises `Refusal`: 400 where a picture could not be read or an output is unknown, 500 where the net answers no numbers.
    """
    for place, answer in enumerate(answers):
        if "error" in answer:
            if answer["error"]["code"] == "not-finite":
                raise not_finite()
            raise Refusal(400, answer["error"]["code"], f"picture {place}: {answer['error']['message']}")
    outputs, tail = [], b""
    for name, binary in _wanted(asked, model):
        kind, shape, values = model.answers.tensor(name, answers)
        output: dict[str, Any] = {"name": name, "datatype": kind, "shape": shape}
        if binary:
            data = _packed(values) if kind == "BYTES" else np.asarray(values, _DTYPES[kind]).tobytes()
            output["parameters"] = {"binary_data_size": len(data)}
            tail += data
        else:
            output["data"] = values if kind == "BYTES" else np.asarray(values).reshape(-1).tolist()
        outputs.append(output)
    reply: dict[str, Any] = {"model_name": model.name, "model_version": VERSION, "outputs": outputs}
    if isinstance(asked.get("id"), str):
        reply["id"] = asked["id"]
    head = json.dumps(reply, allow_nan=False).encode()
    if not tail:
        return head, {"Content-Type": "application/json"}
    return head + tail, {"Content-Type": "application/octet-stream", LENGTH: str(len(head))}


def _wanted(asked: dict[str, Any], model: Model) -> list[tuple[str, bool]]:
    """Return the names of the outputs that are asked for, all where none is, and whether each is to be binary."""
    known = [output["name"] for output in metadata(model)["outputs"]]
    every = _flag(asked.get("parameters"), "binary_data_output")
    given = asked.get("outputs") or [{"name": name} for name in known]
    if not isinstance(given, list) or len(given) > len(known) or not all(isinstance(output, dict) for output in given):
        raise _bad("outputs are a list of objects")
    for output in given:
        if output.get("name") not in known:
            raise _bad(f"outputs are {', '.join(known)}")
    return [(output["name"], _flag(output.get("parameters"), "binary_data", otherwise=every)) for output in given]


def _flag(parameters: Any, name: str, *, otherwise: bool = False) -> bool:
    return bool(parameters.get(name, otherwise)) if isinstance(parameters, dict) else otherwise


def _packed(texts: list[str]) -> bytes:
    encoded = [text.encode() for text in texts]
    return b"".join(struct.pack("<I", len(text)) + text for text in encoded)


def _whole(text: str, most: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 12 and int(text) <= most):
        raise _bad(f"{LENGTH} is no length within the body")
    return int(text)


def _bad(why: str) -> Refusal:
    return Refusal(400, "bad-request", why)
