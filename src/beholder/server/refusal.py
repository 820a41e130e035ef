"""Error responses: a status, a code, a message and a hint, always JSON of the same form."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from starlette.responses import Response

from beholder.base.errors import BeholderError
from beholder.bundle.recogniser import NOT_FINITE, NOT_FINITE_HINT


class Refusal(BeholderError):
    """A request that is not answered. status: of HTTP; headers: beside the usual ones."""

    def __init__(self, status: int, code: str, message: str, *, hint: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(message, code=code, hint=hint)
        self.status = status
        self.headers = headers or {}

    def response(self, path: str) -> Response:
        """Return {"error": {"code", "message", "hint"}} as JSON; {"error": sentence} for a path of protocol v2."""
        said = {"code": self.code, "message": self.message, "hint": self.hint}
        is_v2 = path == "/v2" or path.startswith("/v2/")
        return answer({"error": f"{self.message} ({self.code})" if is_v2 else said}, status=self.status, headers=self.headers)


def answer(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON answer."""
    return Response(json.dumps(value, allow_nan=False).encode(), status, headers, "application/json")


def overload(seconds: float) -> Refusal:
    """Return 503 for a request that would have to wait too long. seconds: until it is worth trying again."""
    wait = str(max(1, math.ceil(seconds)))
    return Refusal(
        503, "overloaded", "too many pictures wait already", hint=f"try again in {wait} s", headers={"Retry-After": wait}
    )


def too_slow(seconds: float) -> Refusal:
    """Return 503 for a request that was not answered within so many seconds."""
    return Refusal(503, "no-answer", f"no answer within {seconds:g} s", headers={"Retry-After": "1"})


def not_finite() -> Refusal:
    """Return 500 for pictures to which the net answers NaN or infinity."""
    return Refusal(500, "not-finite", NOT_FINITE, hint=NOT_FINITE_HINT)


def stopping() -> Refusal:
    """Return 503 for a request that came while the server leaves."""
    return Refusal(503, "stopping", "the server is stopping", hint="try again in a moment", headers={"Retry-After": "1"})


def no_replica() -> Refusal:
    """Return 503 for a request to a cluster on which nothing answers it: not yet, no longer, or what had it was lost."""
    hint = "try again in a moment"
    return Refusal(503, "no-replica", "nothing answered: it starts, stops or was lost", hint=hint, headers={"Retry-After": "1"})
