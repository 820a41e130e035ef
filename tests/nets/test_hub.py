"""Where published weights lie."""

import threading
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from beholder.base.errors import MachineError
from beholder.nets import hub

CONFIG = {"hf_hub_id": "timm/some_net.a1"}


def test_only_safetensors_are_taken() -> None:
    assert hub.place(CONFIG) == ("timm/some_net.a1", None, "model.safetensors")
    assert hub.place({"hf_hub_id": "a/b@v2", "hf_hub_filename": "x.safetensors"}) == ("a/b", "v2", "x.safetensors")
    assert hub.place({"hf_hub_id": "a/b", "hf_hub_filename": "x.bin"}) is None
    assert hub.place({"url": "https://somewhere/x.pth"}) is None
    with pytest.raises(MachineError, match="no safetensors"):
        hub.fetch({"url": "https://somewhere/x.pth"})


def test_the_cache_is_looked_into_without_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert hub.cached(CONFIG) is None
    folder = tmp_path / "models--timm--some_net.a1"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    (folder / "snapshots" / "abc").mkdir(parents=True)
    (folder / "snapshots" / "abc" / "model.safetensors").write_bytes(b"x")
    found = hub.cached(CONFIG)
    assert found is not None
    assert found.read_bytes() == b"x"
    assert hub.fetch(CONFIG) == found


def test_offline_is_said_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(MachineError, match="HF_HUB_OFFLINE is set"):
        hub.fetch(CONFIG)


def test_a_silent_host_costs_seconds_not_minutes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    given_up, ended = threading.Event(), threading.Event()

    def silent(*_: object, **__: object) -> None:
        given_up.wait(60)
        ended.set()
        raise OSError("timed out")

    monkeypatch.setattr(hub.urllib.request, "urlopen", silent)
    found = hub.reachable(timeout=0.2), ended.is_set()
    given_up.set()
    assert found == (False, False), "it was not waited for"
    assert ended.wait(60)


def test_a_download_that_fails_is_one_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: object, **__: object) -> str:
        raise ConnectionResetError("peer went away")

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "reachable", lambda: True)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", broken)
    with pytest.raises(MachineError, match="peer went away") as caught:
        hub.fetch(CONFIG)
    assert caught.value.code == "no-weights"
