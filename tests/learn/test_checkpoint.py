from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from beholder.base.errors import UsageError
from beholder.learn.checkpoint import RunFolder, pack, unpack
from beholder.learn.optim import optimiser
from beholder.learn.watch import Average, Best


def _run(name: str) -> tuple[nn.Module, dict, Average, Best]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(32, 2))
    net.to(memory_format=torch.channels_last)
    made = {"net": optimiser(net, name, lr=0.01, momentum=0.9, weight_decay=0.1, head=net[3])}
    return net, made, Average(net, 0.9), Best()


def _steps(net: nn.Module, made: dict, average: Average, best: Best, first: int, last: int) -> None:
    for step in range(first, last):
        x = torch.randn(16, 3, 4, 4, generator=torch.Generator().manual_seed(step))
        net(x).square().mean().backward()
        for one in made["net"]:
            one.step()
            one.zero_grad()
        average.update(net)
        best.offer(average.net, score=float(step), loss=0.0, epoch=step)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "muon", "sphere"])
def test_going_on_from_a_checkpoint_is_bit_identical(name: str, tmp_path: Path) -> None:
    whole = _run(name)
    _steps(*whole, 0, 10)
    first = _run(name)
    _steps(*first, 0, 6)
    folder = RunFolder(tmp_path / "m.run")
    folder.save({"step": 6}, pack(*first))
    state, tensors = folder.load()
    second = _run(name)
    unpack(tensors, *second)
    second[2].updates = first[2].updates
    _steps(*second, state["step"], 10)
    ours, theirs = pack(*whole), pack(*second)
    assert ours.keys() == theirs.keys()
    for key in ours:
        assert torch.equal(ours[key], theirs[key]), key


def test_another_run_is_not_continued(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "m.run")
    assert not folder.begin({"recipe": "a", "train": "x"}, resume=True)
    assert not folder.begin({"recipe": "a", "train": "x"}, resume=True)
    folder.save({"step": 1}, {"w": torch.zeros(1)})
    assert folder.begin({"recipe": "a", "train": "x"}, resume=True)
    with pytest.raises(UsageError, match="train changed"):
        folder.begin({"recipe": "a", "train": "y"}, resume=True)
    assert not folder.begin({"recipe": "a", "train": "y"}, resume=False)
    assert not (folder.path / "checkpoint").exists()


def test_a_folder_that_is_no_run_is_never_deleted(tmp_path: Path) -> None:
    pictures = tmp_path / "camera.run"
    pictures.mkdir()
    (pictures / "a.jpg").write_bytes(b"precious")
    folder = RunFolder.beside(tmp_path / "camera.beholder")
    assert folder.path == pictures
    for resume in (True, False):
        with pytest.raises(UsageError, match="in the way"):
            folder.begin({"recipe": "a"}, resume=resume)
    assert (pictures / "a.jpg").read_bytes() == b"precious"
    assert RunFolder.beside(tmp_path / "v1.2").path != RunFolder.beside(tmp_path / "v1.3").path


def test_a_checkpoint_that_a_kill_left_aside_is_found(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "m.run")
    folder.begin({"recipe": "a"}, resume=False)
    folder.save({"step": 4}, {"w": torch.ones(1)})
    (folder.path / "checkpoint").rename(folder.path / ".checkpoint.old")
    assert folder.begin({"recipe": "a"}, resume=True)
    assert folder.load()[0]["step"] == 4


def test_a_damaged_checkpoint_is_noticed(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "m.run")
    folder.save({"step": 1}, {"w": torch.arange(100.0)})
    file = folder.path / "checkpoint" / "state.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(UsageError, match="damaged"):
        folder.load()
    (folder.path / "checkpoint" / "state.json").write_text("{")
    with pytest.raises(UsageError, match="damaged"):
        folder.load()
