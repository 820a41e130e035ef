from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from beholder.base.errors import UsageError
from beholder.base.recipe import Recipe
from beholder.learn.checkpoint import RunFolder, pack, unpack
from beholder.learn.monitors import Average, Best, Player
from beholder.learn.optim import optimiser


def _run(name: str) -> tuple[nn.Module, dict[str, Player]]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(32, 2))
    net.to(memory_format=torch.channels_last)
    made = optimiser(net, name, lr=0.01, momentum=0.9, weight_decay=0.1, head=net[3])
    return net, {"net": Player(net, made, Average(net, 0.9), Best())}


def _steps(net: nn.Module, players: dict[str, Player], first: int, last: int) -> None:
    player = players["net"]
    assert player.average is not None
    assert player.best is not None
    for step in range(first, last):
        x = torch.randn(16, 3, 4, 4, generator=torch.Generator().manual_seed(step))
        net(x).square().mean().backward()
        for one in player.optimisers:
            one.step()
            one.zero_grad()
        player.average.update(net)
        player.best.offer(player.scored, score=float(step), loss=0.0, epoch=step)


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
    second[1]["net"].set(first[1]["net"].state(), best=True)
    assert second[1]["net"].best.score == first[1]["net"].best.score == 5
    _steps(*second, state["step"], 10)
    ours, theirs = pack(*whole), pack(*second)
    assert ours.keys() == theirs.keys()
    for key in ours:
        assert torch.equal(ours[key], theirs[key]), key


def test_a_run_of_an_earlier_release_is_continued(tmp_path: Path) -> None:
    folder, recipe = RunFolder(tmp_path / "m.run"), Recipe().set(val=0.3, target_risk=0.02).toml()
    old = recipe.replace("val = 0.3", "valid = 0.3").replace("target_risk", "accept_risk").replace('task = "auto"\n', "")
    assert old != recipe
    folder.begin({"recipe": old}, resume=False)
    folder.save({"step": 0}, {})
    assert folder.begin({"recipe": recipe}, resume=True)
    with pytest.raises(UsageError, match="recipe changed"):
        folder.begin({"recipe": Recipe().toml()}, resume=True)


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
