"""What is released holds together: one version, data that is packed, and a wheel that is whole."""

from __future__ import annotations

import re
import tomllib
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest
from tests.release import program

import beholder

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_the_version_is_that_on_top_of_the_changelog() -> None:
    heading = re.search(r"^## (\S+) \((\d{4}-\d\d-\d\d)\)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert heading is not None
    assert heading[1] == PROJECT["project"]["version"] == beholder.__version__
    assert "## Unreleased" not in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_every_file_beside_the_code_is_package_data() -> None:
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["beholder"]
    for name in sorted(program.sources()):
        inner = name.removeprefix("beholder/")
        packed = any(inner.count("/") == pattern.count("/") and fnmatch(inner, pattern) for pattern in patterns)
        assert inner.endswith(".py") or packed, f"{inner} would not be in the wheel: add it to package-data"
    for pattern in patterns:
        assert any(fnmatch(name.removeprefix("beholder/"), pattern) for name in program.sources()), f"no file is {pattern}"


def wheel(path: Path, names: set[str], *, version: str = program.version()) -> Path:
    with zipfile.ZipFile(path, "w") as packed:
        for name in names:
            packed.writestr(name, b"")
        packed.writestr("beholder.dist-info/METADATA", f"Name: beholder\nVersion: {version}\n\n")
        packed.writestr("beholder.dist-info/licenses/LICENSE", b"")
    return path


def test_a_wheel_that_lacks_a_file_or_has_one_too_many_is_noticed(tmp_path: Path) -> None:
    whole = program.sources()
    assert program.faults(wheel(tmp_path / "a.whl", whole)) == []
    assert program.faults(wheel(tmp_path / "b.whl", whole - {"beholder/py.typed"})) == ["it lacks beholder/py.typed"]
    more = program.faults(wheel(tmp_path / "c.whl", whole | {"tests/test_cli.py"}))
    assert more == ["it has tests/test_cli.py, which is not in the package"]
    assert program.faults(wheel(tmp_path / "d.whl", whole, version="9.9")) == [f"its version is not {program.version()}"]


def test_a_folder_that_no_build_made_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "beholder-0.1.0-py3-none-any.whl").write_bytes(b"")
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(SystemExit, match=r"thesis\.tex"):
        program.built(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    (tmp_path / "thesis.tex").unlink()
    program.emptied(tmp_path)
    assert list(tmp_path.iterdir()) == []
    program.emptied(tmp_path / "new")


@pytest.mark.slow
def test_the_wheel_that_is_built_is_whole(tmp_path: Path) -> None:
    pytest.importorskip("build")
    built, sdist = program.built(tmp_path / "dist", isolated=False)
    assert program.faults(built) == []
    assert program.faults_of_sdist(sdist) == []
