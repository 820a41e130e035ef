from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import timm
import torch
from tests.configs import config

from beholder.base.errors import BundleError, MachineError, UsageError
from beholder.base.recipe import Recipe
from beholder.base.records import PixelPolicy
from beholder.bundle import hub
from beholder.bundle.bundle import Bundle, load
from beholder.bundle.generator import Config, Generator, Shape, built
from beholder.cli.run import run
from beholder.nets.build import build

huggingface_hub = pytest.importorskip("huggingface_hub")


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands in for the hub: repositories are its folders."""
    top = tmp_path / "hub"

    class Api:
        def create_repo(self, name: str, *, private: bool, exist_ok: bool) -> None:
            assert exist_ok
            (top / name).mkdir(parents=True, exist_ok=True)
            (top / name / ".gitattributes").write_text(f"private={private}")

        def upload_folder(self, *, repo_id: str, folder_path: str, ignore_patterns: list[str], commit_message: str) -> object:
            ignored = huggingface_hub.utils.filter_repo_objects(
                [path.name for path in Path(folder_path).iterdir()], ignore_patterns=ignore_patterns
            )
            for name in ignored:
                shutil.copy(Path(folder_path) / name, top / repo_id / name)
            return SimpleNamespace(commit_url=f"hub/{repo_id}/commit/1")

    def fetch(name: str, *, revision: str | None, local_dir: str) -> str:
        if not (top / name).is_dir():
            raise OSError(f"{name} is not there\nand more")
        (Path(local_dir) / ".cache").mkdir()
        return str(shutil.copytree(top / name, local_dir, dirs_exist_ok=True))

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    return top


def test_what_is_pushed_can_be_pulled(
    small: tuple[Path, Path, Bundle], shelf: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["push", str(small[1]), "someone/leaves"]) == 0
    assert capsys.readouterr().out == "hub/someone/leaves/commit/1\n"
    assert (shelf / "someone" / "leaves" / ".gitattributes").read_text() == "private=True"
    assert not (shelf / "someone" / "leaves" / "report.html").exists()
    assert run(["pull", "someone/leaves", "--out", str(tmp_path / "mine.beholder")]) == 0
    assert not {".cache", ".gitattributes"} & {path.name for path in (tmp_path / "mine.beholder").iterdir()}
    monkeypatch.chdir(tmp_path)
    assert hub.pull("someone/leaves") == Path("leaves.beholder")
    assert load("leaves.beholder").classes == small[2].classes
    picture = next(small[0].rglob("*.png"))
    assert load(tmp_path / "mine.beholder")(picture).probabilities == small[2](picture).probabilities


def test_a_generator_goes_and_comes_as_a_model_does(shelf: Path, tmp_path: Path) -> None:
    pixels = PixelPolicy(8, 8, 1)
    made = Config(classes=("a", "b"), shares=(0.5, 0.5), pixels=pixels, shape=Shape("vae", 8))
    sent = tmp_path / "g.beholder"
    Generator(made, built(made), Recipe()).save(sent)
    hub.push(sent, "someone/made")
    again = Generator.load(hub.pull("someone/made", tmp_path / "mine.beholder"))
    assert (again.sample(4)[0] == Generator.load(sent).sample(4)[0]).all()
    (sent / "model.safetensors").write_bytes(b"0" * 100)
    with pytest.raises(BundleError):
        hub.push(sent, "someone/made")


def test_what_is_damaged_neither_goes_nor_comes(small: tuple[Path, Path, Bundle], shelf: Path, tmp_path: Path) -> None:
    hub.push(small[1], "someone/leaves", public=True)
    assert (shelf / "someone" / "leaves" / ".gitattributes").read_text() == "private=False"
    scores = shelf / "someone" / "leaves" / "scores.json"
    scores.write_bytes(scores.read_bytes() + b" ")
    with pytest.raises(BundleError):
        hub.pull("someone/leaves", tmp_path / "mine.beholder")
    assert not (tmp_path / "mine.beholder").exists()
    with pytest.raises(BundleError):
        hub.push(shelf / "someone" / "leaves", "someone/other")
    assert not (shelf / "someone" / "other").exists()


def test_what_the_hub_refuses_is_said_in_one_line(shelf: Path, tmp_path: Path) -> None:
    with pytest.raises(MachineError) as caught:
        hub.pull("someone/nothing", tmp_path / "mine.beholder")
    assert "\n" not in caught.value.message
    assert caught.value.code == "hub"
    assert "hf auth login" in caught.value.hint
    assert not (tmp_path / "mine.beholder").exists()
    for name in ("leaves", "a/b/c", "../x y"):
        with pytest.raises(UsageError) as bad:
            hub.pull(name)
        assert bad.value.code == "bad-name"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="not a bundle"):
        hub.pull("someone/leaves", tmp_path / "mine")


@pytest.mark.parametrize("channels", [1, 3])
def test_timm_itself_reads_a_bundle_of_one_of_its_nets(channels: int, tmp_path: Path) -> None:
    made = config(("ant", "bee", "cat"), net="timm:test_resnet", size=(channels, 32, 32))
    net = build(made.net).eval()
    path = Bundle(made, net, Recipe()).save(tmp_path / "m.beholder")
    theirs = timm.create_model(f"local-dir:{path}", pretrained=True).eval()
    images = torch.rand(2, channels, 32, 32)
    assert torch.equal(theirs(images), net(images))
    assert theirs.pretrained_cfg["mean"] == [0.5] * channels
    assert theirs.pretrained_cfg["label_names"] == ["ant", "bee", "cat"]


def test_timm_reads_of_a_net_that_enlarges_small_pictures_the_size_to_which_it_does(tmp_path: Path) -> None:
    made = config(("ant", "bee", "cat"), net="timm:test_resnet", size=(3, 24, 32))
    made = replace(made, net=replace(made.net, args={"enlarge": 64}))
    net = build(made.net).eval()
    path = Bundle(made, net, Recipe()).save(tmp_path / "m.beholder")
    theirs = timm.create_model(f"local-dir:{path}", pretrained=True).eval()
    assert theirs.pretrained_cfg["input_size"] == [3, 48, 64]
    images = torch.rand(2, 3, 24, 32)
    larger = torch.nn.functional.interpolate(images, (48, 64), mode="bicubic", align_corners=False)
    assert torch.equal(theirs(larger), net(images))
    again = load(path)
    assert again.config.net == made.net
    assert torch.equal(again.net(images), net(images))


@pytest.mark.parametrize(("said", "told"), [("", "OSError: "), ("cut off\nat byte 7", "OSError: cut off")])
def test_what_the_hub_says_is_told_in_a_line(said: str, told: str) -> None:
    found = hub._refused("me/leaves", OSError(said))
    assert found.message == f"the hub did not do it for me/leaves: {told}"
    assert found.code == "hub"
