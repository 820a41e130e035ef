"""The server as an application of Ray Serve: a replica answers as a worker process does; Ray routes, scales and restarts.

The way of a request: Ray's HTTP proxy on the head node, with `front` around it; a replica, which Ray picks; there the guard and
the application, as without Ray. The command stays to say what happens, and takes the application down when it is told to stop.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from beholder.base.errors import BeholderError, MachineError, UsageError
from beholder.base.events import note
from beholder.machine.told import telling
from beholder.server.bounds import Bounds
from beholder.server.guard import Access
from beholder.server.loading import Bundles
from beholder.server.run import listening
from beholder.server.serving import tell_serving
from beholder.server.workers import ENDING

APP = "beholder"
"""The name of the application and of its only deployment."""

BUSY = 2.0
"""Requests under way in each replica at which Ray adds one: with two, one of them waits for the other."""

LOOK = 2.0
"""Seconds between two looks at the replicas."""

QUIET = {"log_level": "WARNING", "enable_access_log": False}
"""What Ray Serve logs: no line a request, with which clients could fill a disk."""

HEAD = "node:__internal_head__"
"""The resource that only the head node has."""

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


@dataclass(frozen=True)
class Plan:
    """What a replica makes of itself. cpus: that it computes with."""

    bundles: Bundles
    bounds: Bounds
    access: Access
    cpus: int


@dataclass(frozen=True)
class Clustered:
    """What is served on a cluster, and where.

    count: of replicas, 0 where Ray scales them; addresses: makes those that people type of host and port; certificate: TLS
    files on the head node; ready: called with the address once it answers
    """

    bundles: Bundles
    host: str
    port: int
    bounds: Bounds
    access: Access
    addresses: Callable[[str, int], list[str]]
    count: int = 0
    certificate: tuple[str, str] | None = None
    ready: Callable[[str], object] = lambda _: None

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C; then all that was accepted is answered, and Ray Serve is shut down.

        Raises `UsageError` and `MachineError` where the cluster cannot do it, and what loading raises in a replica.
        """
        from beholder.machine.cluster import connected

        with connected() as ray, _told() as told, _hushed():
            serve: Any = importlib.import_module("ray.serve")
            _check_free(serve)
            nodes = [node for node in ray.nodes() if node["Alive"]]
            each = share([node["Resources"] for node in nodes], self.count)
            host, port = self._place(ray, nodes)
            tally = _tally(ray)
            try:
                self._start(serve, tally, each, port)
                addresses = self.addresses(host, port)
                tell_serving(ray.get(tally.said.remote())["engines"], addresses)
                self.ready(addresses[0])
                _watch(serve, told)
                note("stopping: requests in progress are answered")
                serve.delete(APP)
            finally:
                serve.shutdown()

    def _place(self, ray: Any, nodes: Sequence[Mapping[str, Any]]) -> tuple[str, int]:
        """Return by which host and port others reach the proxy; where that is this machine, they were free just now."""
        head = next(node["NodeManagerAddress"] for node in nodes if HEAD in node["Resources"])
        if head == ray.util.get_node_ip_address():
            with listening(self.host, self.port) as sock:
                return self.host, sock.getsockname()[1]
        if self.port == 0:
            hint = f"name one: the server listens on the head node, {head}"
            raise UsageError("a free port of another machine cannot be found", code="cannot-bind", hint=hint)
        return (head if self.host in ("0.0.0.0", "::") else self.host), self.port

    def _start(self, serve: Any, tally: Any, each: Share, port: int) -> None:
        """Start Ray Serve with the application; return once its first replicas answer."""
        note(f"starting on Ray: {self.count or f'1 to {each.most}'} replicas with {each.cpus} CPU each", replicas=each.most)
        bounds = self.bounds
        tls = dict(zip(("ssl_certfile", "ssl_keyfile"), self.certificate or (), strict=False))
        variables = {
            **telling(asdict(bounds)),
            "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "beholder.server.front:middlewares",
        }
        serve.start(
            proxy_location="HeadOnly",
            http_options={
                "host": self.host,
                "port": port,
                "request_timeout_s": bounds.body_seconds + bounds.seconds + bounds.patience,
                "keep_alive_timeout_s": round(bounds.idle_seconds),
                **tls,
            },
            logging_config=QUIET,
            controller_options={"runtime_env": {"env_vars": variables}},
        )
        plan = Plan(self.bundles, bounds, self.access, each.cpus)
        try:
            serve.run(_deployment(serve, plan, tally, each, self.count).bind(), name=APP, route_prefix="/")
        except RuntimeError as error:
            raise _failure(tally, error) from None


def _deployment(serve: Any, plan: Plan, tally: Any, each: Share, count: int) -> Any:
    """Return the deployment: how many replicas, what each is given, and what it may take."""

    def build() -> Any:
        from beholder.server.replica import begun

        return begun(plan, tally)

    scaled = {"min_replicas": 1, "max_replicas": each.most, "target_ongoing_requests": BUSY}
    bounds = plan.bounds
    return serve.deployment(serve.ingress(build)()).options(
        name=APP,
        **({"num_replicas": count} if count else {"autoscaling_config": scaled}),
        ray_actor_options={"num_cpus": each.cpus, "num_gpus": each.gpus},
        max_ongoing_requests=bounds.connections,
        max_queued_requests=bounds.queue,
        graceful_shutdown_timeout_s=bounds.drain,
        graceful_shutdown_wait_loop_s=bounds.linger,
        max_constructor_retry_count=1,
        logging_config=QUIET,
    )


def _tally(ray: Any) -> Any:
    """Return the actor at which replicas leave what they counted, and say that they answer, or why not."""
    from beholder.server.replica import Desk

    return ray.remote(num_cpus=0, max_restarts=-1)(Desk).remote()


def _watch(serve: Any, told: threading.Event) -> None:
    """Say how many replicas answer, whenever that has changed, until told to stop."""
    before = 0
    while not told.wait(LOOK):
        application = serve.status().applications.get(APP)
        states = application.deployments[APP].replica_states if application else {}
        running = int(states.get("RUNNING", 0))
        if running != before:
            note(f"replicas that answer: {running}", replicas=running)
        before = running


def _check_free(serve: Any) -> None:
    """Raise `UsageError` (serve-runs) where Ray Serve runs on the cluster: its address and options are another's."""
    found = serve.status()
    if found.applications or found.proxies:
        names = ", ".join(found.applications) or "none"
        hint = "end it by `serve shutdown`, or use another cluster"
        raise UsageError(f"Ray Serve runs on this cluster already; its applications: {names}", code="serve-runs", hint=hint)


def _failure(tally: Any, error: RuntimeError) -> BeholderError:
    """Return what a replica raised at its start, or else what Ray says."""
    import ray

    said = ray.get(tally.said.remote()).get("error")
    if not said:
        return MachineError(
            f"Ray cannot start it: {str(error).splitlines()[0][:200]}", code="not-started", hint="see Ray's logs"
        )
    found = BeholderError(said["message"], code=said["code"], hint=said["hint"])
    found.exit_code = said["exit_code"]
    return found


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Keep what Ray prints off stdout and out of the log: this command says itself what becomes of its replicas."""
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


@contextlib.contextmanager
def _told() -> Iterator[threading.Event]:
    """Yield what is set by SIGTERM or Ctrl-C; told so again, the block is interrupted."""
    told = threading.Event()

    def take(_number: int, _frame: FrameType | None) -> None:
        if told.is_set():
            raise KeyboardInterrupt
        told.set()

    before = {number: signal.signal(number, take) for number in ENDING}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
