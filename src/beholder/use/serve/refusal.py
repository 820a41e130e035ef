"""What a client is told when it gets no answer: a status, a code, a sentence and a hint, always as JSON of the same form."""

from __future__ import annotations

import json
import math
from typing import Any

from beholder.base.errors import BeholderError


class Refusal(BeholderError):
    """A request that is not answered. status: of HTTP; headers: beside the usual ones."""

    def __init__(self, status: int, code: str, message: str, *, hint: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(message, code=code, hint=hint)
        self.status = status
        self.headers = headers or {}

    def json(self, *, plain: bool = False) -> dict[str, Any]:
        """Return {"error": {"code", "message", "hint"}}; with `plain` {"error": sentence}, as protocol v2 has it."""
        if plain:
            return {"error": f"{self.message} ({self.code})"}
        return {"error": {"code": self.code, "message": self.message, "hint": self.hint}}

    def body(self, path: str) -> bytes:
        """Return the JSON as bytes. path: that was asked."""
        return json.dumps(self.json(plain=is_v2(path))).encode()


def is_v2(path: str) -> bool:
    """Return whether a path is one of protocol v2."""
    return path == "/v2" or path.startswith("/v2/")


def overload(seconds: float) -> Refusal:
    """Return 503 for a request that would have to wait too long. seconds: until it is worth trying again."""
    wait = str(max(1, math.ceil(seconds)))
    return Refusal(
        503, "overloaded", "too many pictures wait already", hint=f"try again in {wait} s", headers={"Retry-After": wait}
    )


def too_slow(seconds: float) -> Refusal:
    """Return 503 for a request that was not answered within so many seconds."""
    return Refusal(503, "no-answer", f"no answer within {seconds:g} s", headers={"Retry-After": "1"})


def stopping() -> Refusal:
    """Return 503 for a request that came while the server leaves."""
    return Refusal(503, "stopping", "the server is stopping", hint="try again in a moment", headers={"Retry-After": "1"})
