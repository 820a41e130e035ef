"""What a run folder keeps of a run besides its checkpoints comes back as it was."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from beholder.base.recipe import Recipe
from beholder.learn import resumed
from beholder.learn.checkpoint import RunFolder
from beholder.learn.probe import Head

HEAD = Head(
    torch.arange(6.0).reshape(2, 3), torch.tensor([0.5, -0.5]), 40, 4, torch.arange(8.0).reshape(4, 2), np.array([0, 2, 5, 7])
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run folder that a run began in; what a checkpoint needs is there."""
    monkeypatch.setattr(resumed, "_machine", lambda prepared: {"threads": "3", "width": "0.5", "batch": "32", "flips": "none"})
    found = RunFolder(tmp_path / "m.run")
    found.begin({"recipe": "r"}, resume=False, machine={"threads": "1"})
    found.save({}, {"w": torch.zeros(1)})
    return found


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    found: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", found.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    return found


def test_the_head_comes_back_as_it_was(folder: RunFolder, threads: list[int]) -> None:
    assert resumed.head_of(folder) is None
    resumed.settle(folder, None, HEAD, going_on=False)  # type: ignore[arg-type]
    found = resumed.head_of(folder)
    assert found is not None
    for name in ("weight", "bias", "logits"):
        torch.testing.assert_close(getattr(found, name), getattr(HEAD, name), rtol=0, atol=0)
    assert (found.trained, found.chosen) == (40, 4)
    assert found.rows.tolist() == [0, 2, 5, 7]
    assert threads == [], "a new run has chosen its threads itself"


def test_a_new_run_keeps_what_it_depends_on_and_a_resumed_one_takes_its_threads(folder: RunFolder, threads: list[int]) -> None:
    resumed.settle(folder, None, None, going_on=False)  # type: ignore[arg-type]
    assert folder.chosen()["threads"] == "3"
    assert resumed.head_of(folder) is None
    resumed.settle(folder, None, HEAD, going_on=True)  # type: ignore[arg-type]
    assert threads == [3]
    assert resumed.head_of(folder) is None, "the run that is resumed had none"
    folder.renew({})
    resumed.settle(folder, None, None, going_on=True)  # type: ignore[arg-type]
    assert threads == [3, 8], "where nothing is known, those that there are"
    resumed.settle(None, None, HEAD, going_on=True)  # type: ignore[arg-type]
    assert threads == [3, 8]


def test_what_was_chosen_by_measuring_is_gone_on_with(folder: RunFolder) -> None:
    digests = np.arange(64, dtype=np.uint8).reshape(2, 32)
    folder.keep("sample", {"train": digests})
    folder.keep("taught", {"digests": digests, "logits": np.ones((2, 3), np.float32)})
    folder.renew({"width": "0.25", "batch": "64", "flips": "horizontal"})
    found = resumed.before_of(folder)
    assert found is not None
    assert (found.width, found.batch, found.flips) == (0.25, 64, "horizontal")
    assert found.sample is not None
    assert found.taught is not None
    np.testing.assert_array_equal(found.sample["train"], digests)
    np.testing.assert_array_equal(found.taught["logits"], np.ones((2, 3)))


def test_of_a_run_that_said_little_nothing_is_known(folder: RunFolder, tmp_path: Path) -> None:
    found = resumed.before_of(folder)
    assert found is not None
    assert (found.sample, found.width, found.batch, found.flips, found.taught) == (None, 0.0, 0, "", None)
    assert resumed.before_of(RunFolder(tmp_path / "none.run")) is None


def prepared(*, minutes: float = 0.0, own: int | None = None, taught: bool = False) -> Any:
    digests = np.arange(96, dtype=np.uint8).reshape(3, 32)
    pictures = SimpleNamespace(digests=digests, targets=np.array([0, 1, 1]))
    logits = np.ones((3, 2), np.float32)
    train = SimpleNamespace(
        pictures=pictures,
        pixels=SimpleNamespace(rows=np.array([0, 4, 6])),
        taught=SimpleNamespace(logits=logits, digest="teacher") if taught else None,
        targets=torch.eye(2)[[0, 1, 1]],
    )
    valid = SimpleNamespace(pictures=SimpleNamespace(digests=digests[:1]), targets=torch.eye(2)[[0]])
    told = SimpleNamespace(json=lambda: {"spec": 1})
    return SimpleNamespace(
        train=train,
        valid=valid,
        own=own,
        recipe=Recipe().set(minutes=minutes),
        policy=told,
        created=SimpleNamespace(spec=told),
    )


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({}, set()),
        ({"minutes": 5.0}, {"sample"}),
        ({"taught": True}, {"taught"}),
        ({"own": 4}, {"joined"}),
        ({"minutes": 5.0, "taught": True, "own": 4}, {"sample", "taught", "joined"}),
    ],
)
def test_a_new_run_keeps_which_pictures_it_takes(folder: RunFolder, fields: dict[str, Any], kept: set[str]) -> None:
    run = prepared(**fields)
    assert resumed.opened(folder, run, resume=False) is False
    folder.save({}, {"w": torch.zeros(1)})
    found = {name: folder.kept(name) for name in ("sample", "taught", "joined")}
    assert {name for name, arrays in found.items() if arrays is not None} == kept
    digests = run.train.pictures.digests
    if (sample := found["sample"]) is not None:
        np.testing.assert_array_equal(sample["train"], digests)
        np.testing.assert_array_equal(sample["valid"], digests[:1])
    if (taught := found["taught"]) is not None:
        np.testing.assert_array_equal(taught["digests"], digests)
        np.testing.assert_array_equal(taught["logits"], np.ones((3, 2)))
    if (joined := found["joined"]) is not None:
        np.testing.assert_array_equal(joined["digests"], digests[1:])
        assert joined["targets"].tolist() == [1, 1]
    assert resumed.opened(folder, run, resume=True) is True
    assert resumed.opened(None, run, resume=True) is False
