"""Ray Serve: replicas that Ray routes requests to, scales and starts again, behind one address of the head node."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from beholder.base.errors import MachineError, UsageError
from beholder.machine.cluster import at_hand
from beholder.machine.told import telling

BUSY = 2.0
"""Requests under way in each replica at which Ray adds one: with two, one of them waits for the other."""

QUIET = {"log_level": "WARNING", "enable_access_log": False}
"""What Ray Serve logs: no line a request, with which clients could fill a disk."""

HEAD = "node:__internal_head__"
"""The resource that only the head node has."""

FRONT = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
"""The variable by which Ray's HTTP proxy is told which function returns the middleware that goes around it."""

READY, SLOW = "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", 60.0
"""Seconds that the proxy may take to start, and their variable: after three times 5 s Ray ends one on a busy machine."""

Resources = Mapping[str, float]
"""Of a node, as Ray has them: CPU, GPU and others."""


@dataclass(frozen=True)
class Share:
    """What each replica is given. most: replicas there are at most; cpus, gpus: of each."""

    most: int
    cpus: int
    gpus: int


def share(nodes: Sequence[Resources], count: int) -> Share:
    """Return what each of `count` replicas is given of the nodes; 0: there are as many as fit, with one CPU each.

    One GPU each where there are enough of them, else none. Raises `UsageError` (too-few-cpus).

    >>> share([{"CPU": 8}, {"CPU": 4, "GPU": 2}], 2), share([{"CPU": 8}, {"CPU": 4}], 3)
    (Share(most=2, cpus=4, gpus=1), Share(most=3, cpus=4, gpus=0))
    """
    sizes = range(1, 1 + max(int(node.get("CPU", 0)) for node in nodes))
    for gpus in (1, 0):
        found = [cpus for cpus in sizes if _fitting(nodes, cpus, gpus) >= max(1, count)]
        if found:
            return Share(count or _fitting(nodes, 1, gpus), found[-1] if count else 1, gpus)
    what = f"{count or 1} replicas need a CPU each, and the cluster has {_fitting(nodes, 1, 0)}"
    raise UsageError(what, code="too-few-cpus", hint="ask for fewer: --launch ray:N, or add nodes")


def _fitting(nodes: Sequence[Resources], cpus: int, gpus: int) -> int:
    """Return how many replicas with so many CPUs and GPUs each fit the nodes."""
    room = ((int(node.get("CPU", 0)) // cpus, int(node.get("GPU", 0))) for node in nodes)
    return sum(min(processors, accelerators) if gpus else processors for processors, accelerators in room)


def resources(ray: Any) -> list[Resources]:
    """Return what each node has that is alive."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def head(ray: Any) -> tuple[str, bool]:
    """Return the address of the head node, and whether it is this machine."""
    found = next(node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"] and HEAD in node["Resources"])
    return found, found == ray.util.get_node_ip_address()


@dataclass(frozen=True)
class Application:
    """What Ray Serve is asked for.

    build: makes the ASGI application, in each replica; count: of replicas, 0 where Ray scales them; http, limits: options of
    the proxy and of the deployment; front: module:function that returns the middleware around the proxy; numbers: what the
    proxy is `told`
    """

    name: str
    build: Callable[[], Any]
    count: int
    each: Share
    http: Mapping[str, Any]
    limits: Mapping[str, Any]
    front: str
    numbers: Mapping[str, float]

    @contextlib.contextmanager
    def running(self) -> Iterator[Callable[[], int]]:
        """Yield what says how many replicas answer, once the first do; on leaving, what they have is answered, and all ends.

        Raises `UsageError` (serve-runs) and `MachineError` (not-started).
        """
        from ray import serve

        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        _check_free(serve)
        with _hushed():
            try:
                self._start(serve)
                yield lambda: _running(serve, self.name)
                with contextlib.suppress(TimeoutError):  # replicas have long been ended by then: Ray is slow to say so
                    serve.delete(self.name)
            finally:
                with at_hand() as there:
                    if there:
                        serve.shutdown()  # type: ignore[no-untyped-call]

    def _start(self, serve: ModuleType) -> None:
        from ray.exceptions import RayError

        try:
            self._started(serve)
        except (RuntimeError, TimeoutError, RayError) as error:
            what = f"Ray cannot start it: {str(error).splitlines()[0][:200]}"
            raise MachineError(what, code="not-started", hint="try again; the logs of Ray say why") from error

    def _started(self, serve: ModuleType) -> None:
        variables = {**telling(self.numbers), FRONT: self.front, READY: str(SLOW)}
        serve.start(
            proxy_location="HeadOnly",
            http_options=dict(self.http),
            logging_config=QUIET,
            controller_options={"runtime_env": {"env_vars": variables}},
        )
        scaled = {"min_replicas": 1, "max_replicas": self.each.most, "target_ongoing_requests": BUSY}
        deployment = serve.deployment(serve.ingress(_plain(self.build))()).options(
            name=self.name,
            **({"num_replicas": self.count} if self.count else {"autoscaling_config": scaled}),
            ray_actor_options={"num_cpus": self.each.cpus, "num_gpus": self.each.gpus},
            max_constructor_retry_count=1,
            logging_config=QUIET,
            **self.limits,
        )
        serve.run(deployment.bind(), name=self.name, route_prefix="/")


def _plain(build: Callable[[], Any]) -> Callable[[], Any]:
    """Return a function that makes the same; Ray takes anything else for an application."""

    def made() -> Any:
        return build()

    return made


def _running(serve: ModuleType, name: str) -> int:
    from ray.exceptions import RayError

    try:
        application = serve.status().applications.get(name)
    except RayError:  # whoever knows is gone, and where the head is gone as well that is soon noticed
        return 0
    return int(application.deployments[name].replica_states.get("RUNNING", 0)) if application else 0


def _check_free(serve: Any) -> None:
    """Raise `UsageError` (serve-runs) where Ray Serve runs on the cluster: its address and options are another's."""
    found = serve.status()
    if found.applications or found.proxies:
        names = ", ".join(found.applications) or "none"
        hint = "end it by `serve shutdown`, or use another cluster"
        raise UsageError(f"Ray Serve runs on this cluster already; its applications: {names}", code="serve-runs", hint=hint)


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Keep what Ray prints off stdout and out of the log: whoever asks says what becomes of the replicas."""
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def actor(ray: Any, made: type) -> Any:
    """Return a process of the cluster that holds one object of a class, and is started again where its node is lost."""
    return ray.remote(num_cpus=0, max_restarts=-1)(made).remote()


def waited(reference: Any) -> Any:
    """Return what an actor answers."""
    import ray

    return ray.get(reference)


def is_lost(error: Exception) -> bool:
    """Return whether an error says that an actor, or its node, is gone."""
    from ray.exceptions import RayError

    return isinstance(error, RayError)
