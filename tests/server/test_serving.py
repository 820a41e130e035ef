"""The command itself, with a bundle that was trained: what it loads, its workers, and one answer everywhere."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

import beholder
from beholder.base import events
from beholder.base.errors import UsageError
from beholder.bundle.bundle import Bundle, load
from beholder.cli import serve as serve_command
from beholder.runtime.export import export
from beholder.server import loading, serving
from beholder.server.bounds import Bounds
from beholder.server.guard import Access
from beholder.server.loading import Bundles, named, opened

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, draw: Any) -> tuple[Path, Path, Bundle]:
    """(pictures, bundle's folder, bundle)."""
    folder = tmp_path_factory.mktemp("serving")
    source = draw(folder / "leaves", size=(37, 29))
    parts = beholder.split(beholder.scan(source), seed=0)
    bundle = beholder.train(parts, net="cnn", epochs=2, batch=8, out=folder / "leaves.beholder", precision="fp32")
    return source, folder / "leaves.beholder", bundle


@contextmanager
def command(*arguments: str) -> Iterator[tuple[Any, str]]:
    """Lend `beholder serve` with these arguments, and its address once it serves."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/src", "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "beholder", "serve", *arguments, "--port", "0"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment) as running:
        try:
            said = ""
            while not (found := re.search(r"at (http\S+)/\n", said)):
                line = running.stderr.readline()
                assert line, said
                said += line
            yield running, found[1]
        finally:
            running.kill()


@pytest.mark.slow
def test_the_command_answers_as_the_bundle_does_in_one_process_and_in_two(trained: tuple[Path, Path, Bundle]) -> None:
    source, path, bundle = trained
    files = sorted(source.rglob("*.png"))[:12]
    local = list(beholder.predict(bundle, files))
    for arguments in ((), ("--workers", "2")):
        with command(f"pets={path}", *arguments) as (running, address):
            with beholder.Client(address, model="pets") as client:
                for answer, line in zip(client.predict(files), local, strict=True):
                    assert answer["label"] == line["label"]
                    assert answer["probabilities"] == pytest.approx(line["probabilities"], abs=1e-5)
                heat = Image.open(BytesIO(client.explain(files[0], label="rust")))
                assert heat.size == (37, 29)
                with pytest.raises(UsageError):
                    client.explain(files[0], label="nothing")
            running.send_signal(signal.SIGTERM)
            assert running.wait(30) == 0


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced(trained: tuple[Path, Path, Bundle]) -> None:
    with command(str(trained[1]), "--workers", "2") as (running, address):
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        assert len(children) == 2
        os.kill(int(children[0]), signal.SIGKILL)
        assert "started again" in running.stderr.readline()
        with beholder.Client(address) as client:
            assert client.models()
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 0


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="only Linux tells which processes there are in /proc")
def test_workers_leave_when_what_started_them_is_killed(trained: tuple[Path, Path, Bundle]) -> None:
    with command(str(trained[1]), "--workers", "2") as (running, _):
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        assert len(children) == 2
        running.kill()
        running.wait(10)
        until = time.monotonic() + 20
        while time.monotonic() < until and any(_runs(child) for child in children):
            time.sleep(0.2)
        assert not any(_runs(child) for child in children)


def _runs(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_engine_is_the_one_that_was_asked_for_or_there_is_none(trained: tuple[Path, Path, Bundle], tmp_path: Path) -> None:
    path = Path(shutil.copytree(trained[1], tmp_path / "leaves.beholder"))
    assert opened(path, threads=1).engine == "torch fp32"
    with pytest.raises(UsageError) as caught:
        opened(path, engine="onnxruntime int8")
    assert caught.value.code == "unknown-engine"
    export(load(path))
    assert opened(path, threads=1).engine == "onnxruntime fp32"
    assert opened(path, engine="torch fp32").engine == "torch fp32"
    graph = export(load(path), tmp_path / "alone.onnx").path
    assert opened(graph, engine="onnxruntime fp32", threads=1).engine == "onnxruntime fp32"
    with pytest.raises(UsageError):
        opened(graph, engine="OpenVINO int8")


def test_names_are_those_given_or_of_the_files() -> None:
    assert named(["a/b.beholder", "x=c.onnx"]) == {"b": Path("a/b.beholder"), "x": Path("c.onnx")}
    for words in (["a.beholder", "b/a.beholder"], ["a b=c"], ["=c"], ["ä/ö=c"]):
        with pytest.raises(UsageError):
            named(words)


def test_origins_and_hosts_are_as_browsers_send_them() -> None:
    from beholder.cli.serve import _hosts, _origin

    given = ["https://Example.org/", "http://a:8000", "https://a:443", "http://[::1]:8000", "capacitor://localhost"]
    sent = ("https://example.org", "http://a:8000", "https://a", "http://[::1]:8000", "capacitor://localhost")
    assert tuple(map(_origin, given)) == sent
    assert _hosts(["Example.org.", "*"]) == ("example.org", "*")


def test_what_is_wrong_with_the_options_is_said_before_anything_is_loaded(tmp_path: Path) -> None:
    from beholder.cli.run import run

    (tmp_path / "empty").write_text("\n")
    for arguments in (
        ["a.beholder", "--keys", str(tmp_path / "empty")],
        ["a.beholder", "--keys", str(tmp_path / "none")],
        ["a.beholder", "--certificate", "x.pem"],
        ["a.beholder", "--certificate", "x.pem", "--certificate-key", "y.pem"],
        ["a.beholder", "--patience", "0"],
        ["a.beholder", "b/a.beholder"],
        ["a.beholder", "--allow-host", "example.org:8000"],
        ["a.beholder", "--allow-host", "https://example.org"],
        ["a.beholder", "--allow-origin", "example.org"],
        ["a.beholder", "--allow-origin", "https://example.org/page"],
        ["a.beholder", "--allow-origin", "https://me@example.org"],
        ["a.beholder", "--allow-origin", "https://example.org:"],
        ["a.beholder", "--allow-origin", "https://example.org:http"],
        ["a.beholder", "--allow-origin", "null"],
        ["a.beholder", "--allow-host", ""],
        [str(tmp_path / "nothing.beholder"), "--port", "0"],
    ):
        assert run(["serve", *arguments]) in (1, 2), arguments


def test_the_page_is_opened_once_and_where_that_fails_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    opened_at: list[str] = []
    said: list[events.Event] = []
    monkeypatch.setattr("webbrowser.open", lambda address: bool(opened_at.append(address)))
    with events.listen(said.append, alone=True):
        serve_command._show("127.0.0.1", "http://0.0.0.0:8000/").join(10)
        serve_command._show("::1", "https://[::]:8443/").join(10)
    assert opened_at == ["http://127.0.0.1:8000/", "https://[::1]:8443/"]
    assert [event.message for event in said] == [f"no browser could be opened: open {at} yourself" for at in opened_at]


def test_who_listens_is_told_each_address_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    class Server:
        def run(self, _: object) -> None: ...

    monkeypatch.setattr(loading, "opened", lambda *_, **__: SimpleNamespace(engine="torch fp32"))
    monkeypatch.setattr(loading, "indexes", lambda *_, **__: {})
    monkeypatch.setattr(serving, "prepared", lambda *_, **__: nullcontext(Server()))
    said: list[events.Event] = []
    two = ("http://10.0.0.1:8000/", "http://10.0.0.2:8000/")
    with events.listen(said.append, alone=True):
        bundles = Bundles({"pets": Path("pets.beholder")})
        serving.Serving(bundles, "127.0.0.1", 0, Bounds(), Access(), lambda host, port: list(two)).run()
    (told,) = [event for event in said if "engines" in event.fields]
    assert told.message == "serving pets (torch fp32) at http://10.0.0.1:8000/ and http://10.0.0.2:8000/"
    assert (told.fields["address"], told.fields["addresses"]) == (two[0], list(two))


def test_what_torch_says_about_its_insides_is_not_logged_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCH_CPP_LOG_LEVEL", raising=False)
    for options, heard in (([], 0), (["always"], 1)):
        monkeypatch.setattr(sys, "warnoptions", options)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            serve_command._hush_torch()
            warnings.warn("the given NumPy array is not writable", UserWarning, stacklevel=1)
        assert len(caught) == heard
    assert os.environ["TORCH_CPP_LOG_LEVEL"] == "ERROR"
