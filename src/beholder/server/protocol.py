"""The paths of the Open Inference Protocol, version 2; what is asked and said there is in `v2`."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import FastAPI, Request, Response

from beholder.server import body, described, v2
from beholder.server.model import Model
from beholder.server.refusal import Refusal, answer, stopping
from beholder.server.service import Service

MODEL = "/v2/models/{name}"
VERSIONED = MODEL + "/versions/{number}"


def add(app: FastAPI, service: Service) -> None:
    """Add the paths to the application."""
    _server(app, service)
    _models(app, service)

    @app.post(MODEL + "/infer", tags=["protocol v2"], responses=described.INFER, openapi_extra=described.TENSORS)
    @app.post(VERSIONED + "/infer", include_in_schema=False)
    async def infer(request: Request, name: str) -> Response:
        """Recognise the pictures of one input tensor."""
        model = _known(service, request)
        model.admit()
        with service.held.room() as room:
            data = await body.whole(request, service.bounds, room)
            head = request.headers.get(v2.LENGTH)
            asked, pictures = await body.aside(lambda: v2.read(data, head, model, service.bounds), len(data))
            answers, _ = await model.answered(pictures, v2.wanted(asked, model))
        reply, headers = v2.said(asked, answers, model)
        return Response(reply, headers=headers)


def _server(app: FastAPI, service: Service) -> None:
    @app.get("/v2", tags=["protocol v2"], responses=described.V2)
    async def server() -> Response:
        """Say which server this is."""
        return answer({"name": "beholder", "version": version("beholder"), "extensions": ["binary_tensor_data"]})

    @app.get("/v2/health/live", tags=["protocol v2"], responses=described.V2)
    async def live() -> Response:
        """Say that the process answers."""
        return answer({"live": True})

    @app.get("/v2/health/ready", tags=["protocol v2"], responses=described.V2)
    async def ready() -> Response:
        """Say whether pictures are taken."""
        if service.leaving:
            raise stopping()
        return answer({"ready": True})


def _models(app: FastAPI, service: Service) -> None:
    @app.get(MODEL, tags=["protocol v2"], responses=described.V2)
    @app.get(VERSIONED, include_in_schema=False)
    async def metadata(request: Request, name: str) -> Response:
        """Say what a model takes and gives."""
        return answer(v2.metadata(_known(service, request)))

    @app.get(MODEL + "/ready", tags=["protocol v2"], responses=described.V2)
    @app.get(VERSIONED + "/ready", include_in_schema=False)
    async def model_ready(request: Request, name: str) -> Response:
        """Say whether a model takes pictures."""
        _known(service, request)
        if service.leaving:
            raise stopping()
        return answer({"name": name, "ready": True})


def _known(service: Service, request: Request) -> Model:
    if request.path_params.get("number", v2.VERSION) != v2.VERSION:
        raise Refusal(404, "unknown-version", f"there is version {v2.VERSION} only")
    return service.model(request.path_params["name"])
