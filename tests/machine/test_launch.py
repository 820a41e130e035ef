from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

import beholder
from beholder.base.errors import UsageError
from beholder.learn.followed import joining
from beholder.machine import devices
from beholder.machine.launch import Launch, check_launch, check_started, launched


def test_what_a_launch_asks_for() -> None:
    assert launched("") == Launch("", 0)
    assert launched("local:3") == Launch("local", 3)
    assert launched("ray") == Launch("ray", 0)
    assert launched("ray:200") == Launch("ray", 200)


@pytest.mark.parametrize("text", ["local", "local:", "local:0", "local:65", "ray:", "ray:0", "ray:x", "8", ":2", "cloud:2"])
def test_what_is_no_launch(text: str) -> None:
    with pytest.raises(UsageError) as error:
        launched(text)
    assert error.value.code == "bad-launch"


def few(patch: pytest.MonkeyPatch, count: int | None) -> None:
    """Have this machine see so many devices that processes cannot share; None: one that they can."""
    row = replace(devices.CPU, count=None if count is None else lambda: count)
    patch.setattr(devices, "_kinds", lambda path: {"fake": row})


@pytest.mark.parametrize(("count", "way"), [(1, "leave --launch out"), (2, "give --launch local:2")])
def test_more_processes_than_devices_are_refused(count: int, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch, count)
    with pytest.raises(UsageError, match="--launch local:3 takes a device for each process") as error:
        check_launch("local:3")
    assert (error.value.code, error.value.hint) == ("too-few-devices", way)
    for fits in ("", "local:1", f"local:{count}", "ray:8"):
        check_launch(fits)


def test_devices_that_processes_share_are_enough_for_any_number(monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch, None)
    check_launch("local:3")
    check_launch("local:64")


@pytest.mark.parametrize(
    ("visible", "refused"), [(None, True), ("0,1", True), ("1", False), ("", False)], ids=["all", "two", "one each", "none"]
)
def test_torchrun_is_refused_so_too(visible: str | None, refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch, 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(UsageError) if refused else nullcontext() as error:
        check_started()
    assert error is None or (error.value.code, error.value.hint) == ("too-few-devices", "give --nproc-per-node 2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    check_started()


def train(leaves: Path, launch: str) -> object:
    parts = beholder.split(beholder.scan(leaves), seed=0)
    return beholder.train(parts, net="logistic", epochs=1, launch=launch)


@pytest.mark.parametrize(
    "work",
    [
        lambda leaves, out: beholder.steps(leaves, out=out, launch="local:2"),
        lambda leaves, out: beholder.steps(leaves, out=out, launch="local:2", dry_run=True),
        lambda leaves, out: train(leaves, "local:2"),
        lambda leaves, out: joining(lambda: None),
    ],
    ids=["steps", "dry run", "train", "torchrun"],
)
def test_nothing_is_begun_where_devices_are_too_few(
    work: Callable[[Path, Path], object], leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few(monkeypatch, 1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(UsageError) as error:
        work(leaves, tmp_path / "m.beholder")
    assert error.value.code == "too-few-devices"
    assert [path.name for path in tmp_path.iterdir()] == ["leaves"]
