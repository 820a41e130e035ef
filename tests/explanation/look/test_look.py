"""The verb `look`: every net gives a page within 2 MB whose numbers are those of NumPy; what cannot be looked at is refused."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.detectors import detector
from tests.explanation.look.pages import CLOSE, Page, bundle, close, convolved, forward, picture, temperature, weights
from typer.testing import CliRunner

import beholder
from beholder.base.errors import BeholderError, BundleError, PictureError, UsageError
from beholder.base.recipe import Recipe
from beholder.base.records import PixelPolicy
from beholder.bundle.generator import Config, Generator, Shape, built
from beholder.cli.commands import app
from beholder.explanation.look import exact, look, step
from beholder.explanation.look.fit import LARGEST
from beholder.machine.pace import slowness
from beholder.nets.build import NETS, build
from beholder.nets.features import head as last_layer
from beholder.nets.spec import NetSpec

TIMM = ("timm:test_resnet", "timm:test_vit", "timm:test_convnext", "timm:test_efficientnet", "timm:test_nfnet")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("net", [*NETS.names()])
def test_every_net_of_the_table_gives_a_page_whose_numbers_are_those_of_numpy(net: str, channels: int, tmp_path: Path) -> None:
    made = bundle(net, channels=channels, calibration=temperature(4))
    found = look(made, picture())
    page = Page(found.html)
    assert len(found.html.encode()) <= LARGEST
    held, x = weights(made, tmp_path), page.pixels()
    assert close(x, (made.pixels(picture()) / 255 - 0.5) / 0.25)
    first(page, held, x)
    told = page.facts["head"]
    features, logits = page.array(told["features"]).astype(np.float64), np.array([row["logit"] for row in told["rows"]])
    at = [row["at"] for row in told["rows"]]
    scale = getattr(made.net, "scale", 1.0)
    assert close(logits, scale * (held["head.weight"] @ features + held.get("head.bias", 0.0))[at])
    if net in ("logistic", "mlp", "cnn"):
        assert close(logits, forward(net, x, held)[at])
    assert answers(page, made.probabilities(made.pixels(picture())[None])[0])
    assert (page.facts["step"] is None) == (net not in ("logistic", "mlp", "cnn"))


def first(page: Page, held: dict[str, np.ndarray], x: np.ndarray) -> None:
    """What the page holds of the first layer gives every value of it, as the file of weights does."""
    told = page.facts["first"]
    name, weight, bias = told["name"], page.array(told["weight"]), page.array(told["bias"])
    kept = held[f"{name}.weight"]
    shown = told["channels"]
    assert np.array_equal(weight, kept[shown].astype(np.float32))
    assert np.array_equal(bias, held.get(f"{name}.bias", np.zeros(len(kept)))[shown].astype(np.float32))
    given = x if told["pixels"] else page.array(told["input"]).astype(np.float64)
    assert told["error"] < 5 * CLOSE
    if told["kind"] == "conv":
        how = {"stride": told["stride"], "pads": told["pads"], "dilation": told["dilation"], "groups": told["groups"]}
        assert convolved(given, kept, held.get(f"{name}.bias", 0.0), **how).shape == (told["of"], *told["out"])


def answers(page: Page, p: np.ndarray) -> bool:
    """Whether the page's probabilities are those of the bundle."""
    listed = sorted(page.facts["head"]["classes"], key=lambda one: one["at"])
    return bool(np.abs(np.array([one["p"] for one in listed]) - p).max() < CLOSE)


@pytest.mark.parametrize("net", TIMM)
def test_backbones_of_timm_give_a_page_too(net: str, tmp_path: Path) -> None:
    size = 160 if net == "timm:test_vit" else 64
    made = bundle(net, size=size, mirror=net == "timm:test_resnet")
    found = look(made, picture())
    page = Page(found.html)
    assert len(found.html.encode()) <= LARGEST
    held = weights(made, tmp_path)
    if net == "timm:test_nfnet":
        assert "rescales its stored weights" in page.facts["first"]["note"]
    else:
        first(page, held, page.pixels())
    assert page.facts["first"]["kind"] == "conv"
    assert page.facts["first"]["error"] < 5 * CLOSE
    told, head = page.facts["head"], last_layer(made.net)
    name = next(name for name, module in made.net.named_modules() if module is head)
    features = page.array(told["features"]).astype(np.float64)
    rows = {row["at"]: row["logit"] for row in told["rows"]}
    assert close([rows[k] for k in range(4)], held[f"{name}.weight"] @ features + held[f"{name}.bias"])
    assert answers(page, made.probabilities(made.pixels(picture())[None])[0])
    assert sum(layer["form"] == "maps" for layer in page.facts["layers"]) > 3


@pytest.mark.parametrize(("task", "net"), [("multi", "cnn"), ("ordinal", "cnn"), ("multi", "resnet"), ("ordinal", "logistic")])
def test_several_labels_and_ordered_classes(task: str, net: str) -> None:
    made = bundle(net, task=task, calibration=temperature(4 if task == "multi" else 3))
    page = Page(look(made, picture(), label="class 2").html)
    told = page.facts["head"]
    assert told["family"] == {"multi": "bernoulli", "ordinal": "sequential"}[task]
    assert answers(page, made.probabilities(made.pixels(picture())[None])[0])
    if task == "ordinal":
        assert [row["name"] for row in told["rows"]] == ["beyond class 0", "beyond class 1", "beyond class 2"]
        beyond = np.array([step["p"] for step in told["steps"]])
        p = np.cumprod([1, *beyond]) * np.array([*(1 - beyond), 1])
        assert close(sorted(one["p"] for one in told["classes"]), sorted(p))
    else:
        assert {one["threshold"] for one in told["classes"]} == {0.5}
    if page.facts["step"]:
        assert page.facts["step"]["truth"] == "class 2"


def test_the_true_class_is_the_one_that_is_named_else_the_prediction() -> None:
    made = bundle("logistic")
    named, free = look(made, picture(), label="class 1"), look(made, picture())
    assert named.facts["step"]["truth"] == "class 1"
    assert named.label == "class 1"
    assert named.facts["step"]["given"]
    assert free.facts["step"]["truth"] == free.prediction.label == free.label
    assert not free.facts["step"]["given"]
    several = bundle("logistic", task="multi", names=("a", "b;c", "d"))
    for label, hot in (("a;d", {0, 2}), ("b;c", {1}), ("", set())):
        rows = look(several, picture(), label=label).facts["step"]["rows"]
        assert {row["at"] for row in rows if row["y"]} == hot


def test_a_picture_in_any_form_and_a_path_are_taken_and_the_page_is_written(tmp_path: Path) -> None:
    made = bundle("cnn")
    path = made.save(tmp_path / "m.beholder")
    Image.fromarray(picture()).save(tmp_path / "a <b> & c.png")
    out = tmp_path / "page.html"
    found = beholder.look(path, tmp_path / "a <b> & c.png", out=out)
    assert out.read_text("utf-8") == found.html
    assert "<b>" not in found.html
    assert "a &lt;b&gt; &amp; c.png through cnn" in found.html
    same = beholder.look(made, Image.open(tmp_path / "a <b> & c.png"))
    assert same.json()["probabilities"] == found.json()["probabilities"]
    assert set(found.json()) == {"label", "p", "prediction", "probabilities", "net", "layers", "bytes", "step"}
    assert found.json()["bytes"] == out.stat().st_size
    assert repr(found).startswith("Look(label='class ")


def test_the_net_and_its_mode_are_left_as_they_were() -> None:
    made = bundle("resnet")
    made.net.train()
    before = {name: value.clone() for name, value in made.net.state_dict().items()}
    look(made, picture())
    assert made.net.training
    assert all(bool((value == before[name]).all()) for name, value in made.net.state_dict().items())
    assert not [module for module in made.net.modules() if module._forward_hooks or module._forward_pre_hooks]


def test_what_cannot_be_looked_at_is_refused_with_its_reason(tmp_path: Path) -> None:
    made = bundle("cnn")
    with pytest.raises(UsageError, match="no name of a page") as error:
        look(made, picture(), out=tmp_path / "a.png")
    assert error.value.code == "bad-out"
    with pytest.raises(UsageError, match="no class 'clas 1'") as error:
        look(made, picture(), label="clas 1")
    assert "class 1" in error.value.hint
    with pytest.raises(UsageError, match="no class ''"):
        look(made, picture(), label="")
    with pytest.raises(UsageError, match="is no picture"):
        look(made, 3)  # type: ignore[arg-type]
    with pytest.raises(PictureError):
        look(made, b"nothing")
    with pytest.raises(UsageError, match="there is no bundle"):
        look(tmp_path / "none.beholder", picture())
    with pytest.raises(UsageError, match="finds boxes") as error:
        look(detector(), picture())
    assert error.value.code == "finds-boxes"
    with pytest.raises(UsageError, match="finds boxes"):
        look(detector().save(tmp_path / "d.beholder"), picture())
    assert not list(tmp_path.glob("*.html"))


def test_exact_pixels_are_those_of_the_definition() -> None:
    made = bundle("cnn", size=8)
    image = np.arange(3 * 64, dtype=np.uint8).reshape(3, 8, 8)
    assert close(exact(made, image), (image.astype(np.float64) / 255 - 0.5) / 0.25)


def test_a_net_that_answers_no_numbers_is_said_to() -> None:
    made = bundle("cnn")
    made.net.head.weight.data.fill_(float("inf"))  # type: ignore[union-attr]
    with pytest.raises(BundleError, match="NaN or infinity"):
        look(made, picture())


def generator() -> Generator:
    made = Config(classes=("a", "b"), shares=(0.5, 0.5), pixels=PixelPolicy(8, 8, 1), shape=Shape("vae", 8))
    return Generator(made, built(made), Recipe())


def test_a_generator_is_refused_as_a_value_and_as_a_path(tmp_path: Path) -> None:
    path = tmp_path / "g.beholder"
    generator().save(path)
    for model in (generator(), path):
        with pytest.raises(BeholderError, match="makes pictures and recognises none") as error:
            look(model, picture())  # type: ignore[arg-type]
        assert error.value.code == "a-generator"
        assert "sample" in error.value.hint


OWN = """
from torch import nn

def net(*, channels, size, classes):
    return nn.Sequential(nn.Conv2d(channels, 5, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(classes))
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of a bundle with a net of one's own, which lies in a module."""
    (tmp_path / "beholder_test_look_own.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    made = bundle(build(NetSpec("beholder_test_look_own:net", 3, 16, 16, 4), trust=True))
    told = dataclasses.replace(made.config, net=dataclasses.replace(made.config.net, name="beholder_test_look_own:net"))
    return dataclasses.replace(made, config=told).save(tmp_path / "own.beholder")


def test_a_net_of_one_s_own_by_its_path_needs_trust_or_the_net(own: Path) -> None:
    with pytest.raises(BundleError, match="code of its maker's"):
        look(own, picture())
    found = look(own, picture(), trust=True)
    assert [layer["kind"] for layer in found.facts["layers"]] == ["Conv2d", "ReLU", "Flatten", "Linear"]
    assert found.facts["first"]["kind"] == "conv"
    scope: dict[str, object] = {}
    exec(OWN, scope)
    assert look(own, picture(), net=scope["net"]).json() == found.json()


def test_the_command_takes_trust(own: Path, tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.png")
    words = ["look", str(own), str(tmp_path / "a.png"), "--out", str(tmp_path / "a.html"), "--json"]
    refused = CliRunner().invoke(app, words).exception
    assert isinstance(refused, BundleError)
    assert "trust" in refused.hint
    assert not (tmp_path / "a.html").exists()
    assert json.loads(CliRunner().invoke(app, [*words, "--trust"]).stdout)["net"] == "beholder_test_look_own:net"


def test_a_task_from_elsewhere_has_no_step_for_its_loss_is_its_own(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(root / "examples"))
    made = bundle("cnn", task="angle:ANGLE", classes=24)
    found = look(made, picture())
    assert found.facts["step"] is None
    assert found.json()["step"] is None
    assert found.facts["no_step"] == "No step is shown: the task of this model, angle:ANGLE, brings a loss of its own."
    assert found.facts["no_step"] in found.html
    assert answers(Page(found.html), made.probabilities(made.pixels(picture())[None])[0])
    assert look(bundle("resnet"), picture()).facts["no_step"] == ""


def test_a_step_that_would_take_long_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    made = bundle("cnn", size=10, width=1.0)
    count = 32 * 3 * 9 * 8 * 8 + 4 * 32 * 4 * 4
    monkeypatch.setattr(step, "MOST", count)
    assert look(made, picture()).facts["step"] is not None
    monkeypatch.setattr(step, "MOST", count - 1)
    found = look(made, picture())
    assert found.facts["step"] is None
    assert f"takes {count:,} products" in found.facts["no_step"]


@pytest.mark.slow
def test_a_large_picture_takes_less_than_three_seconds_of_cpu() -> None:
    made, given = bundle("cnn", size=640, width=1.0, classes=40), picture(0, 640, 640)
    begun = time.process_time()
    found = look(made, given)
    assert time.process_time() - begun < 3 * max(1.0, slowness())
    assert len(found.html.encode()) <= LARGEST
    assert len(found.facts["head"]["rows"]) == 4
    assert found.facts["head"]["of"] == 40
