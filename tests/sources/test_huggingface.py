"""Copies of the Hub's cache as huggingface_hub lays it out, and a hub that answers from this machine."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants

from beholder.base import events
from beholder.base.errors import DataError, MachineError, UsageError
from beholder.base.limits import Limits
from beholder.sources import scan
from beholder.sources.huggingface import CONVERTED, parsed

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def put(path: Path, n: int = 4) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"bytes": b"picture %d" % i, "path": None} for i in range(n)]
    pq.write_table(pa.table({"image": rows, "label": ["cat", "dog"] * (n // 2)}), path)
    return path


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hub."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def snapshot(hub: Path, name: str, *files: str, branch: str = "main") -> Path:
    """Make a copy of a data set as the Hub's client keeps it."""
    commit = "0" * 39 + str(len(branch) % 10)
    base = hub / f"datasets--{name.replace('/', '--')}"
    (base / "refs" / branch).parent.mkdir(parents=True, exist_ok=True)
    (base / "refs" / branch).write_text(commit)
    for file in files:
        put(base / "snapshots" / commit / file)
    return base / "snapshots" / commit


def test_a_set_in_the_cache(hub: Path) -> None:
    snapshot(hub, "someone/pets", "data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet")
    pictures = scan("hf:someone/pets")
    assert pictures.classes == ("cat", "dog")
    assert pictures.parts.tolist() == [2] * 4 + [0] * 4
    assert pictures.store.name == "hf:someone/pets"
    assert pictures.store.read(pictures.keys[1]) == b"picture 1"


def test_the_hubs_own_parquet_and_configurations(hub: Path) -> None:
    snapshot(hub, "pets", "small/train/0000.parquet", "large/train/0000.parquet", "large/test/0000.parquet", branch=CONVERTED)
    with pytest.raises(DataError) as caught:
        scan("hf:pets")
    assert caught.value.code == "several-configurations"
    assert caught.value.hint == "name one, such as hf:pets:large"
    assert scan("hf:pets:large").parts.tolist() == [2] * 4 + [0] * 4
    with pytest.raises(UsageError) as unknown:
        scan("hf:pets:huge")
    assert unknown.value.code == "unknown-configuration"


def test_a_set_of_files(hub: Path, leaves: Path) -> None:
    folder = snapshot(hub, "someone/leaves")
    folder.parent.mkdir(parents=True, exist_ok=True)
    leaves.rename(folder)
    assert scan("hf:someone/leaves").classes == ("healthy", "mildew", "rust")


@dataclass
class File:
    rfilename: str
    size: int


@pytest.fixture
def online(hub: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str | None, list[File]]:
    """A hub that holds files by branch, and puts them into the cache when they are asked for."""
    branches: dict[str | None, list[File]] = {}

    class Api:
        def repo_info(self, name: str, *, repo_type: str, revision: str | None, files_metadata: bool) -> Any:
            assert (repo_type, files_metadata) == ("dataset", True)
            if revision not in branches:
                raise RuntimeError("404")
            return type("Info", (), {"siblings": branches[revision]})

    real = huggingface_hub.snapshot_download

    def download(
        name: str, *, repo_type: str, revision: str | None, allow_patterns: Any = None, local_files_only: bool = False
    ) -> str:
        if local_files_only:
            return real(name, repo_type=repo_type, revision=revision, local_files_only=True)
        return str(snapshot(hub, name, *allow_patterns, branch=revision or "main"))

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return branches


def fetch(name: str, **more: int) -> Any:
    with events.listen(alone=True):
        return scan(name, limits=Limits(**more), allow_download=True)


def test_only_parquet_is_fetched_where_there_is_some(hub: Path, online: dict[str | None, list[File]]) -> None:
    online[None] = [File("README.md", 9), File("loader.py", 9), File("data/train-0.parquet", 9), File("raw.zip", 10**9)]
    with pytest.raises(UsageError) as caught:
        scan("hf:someone/pets")
    assert caught.value.code == "download-not-allowed"
    assert len(fetch("hf:someone/pets", download=100)) == 4
    assert [path.name for path in hub.rglob("*") if path.is_file() and path.name != "main"] == ["train-0.parquet"]
    assert len(scan("hf:someone/pets")) == 4, "what is here needs no permission"
    with pytest.raises(DataError) as large:
        fetch("hf:someone/pets", download=5)
    assert large.value.code == "too-many-bytes"


def test_a_set_that_is_code_is_taken_as_parquet(online: dict[str | None, list[File]]) -> None:
    online[None] = [File("README.md", 9), File("loader.py", 9)]
    online[CONVERTED] = [File("default/train/0000.parquet", 9)]
    assert len(fetch("hf:someone/pets")) == 4
    assert len(scan("hf:someone/pets")) == 4


def test_a_name_that_nobody_has(online: dict[str | None, list[File]]) -> None:
    with pytest.raises(MachineError) as caught:
        fetch("hf:someone/pets")
    assert caught.value.code == "download-failed"


@pytest.mark.parametrize("name", ["", "a/b/c", "/etc", "../x", ":config"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        scan(f"hf:{name}")
    assert caught.value.code == "unknown-source"


def test_parts_of_a_name() -> None:
    assert parsed("a/b@v1:c") == ("a/b", "v1", "c")
    assert parsed("beans") == ("beans", None, "")


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MachineError) as caught:
        scan("hf:beans")
    assert caught.value.code == "missing-library"
    assert caught.value.hint == "pip install 'beholder[hf]'"
