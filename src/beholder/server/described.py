"""What /openapi.json says of bodies and answers that the code itself does not: they are bytes, read without a model class."""

from __future__ import annotations

from typing import Any

WHAT = "Recognises pictures. Probabilities are calibrated where the bundle says so; docs/SERVING.md describes every path."

_Json = dict[str, Any]


def _object(properties: _Json, *, required: list[str] | None = None) -> _Json:
    return {"type": "object", "properties": properties, "required": sorted(properties) if required is None else required}


_STRING: _Json = {"type": "string"}
_NUMBER: _Json = {"type": "number"}
_WHOLE: _Json = {"type": "integer"}
_ERROR = _object({"code": _STRING, "message": _STRING, "hint": _STRING}, required=["code", "message"])
_REFUSAL = _object({"error": _ERROR})
_BOX = _object({"label": _STRING, "p": _NUMBER, "box": {"type": "array", "items": _NUMBER, "minItems": 4, "maxItems": 4}})
_ANSWER = _object(
    {
        "width": {**_WHOLE, "description": "of the picture, upright; where boxes are found"},
        "height": _WHOLE,
        "boxes": {"type": "array", "items": _BOX, "description": "left, top, right, bottom in pixels; the surest first"},
        "label": {"type": ["string", "null"]},
        "p": _NUMBER,
        "probabilities": {"type": "object", "additionalProperties": _NUMBER},
        "abstain": {"type": "boolean"},
        "positive": {"type": "boolean"},
        "set": {"type": "array", "items": _STRING},
        "ood": {"type": "boolean"},
        "ood_score": _NUMBER,
        "stranger": {"type": "boolean", "deprecated": True, "description": "ood"},
        "strangeness": {**_NUMBER, "deprecated": True, "description": "ood_score"},
        "error": _ERROR,
    },
    required=[],
)
_ANSWERS = _object(
    {
        "model": _STRING,
        "answers": {"type": "array", "items": _ANSWER},
        "timing": _object({"queue_ms": _NUMBER, "decode_ms": _NUMBER, "infer_ms": _NUMBER}),
    }
)
_ABOUT = _object(
    {
        "name": _STRING,
        "classes": {"type": "array", "items": _STRING},
        "task": _STRING,
        "several": {"type": "boolean"},
        "most": {**_WHOLE, "description": "boxes of a picture, of a detector"},
        "thresholds": {"type": "array", "items": _NUMBER, "description": "of each class, of a detector"},
        "height": _WHOLE,
        "width": _WHOLE,
        "channels": _WHOLE,
        "engine": _STRING,
        "explains": {"type": "boolean"},
        "likes": {"type": "boolean"},
    },
    required=["name", "classes", "task", "several", "height", "width", "channels", "engine", "explains", "likes"],
)

_WHY = {
    400: "the request makes no sense",
    401: "a key is needed",
    403: "a page elsewhere may not ask",
    404: "there is no such model or path",
    408: "the body came too slowly",
    413: "the body is too large, or has too many parts",
    415: "the body is encoded",
    421: "the Host header is not one of this server's names",
    422: "the picture cannot be read, or a parameter is wrong",
    431: "the headers are too large",
    500: "a fault of the server",
    501: "the bundle cannot do this",
    503: "too many wait already, or the server is stopping; Retry-After says when to come again",
}


def _json(schema: _Json, words: str) -> _Json:
    return {"description": words, "content": {"application/json": {"schema": schema}}}


def answers(schema: _Json, words: str, *codes: int) -> dict[int | str, _Json]:
    """Return the answers of a path: 200 of that JSON schema, and the refusals of these and the usual codes."""
    return {200: _json(schema, words), **_refusals(_REFUSAL, *codes)}


def _refusals(schema: _Json, *codes: int) -> dict[int | str, _Json]:
    return {code: _json(schema, _WHY[code]) for code in (401, 403, 421, 431, *codes)}


HEALTH = answers(_object({"status": _STRING}), "yes", 503)
MODELS = answers({"type": "array", "items": _ABOUT}, "the bundles")
_TAKING = (400, 404, 408, 413, 415, 422, 500, 503)
"""What a path that takes pictures may refuse them with."""

PREDICT = answers(_ANSWERS, "an answer a picture, in their order", *_TAKING)

EXPLAIN: dict[int | str, _Json] = {
    200: {
        "description": "the picture in grey, the heat over it",
        "content": {"image/png": {"schema": {"type": "string"}}},
        "headers": {
            "Beholder-Map": {"schema": {"enum": ["sound", "doubtful", "empty"]}, "description": "whether it can be trusted"},
            "Beholder-Covered": {
                "schema": _STRING,
                "description": "share=…;p=…;elsewhere=…: p with warm and other places covered",
            },
            "Beholder-Remark": {"schema": _STRING, "description": "that in a sentence, percent-encoded"},
        },
    },
    **_refusals(_REFUSAL, *_TAKING, 501),
}
_LIKE = _object(
    {"digest": _STRING, "labels": {"type": "array", "items": _STRING}, "similarity": _NUMBER, "image": _STRING},
    required=["digest", "labels", "similarity"],
)
NEAREST = answers(_object({"model": _STRING, "like": {"type": "array", "items": _LIKE}}), "the most like first", *_TAKING, 501)
METRICS: dict[int | str, _Json] = {
    200: {"description": "values, as Prometheus reads them", "content": {"text/plain": {"schema": {"type": "string"}}}},
    **_refusals(_REFUSAL),
}

_ANY: _Json = {"type": "object"}
_WRONG = _object({"error": _STRING})
V2 = {200: _json(_ANY, "as the protocol says"), **_refusals(_WRONG, 404, 503)}
INFER = {
    200: {
        "description": "the outputs, as JSON or with binary data after it",
        "content": {"application/json": {"schema": _ANY}, "application/octet-stream": {"schema": {"type": "string"}}},
    },
    **_refusals(_WRONG, *_TAKING),
}
TENSORS: _Json = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": _ANY}, "application/octet-stream": {"schema": {"type": "string"}}},
    }
}
"""One input tensor."""

_FILES = _object({"files": {"type": "array", "items": {"type": "string", "format": "binary"}}})
_BINARY: _Json = {"schema": {"type": "string", "format": "binary"}}

PICTURES: _Json = {
    "requestBody": {
        "required": True,
        "content": {"image/*": _BINARY, "application/octet-stream": _BINARY, "multipart/form-data": {"schema": _FILES}},
    }
}
"""One picture as the body, or many as parts of a form."""
