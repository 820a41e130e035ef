"""The command `serve`."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beholder.base.errors import UsageError
from beholder.cli import complete
from beholder.cli.options import AllowDownload, Cache, Engine, Trust

if TYPE_CHECKING:
    from beholder.server.guard import Access
    from beholder.server.serving import Offer

USUAL = {"http": 80, "https": 443}
"""Ports that browsers leave out."""

HERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""By which address this machine reaches itself, where it listens on all."""

Models = Annotated[
    list[str],
    typer.Argument(
        metavar="[NAME=]MODEL...",
        help="Bundles to serve, each under its own name.",
        show_default=False,
        autocompletion=complete.models,
    ),
]
Keys = Annotated[
    Path | None,
    typer.Option(help="A file with an API key a line. Or the variable BEHOLDER_KEYS, with commas between.", show_default=False),
]
Hosts = Annotated[
    list[str] | None, typer.Option(help="A name by which the server may be called, or *; repeatable.", show_default=False)
]
Origins = Annotated[
    list[str] | None,
    typer.Option(
        help="The origin of a page elsewhere that may ask, such as https://example.org; repeatable.", show_default=False
    ),
]

Patience = Annotated[float, typer.Option(help="Seconds that a picture may have to wait; beyond that requests get 503.")]
Like = Annotated[
    str | None,
    typer.Option(metavar="SOURCE", help="What bundles were trained on: the page shows the nearest.", show_default=False),
]
OnCluster = Annotated[
    str,
    typer.Option(
        "--launch",
        metavar="ray[:N]",
        help="Serve on a Ray cluster, with N replicas, or as many as the load needs: docs/SCALING.md.",
        show_default=False,
    ),
]


def serve(
    models: Models,
    *,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is every network of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 is any free one.", min=0, max=65535)] = 8000,
    keys: Keys = None,
    allow_host: Hosts = None,
    allow_origin: Origins = None,
    certificate: Annotated[Path | None, typer.Option(help="TLS certificate (PEM).", show_default=False)] = None,
    certificate_key: Annotated[Path | None, typer.Option(help="Its private key (PEM).", show_default=False)] = None,
    patience: Patience = 1.0,
    queue: Annotated[int, typer.Option(help="Pictures of one bundle that may wait, at most.", min=1)] = 512,
    batch: Annotated[int, typer.Option(help="Pictures in one run of the net, at most.", min=1)] = 32,
    body: Annotated[int, typer.Option(help="MiB of one request, at most.", min=1)] = 32,
    pixels: Annotated[int, typer.Option(help="Millions of pixels of one picture, at most.", min=1)] = 50,
    timeout: Annotated[float, typer.Option(help="Seconds that a request may take once its body is there.")] = 30.0,
    workers: Annotated[int, typer.Option(help="Processes that share the address, each with bundles of its own.", min=1)] = 1,
    launch: OnCluster = "",
    explain: Annotated[bool, typer.Option("--explain", help="Load exported bundles in torch too, for heat maps.")] = False,
    like: Like = None,
    engine: Engine = "exact",
    browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser, once it is there.")] = False,
    trust: Trust = False,
    allow_download: AllowDownload = False,
    cache: Cache = None,
) -> None:
    """Serve bundles over HTTP: a page, JSON, and protocol v2."""
    _hush_torch()
    from beholder.server.bounds import Bounds
    from beholder.server.guard import Access
    from beholder.server.loading import Bundles, named

    way, count = _way(launch, workers)
    memory = {"body": body << 20, "held": max(256, 4 * body) << 20, "pixels": pixels * 10**6}
    bounds = Bounds(patience=patience, queue=queue, batch=batch, seconds=timeout, **memory)
    access = Access(keys=_keys(keys), hosts=_hosts(allow_host or []), origins=tuple(map(_origin, allow_origin or [])))
    bundles, pair = Bundles(named(models), explain, trust, like, engine, allow_download), _pair(certificate, certificate_key)
    where = partial(_addresses, "https" if pair else "http")
    show = partial(_show, HERE.get(host, host)) if browser else lambda _: None
    _tell_open(access, host)
    way(bundles, host, port, bounds, access, where, pair, count, show).run()


def _way(launch: str, workers: int) -> tuple[type[Offer], int]:
    """Return where it is served, and by how many processes; 0: Ray decides. Raises `UsageError` (bad-launch)."""
    from beholder.machine.launch import launched

    found = launched(launch)
    if not found.kind:
        from beholder.server.serving import Serving

        return Serving, workers
    if found.kind == "local":
        hint = f"--workers {found.count} starts {found.count} processes on this machine"
        raise UsageError(f"serve cannot be launched by '{launch}'", code="bad-launch", hint=hint)
    if workers != 1:
        hint = f"--launch ray:{workers} has {workers} replicas"
        raise UsageError("--workers and --launch ray cannot be combined", code="bad-launch", hint=hint)
    from beholder.server.cluster import Clustered

    return Clustered, found.count


def _addresses(scheme: str, host: str, port: int) -> list[str]:
    """Return the addresses of a server that listens there, as people type them."""
    return [_address(scheme, name, port) for name in _names(host)]


def _tell_open(access: Access, host: str) -> None:
    """Warn of an address that others reach, where no key is asked for."""
    from beholder.base.events import warn

    if not access.keys and host not in ("127.0.0.1", "::1", "localhost"):
        warn("anyone who reaches this address can send requests", hint="--keys FILE lets in only those who have a key")


def _names(host: str) -> list[str]:
    """Return by which addresses others reach a server: where it listens on all networks, those of this machine."""
    if host not in HERE:
        return [host]
    from beholder.machine.network import addresses

    return addresses(v6=host == "::") or [HERE[host]]


def _address(scheme: str, host: str, port: int) -> str:
    """Return an address as people type it.

    >>> _address("http", "::1", 8000)
    'http://[::1]:8000/'
    """
    return f"{scheme}://[{host}]:{port}/" if ":" in host else f"{scheme}://{host}:{port}/"


def _show(host: str, address: str) -> threading.Thread:
    """Open a page in a browser of this machine, in a thread; what cannot be opened is said, and the server goes on.

    host: by which this machine reaches itself; address: that of the server.
    """
    import webbrowser
    from contextvars import copy_context
    from urllib.parse import urlsplit

    from beholder.base.events import note

    found = urlsplit(address)
    here = _address(found.scheme, host, found.port or 0)

    def work() -> None:  # a browser of the terminal would not return before it is left
        if not webbrowser.open(here):
            note(f"no browser could be opened: open {here} yourself")

    thread = threading.Thread(target=copy_context().run, args=(work,), daemon=True)
    thread.start()
    return thread


def _hush_torch() -> None:
    """Keep torch's own remarks about its insides from the log of a server, unless they were asked for."""
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # read when torch is loaded
    if not sys.warnoptions:
        warnings.filterwarnings("ignore", category=UserWarning)


def _pair(certificate: Path | None, key: Path | None) -> tuple[str, str] | None:
    """Return both TLS files, which go together; None where neither is given. Raises `UsageError`."""
    if (certificate is None) != (key is None):
        raise UsageError("TLS needs both files", code="half-certificate", hint="give --certificate and --certificate-key")
    if certificate is None or key is None:
        return None
    from beholder.server.tls import checked

    return checked(certificate, key)


def _hosts(given: list[str]) -> tuple[str, ...]:
    """Return names in small letters. Raises `UsageError` for what no Host header could name."""
    for name in given:
        if not name.strip(".") or any(letter in "/:@?#[]\\" or letter.isspace() for letter in name):
            raise UsageError(f"--allow-host {name}: not a name", code="bad-value", hint="give it without scheme, port and path")
    return tuple(name.lower().removesuffix(".") for name in given)


def _origin(text: str) -> str:
    from urllib.parse import urlsplit

    try:
        found = urlsplit(text)
        port = "" if found.port in (None, USUAL.get(found.scheme)) else f":{found.port}"
    except ValueError:
        found, port = urlsplit(""), ""
    odd = any(letter in "@?#" or letter.isspace() or not letter.isascii() for letter in text)
    if odd or not found.scheme or not found.hostname or found.path not in ("", "/") or found.netloc.endswith(":"):
        hint = "give scheme, name and port as browsers send them, such as https://example.org"
        raise UsageError(f"--allow-origin {text}: not an origin", code="bad-value", hint=hint)
    host = f"[{found.hostname}]" if ":" in found.hostname else found.hostname
    return f"{found.scheme}://{host}{port}"


def _keys(path: Path | None) -> tuple[str, ...]:
    """Return the keys of the file and of the environment. Raises `UsageError` where the file has none."""
    given = os.environ.get("BEHOLDER_KEYS", "").split(",")
    if path is not None:
        try:
            lines = path.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} cannot be read: {error}", code="path-missing", hint="--keys names a text file") from None
        if not any(line.strip() for line in lines):
            raise UsageError(f"{path} holds no key", code="no-key", hint="write one key a line")
        given += lines
    return tuple(sorted({key.strip() for key in given if key.strip()}))
