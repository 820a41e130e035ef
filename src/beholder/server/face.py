"""The application with all that it works with: models, their queues, threads that decode, the guard and what is counted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from fastapi.routing import APIRoute

from beholder.bundle.finder import Finder
from beholder.bundle.recogniser import Recogniser
from beholder.image.sandbox import decoders
from beholder.server.app import PAGE, build
from beholder.server.bounds import Bounds
from beholder.server.guard import OPEN, Access, Guard
from beholder.server.metrics import Counts
from beholder.server.model import Model
from beholder.server.nearby import Nearby
from beholder.server.service import Service


@dataclass
class Face:
    """What answers requests, as ASGI. counts: what it counts; waits: on leaving, for the pictures that were accepted."""

    guard: Guard
    service: Service
    counts: Counts
    waits: bool = True


@contextlib.contextmanager
def faced(
    recognisers: Mapping[str, Recogniser | Finder],
    *,
    bounds: Bounds,
    access: Access,
    explaining: Mapping[str, Recogniser | Finder] | None = None,
    nearby: Mapping[str, Nearby] | None = None,
    open_connections: Callable[[], int] | None = None,
    threads: int = 0,
) -> Iterator[Face]:
    """Yield the application, warmed up; on leaving, its threads and child processes have ended.

    recognisers, explaining, nearby: as `prepared` has them; open_connections: how many there are, where that is known;
    threads: that decode, 0: one per core
    """
    with decoders(threads) as (pool, _):
        models = {name: Model(name, found, bounds=bounds, pool=pool) for name, found in recognisers.items()}
        for name, other in (explaining or {}).items():
            models[name].explains = other
        for name, index in (nearby or {}).items():
            models[name].nearby = index
        service = Service(models, bounds)
        counts = Counts(models, open_connections, lambda: service.held.used)
        app = build(service)
        pages = [route.path for route in app.routes if isinstance(route, APIRoute) and route.name == PAGE]
        face = Face(Guard(app, service, access=access, tell=counts.tell, free=(*OPEN, *pages)), service, counts)
        try:
            for model in models.values():
                model.warm()
            yield face
        finally:
            for model in models.values():
                model.close(wait=face.waits)
            service.explainer.close()
