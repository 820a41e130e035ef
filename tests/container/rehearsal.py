"""The Dockerfile's steps in a fresh virtual environment, where there is no Docker.

    python -m tests.container.rehearsal BUNDLE PICTURE

Every COPY and RUN of the first stage is done as written, with a folder in place of /build and an environment in place of
/opt/beholder; then ENTRYPOINT and CMD are started with a bundle that cannot be written to, asked by HEALTHCHECK and by a
picture, and stopped by SIGTERM. What needs root (the user, the read-only root) is left to test_container.py.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from tests.container.dockerfile import ROOT, Stage, stages


def rehearse(bundle: Path, picture: Path) -> dict[str, Any]:
    """Return {"torch": whether it is installed, "answer": of /predict, "exit": code after SIGTERM, "seconds": of start}."""
    first, final = stages((ROOT / "Dockerfile").read_text("utf-8"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        install(first, folder)
        models = folder / "models"
        shutil.copytree(bundle, models / "model.beholder")
        for path in (*models.rglob("*"), models):
            path.chmod(0o555 if path.is_dir() else 0o444)
        try:
            return serve(final, folder, picture)
        finally:
            for path in (models, *models.rglob("*")):
                path.chmod(0o755)


def install(stage: Stage, folder: Path) -> None:
    """Do the COPY and RUN steps of a stage below `folder`."""
    build, place = folder / "build", folder / "beholder"
    build.mkdir()
    for instruction, rest in stage.steps:
        if instruction == "COPY":
            *sources, target = rest.split()
            for source in sources:
                copy(ROOT / source, build / (source if target == source else Path(source).name))
        elif instruction == "RUN":
            command = rest.replace("python -m venv /opt/beholder", f"{sys.executable} -m venv /opt/beholder")
            subprocess.run(command.replace("/opt/beholder", str(place)), shell=True, check=True, cwd=build, stdout=sys.stderr)


def copy(source: Path, target: Path) -> None:
    """Copy a file or a folder, without what .dockerignore leaves out."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    else:
        shutil.copy(source, target)


def serve(stage: Stage, folder: Path, picture: Path) -> dict[str, Any]:
    """Start what the image starts, ask it, stop it."""
    bin_, port = folder / "beholder" / "bin", str(free())

    def fitted(words: list[str]) -> list[str]:
        own = [word.replace(stage.one("EXPOSE"), port).replace("/models", str(folder / "models")) for word in words]
        return [str(bin_ / own[0]), *own[1:]]

    home = folder / "tmp"
    home.mkdir()
    quiet = {"PATH": f"{bin_}:/usr/bin:/bin", "HOME": str(home), "TMPDIR": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "OMP_NUM_THREADS") if name in os.environ}
    asked = [str(bin_ / "python"), "-c", "import importlib.util as u; print(u.find_spec('torch') is not None)"]
    torch = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip() == "True"
    start = time.monotonic()
    process = subprocess.Popen(fitted(stage.command("ENTRYPOINT") + stage.command("CMD")), env=quiet | kept, cwd=folder)
    health = fitted(stage.command("HEALTHCHECK"))
    try:
        while subprocess.run(health, env=quiet, stderr=subprocess.DEVNULL, check=False).returncode:
            if process.poll() is not None or time.monotonic() > start + 60:
                raise RuntimeError(f"the server is not ready: exit code {process.poll()}")
            time.sleep(0.1)
        seconds = time.monotonic() - start
        body = Request(f"http://127.0.0.1:{port}/predict", picture.read_bytes(), {"Content-Type": "image/png"})
        answer = urlopen(body, timeout=30).read().decode()
        with urlopen(f"http://127.0.0.1:{port}/", timeout=30) as page:
            assert b"page.js" in page.read()
        process.send_signal(signal.SIGTERM)
        return {"torch": torch, "answer": answer, "exit": process.wait(60), "seconds": round(seconds, 2)}
    finally:
        process.kill()
        process.wait()


def free() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


if __name__ == "__main__":
    print(json.dumps(rehearse(Path(sys.argv[1]), Path(sys.argv[2]))))
