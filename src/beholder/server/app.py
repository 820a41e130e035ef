"""The HTTP application: paths, requests and responses. No path fetches an address or loads a bundle."""

from __future__ import annotations

from importlib.metadata import version
from importlib.resources import files
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from starlette.exceptions import HTTPException

from beholder.server import body, described, protocol
from beholder.server.answering import Asked
from beholder.server.model import Model
from beholder.server.refusal import Refusal, answer, stopping
from beholder.server.service import Service

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Media types of the page's files by their ending; files with others are not served."""

PAGE = "page"
"""The name of the routes of the page and its files, which need no key."""


def build(service: Service) -> FastAPI:
    """Return the application."""
    app = FastAPI(
        title="Beholder",
        version=version("beholder"),
        description=described.WHAT,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    _refusals(app)
    _health(app, service)
    _recognition(app, service)
    _explanation(app, service)
    protocol.add(app, service)
    _page(app)
    return app


def _refusals(app: FastAPI) -> None:
    @app.exception_handler(Refusal)
    async def refused(request: Request, error: Refusal) -> Response:
        return error.response(request.url.path)

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        code = {404: "no-such-path", 405: "wrong-method"}.get(error.status_code, "refused")
        why, hint = f"{request.method} {request.url.path[:80]} is not served here", "GET /openapi.json says what is"
        headers = dict(error.headers or {})
        return Refusal(error.status_code, code, why, hint=hint, headers=headers).response(request.url.path)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return Refusal(422, "bad-parameter", f"{first['loc'][-1]}: {first['msg']}"[:200]).response(request.url.path)


def _health(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", tags=["health"], responses=described.HEALTH)
    async def healthz() -> Response:
        """Say that the process answers."""
        return answer({"status": "ok"})

    @app.get("/readyz", tags=["health"], responses=described.HEALTH)
    async def readyz() -> Response:
        """Say whether pictures are taken: not while the server leaves."""
        if service.leaving:
            raise stopping()
        return answer({"status": "ready"})

    @app.get("/models", tags=["recognition"], responses=described.MODELS)
    async def models() -> Response:
        """List the bundles that are served: names, classes, sizes."""
        return answer([model.about() for model in service.models.values()])


def _recognition(app: FastAPI, service: Service) -> None:
    @app.post("/predict", tags=["recognition"], responses=described.PREDICT, openapi_extra=described.PICTURES)
    async def predict(
        request: Request, model: str | None = None, threshold: float | None = None, most: int | None = None
    ) -> Response:
        """Recognise one picture (the body itself) or many (the parts `files` of a form).

        threshold, most: of a model that finds boxes: the least probability of one, and how many a picture has at most.
        """
        asked, wanted = service.model(model), Asked(threshold, most)
        asked.answers.check(wanted)
        asked.admit()
        with service.held.room() as room:
            pictures = await service.pictures(request, room)
            answers, timing = await asked.answered(pictures, wanted)
        found: dict[str, Any] = {"model": asked.name, "answers": answers, "timing": timing}
        if len(answers) == 1 and "error" in answers[0] and not body.is_form(request):
            return answer({**found, "error": {**answers[0]["error"], "hint": ""}}, status=422)
        return answer(found)


def _explanation(app: FastAPI, service: Service) -> None:
    @app.post("/explain", tags=["recognition"], responses=described.EXPLAIN, openapi_extra=described.PICTURES)
    async def explain(
        request: Request, model: str | None = None, label: Annotated[str | None, Query(alias="class")] = None
    ) -> Response:
        """Show where in a picture the answer is found: what speaks for `class`, or for the most probable one."""
        asked = service.model(model)
        _of_labels(asked)
        service.explainer.admit()
        with service.held.room() as room:
            picture = await service.picture(request, room, "a heat map is made of one picture")
            made, said = await service.explainer.png(asked.explains, picture, label=label, limits=service.bounds.limits)
        return Response(made, media_type="image/png", headers=said)

    @app.post("/nearest", tags=["recognition"], responses=described.NEAREST, openapi_extra=described.PICTURES)
    async def nearest(request: Request, model: str | None = None) -> Response:
        """Return the training pictures that the net finds most like one, small, the most like first."""
        asked = service.model(model)
        _of_labels(asked)
        service.explainer.admit()
        with service.held.room() as room:
            picture = await service.picture(request, room, "the nearest pictures are those of one picture")
            found = await service.explainer.near(asked.nearby, picture, limits=service.bounds.limits)
        return answer({"model": asked.name, "like": found})

    @app.get("/metrics", tags=["health"], responses=described.METRICS)
    async def metrics() -> Response:
        """Return counters for Prometheus."""
        return Response(generate_latest(service.counted), media_type=CONTENT_TYPE_PLAIN_0_0_4)


def _of_labels(model: Model) -> None:
    """Raise 501 where a model finds boxes: it has neither heat maps nor nearest pictures."""
    if not model.answers.explainable:
        raise Refusal(501, "finds-boxes", f"{model.name} finds boxes: heat maps and nearest pictures are of labels")


def _page(app: FastAPI) -> None:
    folder = files("beholder.server").joinpath("page")
    for file in folder.iterdir() if folder.is_dir() else ():
        kind = KINDS.get(file.name[file.name.rfind(".") :])
        if file.is_file() and kind is not None:
            path = "/" if file.name == "index.html" else f"/{file.name}"
            _fixed(app, path, file.read_bytes(), kind)
    _fixed(app, "/bidi.js", files("beholder.base").joinpath("bidi.js").read_bytes(), KINDS[".js"])


def _fixed(app: FastAPI, path: str, data: bytes, kind: str) -> None:
    @app.get(path, include_in_schema=False, name=PAGE)
    async def fixed() -> Response:
        return Response(data, media_type=kind, headers={"Cache-Control": "no-cache"})
