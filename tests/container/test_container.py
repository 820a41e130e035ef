"""The Dockerfile and compose.yaml, looked at without Docker; `rehearsal` runs their steps."""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from docs import tables
from tests.container.dockerfile import ROOT, Stage, stages
from tests.container.rehearsal import rehearse

from beholder.server.bounds import Bounds


@pytest.fixture(scope="module")
def build() -> Stage:
    return stages((ROOT / "Dockerfile").read_text("utf-8"))[0]


@pytest.fixture(scope="module")
def final() -> Stage:
    return stages((ROOT / "Dockerfile").read_text("utf-8"))[-1]


@pytest.fixture(scope="module")
def service() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]["beholder"]
    return found


def lines(name: str) -> list[str]:
    return [line for line in (ROOT / name).read_text("utf-8").splitlines() if line and not line.startswith("#")]


def test_it_runs_as_nobody_in_particular(final: Stage) -> None:
    assert final.one("USER") == "10001:10001"
    order = [instruction for instruction, _ in final.steps]
    assert not {"RUN", "COPY", "ADD"} & set(order[order.index("USER") :])
    assert "--uid 10001" in final.one("RUN")


def test_its_steps_are_plain(build: Stage, final: Stage) -> None:
    known = {"WORKDIR", "COPY", "RUN", "ENV", "USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
    for stage in (build, final):
        assert {instruction for instruction, _ in stage.steps} <= known
        assert re.fullmatch(r"python:3\.\d+-slim", stage.base)
        assert not re.search(r"sudo|curl|wget|https?://(?!127\.0\.0\.1)|latest", " ".join(rest for _, rest in stage.steps))
        assert all(place.startswith("/") for place in stage.all("WORKDIR"))
    assert build.base == final.base
    assert all("--no-cache-dir" in step for step in build.all("RUN") if "pip install" in step)


def test_python_is_one_that_the_package_takes(final: Stage) -> None:
    minor = int(final.base.removeprefix("python:3.").partition("-")[0])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert minor >= int(project["requires-python"].removeprefix(">=3."))
    assert f"Programming Language :: Python :: 3.{minor}" in project["classifiers"]


def test_what_is_copied_is_there_and_not_ignored(build: Stage, final: Stage) -> None:
    ignored = lines(".dockerignore")
    assert ignored[0] == "*"
    sources = [word for step in build.all("COPY") for word in step.split()[:-1]]
    assert "src" in sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignored, source
    assert sorted(sources) == sorted(line[1:] for line in ignored if line.startswith("!"))
    assert not any(fnmatch.fnmatch("src/beholder/server/page/page.js", line) for line in ignored[1:])
    assert final.one("COPY") == "--from=build /opt/beholder /opt/beholder"


def test_its_requirements_are_those_of_the_package_without_torch() -> None:
    wanted = lines("container/requirements.txt")
    assert set(wanted) <= set(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"])
    names = {re.split(r"[^\w-]", line)[0] for line in wanted}
    assert {"onnxruntime", "fastapi", "uvicorn"} <= names
    assert not {"torch", "torchvision", "timm"} & names


def test_what_it_starts_exists(final: Stage) -> None:
    command = final.command("ENTRYPOINT")
    assert command[:2] == ["beholder", "serve"]
    known = {option for param in tables.commands()["serve"].params for option in param.opts}
    assert {word for word in command if word.startswith("--")} <= known
    assert command[command.index("--port") + 1] == final.one("EXPOSE")
    assert f"http://127.0.0.1:{final.one('EXPOSE')}/readyz" in final.command("HEALTHCHECK")[-1]
    assert final.command("CMD") == ["/models/model.beholder"]


def test_compose_takes_away_what_is_not_needed(service: dict[str, Any], final: Stage) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "network_mode", "cap_add", "devices", "user"} & set(service)
    assert service["ports"] == [f"127.0.0.1:{final.one('EXPOSE')}:{final.one('EXPOSE')}"]
    assert [volume.rpartition(":")[2] for volume in service["volumes"]] == ["ro"]
    assert service["tmpfs"][0].startswith("/tmp:size=")
    assert service["mem_limit"]
    assert service["command"] == final.command("CMD")


def test_compose_waits_for_the_server_to_drain(service: dict[str, Any]) -> None:
    assert int(service["stop_grace_period"].removesuffix("s")) > Bounds().drain


def test_the_reader_of_dockerfiles_reads() -> None:
    (stage,) = stages('# x\nFROM a:1 AS b\nRUN one && \\\n  two\nCMD ["p", "q r"]\n')
    assert (stage.base, stage.name) == ("a:1", "b")
    assert shlex.split(stage.one("RUN")) == ["one", "&&", "two"]
    assert stage.command("CMD") == ["p", "q r"]
    with pytest.raises(ValueError, match="Expecting value"):
        stages("FROM a\nCMD sleep 1\n")[0].command("CMD")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_steps_of_the_image_make_a_server(tmp_path: Path, leaves: Path) -> None:
    import beholder

    beholder.train(beholder.split(beholder.scan(leaves)), net="cnn", epochs=1).save(tmp_path / "model.beholder")
    exported(tmp_path / "model.beholder")
    said = rehearse(tmp_path / "model.beholder", leaves / "rust" / "00.png")
    assert said["torch"] is False
    assert json.loads(said["answer"])["answers"][0]["label"] in ("healthy", "mildew", "rust")
    assert said["exit"] == 0


def exported(bundle: Path) -> None:
    """Write the bundle's graph beside its weights."""
    from beholder.cli.run import run

    assert run(["export", str(bundle)]) == 0
