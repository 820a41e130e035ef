"""State shared by the paths of the server: models by name, room for bodies, the pictures of a request."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import Request
from prometheus_client.registry import Collector

from beholder.base.errors import did_you_mean
from beholder.server import body
from beholder.server.bounds import Bounds
from beholder.server.explaining import Explainer
from beholder.server.metrics import Together
from beholder.server.model import Model
from beholder.server.refusal import Refusal


class Service:
    """What the paths share.

    models: by name, the first is asked where none is named; counted: what /metrics tells; leaving: the server stops
    """

    def __init__(self, models: Mapping[str, Model], bounds: Bounds) -> None:
        self.models = dict(models)
        self.bounds = bounds
        self.held = body.Held(bounds.held)
        self.explainer = Explainer(bounds.seconds)
        self.counted: Collector = Together()
        self.leaving = False

    def model(self, name: str | None) -> Model:
        """Return the model of that name. Raises 404 unknown-model."""
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise Refusal(404, "unknown-model", f"no model is called {name[:80]!r}", hint=did_you_mean(name[:80], self.models))
        return self.models[name]

    async def pictures(self, request: Request, room: body.Room) -> list[bytes]:
        """Return the pictures of a request, at least one. Raises `Refusal`."""
        data = await body.whole(request, self.bounds, room)
        if body.is_form(request):
            kind, most = request.headers["content-type"], self.bounds.parts
            return await body.aside(lambda: body.parts(data, kind, most=most), len(data))
        if not data:
            raise Refusal(400, "no-pictures", "the body is empty", hint="curl --data-binary @a.jpg sends a picture")
        return [data]

    async def picture(self, request: Request, room: body.Room, why: str) -> bytes:
        """Return the picture of a request that may hold one only; `why` is told where it holds more. Raises `Refusal`."""
        pictures = await self.pictures(request, room)
        if len(pictures) != 1:
            raise Refusal(400, "one-picture", why)
        return pictures[0]
