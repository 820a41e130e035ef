"""One replica of the server on a cluster, in its process, and the desk where replicas leave what they counted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from uuid import uuid4

from prometheus_client import Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from starlette.types import Receive, Scope, Send

from beholder.base.errors import BeholderError, MachineError
from beholder.base.events import warn
from beholder.machine.replicas import is_lost, waited
from beholder.server.bounds import Bounds
from beholder.server.face import faced
from beholder.server.guard import Access
from beholder.server.loading import Bundles
from beholder.server.metrics import Tally, added

EACH = 1.0
"""Seconds between two times that a replica leaves what it counted."""


class Desk(Tally):
    """A process of the cluster that replicas reach: what they counted, and what they say at their start."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, Any] = {}

    def say(self, said: dict[str, Any]) -> None:
        """Note {"engines": by model} or {"error": …}."""
        self._said.update(said)

    def said(self) -> dict[str, Any]:
        """Return what was said last."""
        return self._said


@dataclass(frozen=True)
class Plan:
    """What a replica makes of itself. cpus: that it computes with; alike: what it has to have like the command."""

    bundles: Bundles
    bounds: Bounds
    access: Access
    cpus: int
    alike: Mapping[str, str]


def alike(bundles: Bundles) -> dict[str, str]:
    """Return what all processes that serve must have alike: the version of Beholder, and bundles by their digests."""
    return {"version": version("beholder"), **{f"bundle {name}": digest for name, digest in bundles.digests().items()}}


def begun(plan: Plan, desk: Any) -> Replica:
    """Return a replica that is ready to answer. desk: the actor. Raises what loading raises, after it was told to the desk."""
    try:
        _check(plan)
        made = Replica(plan, desk)
    except BeholderError as error:
        said = {"message": error.message, "code": error.code, "hint": error.hint, "exit_code": error.exit_code}
        waited(desk.say.remote({"error": said}))
        raise
    waited(desk.say.remote({"engines": made.engines}))
    return made


def _check(plan: Plan) -> None:
    """Raise `MachineError` (unlike) where this node has another version of Beholder or of a bundle than the command."""
    own = alike(plan.bundles)
    other = [what for what, value in plan.alike.items() if own[what] != value]
    if other:
        hint = "install one version everywhere, and keep bundles in a folder that all nodes share"
        raise MachineError(f"a node has another {' and '.join(other)} than the command", code="unlike", hint=hint)


class Replica(Collector):
    """An ASGI application: the server of one process. engines: by model."""

    def __init__(self, plan: Plan, desk: Any) -> None:
        self._name, self._desk = uuid4().hex, desk
        self._others, self._alone = "", False
        self._ends = contextlib.ExitStack()
        loaded = plan.bundles.load(plan.cpus, alone=False)
        self.engines = {name: each.engine for name, each in loaded.recognisers.items()}
        self._face = self._ends.enter_context(
            faced(
                loaded.recognisers,
                bounds=plan.bounds,
                access=plan.access,
                explaining=loaded.explaining,
                nearby=loaded.nearby,
                threads=plan.cpus,
            )
        )
        self._face.service.counted = self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or live as long as Ray says."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] == "http" and scope["path"] == "/metrics":
            with self._unless_lost():
                self._others = await self._desk.others.remote(self._name)
        await self._face.guard(scope, receive, send)

    def collect(self) -> Iterable[Metric]:
        """Return what all replicas counted: this one until now, the others a second ago."""
        return added([*self._face.counts.collect(), *text_string_to_metric_families(self._others)])

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        telling = asyncio.create_task(self._tell())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        telling.cancel()
        await asyncio.to_thread(self._ends.close)
        await send({"type": "lifespan.shutdown.complete"})

    async def _tell(self) -> None:
        while True:
            with self._unless_lost():
                await self._desk.leave.remote(self._name, generate_latest(self._face.counts).decode())
            await asyncio.sleep(EACH)

    @contextlib.contextmanager
    def _unless_lost(self) -> Iterator[None]:
        """Go on where the desk is gone, and say so once: the command was killed, and its replicas still answer."""
        try:
            yield
        except Exception as error:
            if not is_lost(error):
                raise
            if not self._alone:
                warn(f"what other replicas count is not added up: {type(error).__name__}")
            self._alone = True
