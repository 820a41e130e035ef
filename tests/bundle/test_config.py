"""What a bundle says of itself fits together, or it is refused by name; a net that answers no numbers is never an answer."""

from __future__ import annotations

import contextlib
import json
import math
import re
import shutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save
from tests.configs import config

import beholder
from beholder.base.errors import BundleError
from beholder.base.files import sha256
from beholder.bundle import format
from beholder.bundle.bundle import Bundle, load
from beholder.bundle.config import TIMM, Audited, Baseline, Config, File, Ood, read
from beholder.measure.calibration import Calibration
from beholder.measure.conformal import Sets
from beholder.measure.selective import Operating
from beholder.nets.spec import Initial
from beholder.runtime import exported
from beholder.runtime.exported import Exported

Small = tuple[Path, Path, Bundle]


@pytest.fixture
def copy(small: Small, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small[1], tmp_path / "copy.beholder"))


def changed(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a bundle's config and seal it, as somebody would who makes a bundle by hand."""
    config = json.loads((path / "config.json").read_bytes())
    config.pop("seal")
    change(config)
    (path / "config.json").write_bytes(format._sealed(config))


def at(name: str, value: Any) -> Callable[[dict[str, Any]], object]:
    """Return what sets a value by its path, such as calibration.scale.0."""

    def change(config: dict[str, Any]) -> None:
        *above, last = name.split(".")
        for key in above:
            config = config[int(key)] if isinstance(config, list) else config[key]
        config[int(last) if isinstance(config, list) else last] = value

    return change


WHOLE = config(
    "abc",
    net="timm:resnet10t",
    calibration=Calibration("vector", (1.0,) * 3, (0.0,) * 3, 9),
    prediction_sets=Sets("least", 0.9, (0.5,) * 3, 9, (9,) * 3),
    operating_points=(Operating("risk", 0.1, 0.95, 0.5, 9), Operating("sensitivity", 0.9, 0.95, None, 9, "b")),
    ood=Ood("knn", 0.95, 20, 1, "", {"knn": 0.5}, (0.1, 0.2)),
    initial_weights=Initial("package==1.0", "MIT", "ab"),
    floor=Baseline("pixels", 0.5, trained=9, chosen=9, net=None, kept=True),
    audit=Audited("report", {"few": 1}),
    machine={"torch": "2.15"},
    profile={"wall": 1.0},
    valid_score=0.5,
    files={"model.safetensors": File(9, "cd")},
)


def test_there_and_back() -> None:
    assert read(json.loads(json.dumps(WHOLE.json())), "it") == WHOLE
    assert read(config().json(), "it") == config()
    assert "calibration" not in config().json(), "null is left out"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("classes", ["a", "b"], "3 classes, of which 2 have a name"),
        ("classes", ["a", "a", "b"], "two classes have the same name"),
        ("classes", "abc", "classes: "),
        ("classes", [1, 2, 3], "classes.0"),
        ("classes", None, "classes: "),
        ("classes", [], "no list"),
        ("mirror", "x", "mirror"),
        ("pixels.bits", 7, "bits"),
        ("pixels.bits", "12", "bits"),
        ("num_classes", 4, "num_classes: 4"),
        ("architecture", "vgg11", "architecture: 'vgg11'"),
        ("label_names", ["a", "b"], "label_names"),
        ("pretrained_cfg.mean", [0.1] * 3, "pretrained_cfg"),
        ("depth", 3, "depth: "),
        ("net.depth", 3, "net.depth: "),
        ("net.classes", "ten", "net.classes"),
        ("net.classes", True, "net.classes"),
        ("net.height", 8.5, "net.height"),
        ("net.args", [1], "net.args"),
        ("net.channels", 0, "channels = 0"),
        ("net.classes", 5, "the net: 5"),
        ("task", "nonsense", "no task is called 'nonsense' here; if a plug-in"),
        ("task", 3, "task"),
        ("task_options", 3, "task_options"),
        ("pixels.channels", 1, "mean"),
        ("pixels.height", 7, "built for"),
        ("pixels.height", 0, "pixels"),
        ("net.height", 7, "built for"),
        ("pixels.width", "20", "pixels"),
        ("pixels.fit", "stretch", "fit"),
        ("pixels.background", [0, 0], "background"),
        ("pixels.background", [0, 0, 999], "background"),
        ("mean", [0.5], "mean"),
        ("mean", None, "mean"),
        ("std", None, "std"),
        ("mean", [0.5, 0.5, "0.5"], "mean"),
        ("std", [0.2, 0.2], "std"),
        ("std", [0.2, 0.0, 0.2], "std"),
        ("std", [], "std"),
        ("std", [0.2, -0.2, 0.2], "std"),
        ("thresholds", [0.5, 0.5], "thresholds"),
        ("thresholds", [0.5, 0.5, 1.5], "thresholds"),
        ("thresholds", [0.5, None, 0.5], "thresholds"),
        ("calibration.scale.1", math.nan, "scale"),
        ("mean.0", math.inf, "mean"),
        ("calibration.scale", [1.0], "scale"),
        ("calibration.scale.1", 0.0, "scale"),
        pytest.param("calibration.scale.1", 10**400, "scale", id="a number that no float holds"),
        ("calibration.bias", [0.0] * 4, "bias"),
        ("calibration.bias", None, "bias"),
        ("calibration.method", "magic", "method"),
        ("calibration", {"method": "none"}, "scale"),
        ("prediction_sets.thresholds", [0.5], "prediction_sets"),
        ("prediction_sets.counts", [9], "prediction_sets"),
        ("prediction_sets.counts.0", 1e19, "prediction_sets"),
        ("prediction_sets.n", "9", "prediction_sets"),
        ("prediction_sets.counts.0", -1, "prediction_sets"),
        ("calibration.n", None, "calibration"),
        ("prediction_sets.kind", "best", "prediction_sets"),
        ("prediction_sets.coverage", 1.5, "prediction_sets"),
        ("operating_points.0.threshold", "high", "operating_points"),
        ("operating_points.0.kind", "profit", "operating point"),
        ("operating_points.1.label", "nobody", "nobody"),
        ("ood.score", "magic", "ood"),
        ("ood.thresholds.knn", "far", "ood"),
        ("ood.levels", [0.3, 0.1], "rise"),
        ("ood.levels", [], "rise"),
        ("ood.accept", 2, "accept"),
        ("files.model.sha256", 3, "files"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(name: str, value: Any, said: str) -> None:
    values = WHOLE.json() | {"files": {"model": {"bytes": 9, "sha256": "ab"}}}
    at(name, value)(values)
    with pytest.raises(BundleError) as caught:
        read(values, "it")
    assert caught.value.code == "inconsistent"
    assert said in caught.value.message
    assert caught.value.hint


def test_every_way_to_open_a_bundle_looks_first(copy: Path) -> None:
    changed(copy, at("thresholds", [0.5]))
    for opening in (load, exported.load, beholder.load):
        with pytest.raises(BundleError, match="thresholds") as caught:
            opening(copy)
        assert caught.value.code == "inconsistent"


def test_references_of_another_net_are_refused(small: Small, copy: Path) -> None:
    wide = np.ones((4, 9999), np.float16)
    bundle = load(copy)
    bundle.references = wide
    bundle.config = replace(bundle.config, ood=WHOLE.ood)
    with pytest.raises(BundleError, match="9999"):
        list(beholder.predict(bundle, [next(small[0].rglob("*.png"))]))


def broken(bundle: Bundle, value: float) -> Bundle:
    """Return a copy of a bundle whose net answers `value` of some class."""
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(int(np.prod(bundle.config.net.size)) * 3, 3))
    torch.nn.init.zeros_(net[1].weight)
    with torch.no_grad():
        net[1].bias.copy_(torch.tensor([0.0, value, 0.0]))
    return replace(bundle, net=net.eval(), references=None)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_net_that_answers_no_numbers_is_an_error_everywhere(small: Small, value: float) -> None:
    bundle = broken(small[2], value)
    files = sorted(small[0].rglob("*.png"))
    with pytest.raises(BundleError, match="NaN or infinity") as caught:
        bundle(files[0])
    assert caught.value.code == "not-finite"
    with pytest.raises(BundleError, match="NaN or infinity"):
        beholder.evaluate(bundle, small[0], part="all")
    lines = list(beholder.predict(bundle, files[:3]))
    assert [line["error"]["code"] for line in lines] == ["not-finite"] * 3
    assert "probabilities" not in lines[0]


def test_an_exported_net_that_answers_no_numbers_is_an_error_and_its_neighbours_are_not(small: Small) -> None:
    def run(images: Any) -> Any:
        logits = np.zeros((len(images), 3), np.float32)
        logits[images.mean(axis=(1, 2, 3)) > 100, 1] = np.nan
        return logits, np.zeros((len(images), 4), np.float32)

    exported_ = Exported(replace(small[2].config, ood=None), run)
    dark, light = np.zeros((20, 24, 3), np.uint8), np.full((20, 24, 3), 255, np.uint8)
    assert exported_(dark).label == small[2].classes[0]
    with pytest.raises(BundleError, match=r"1 of 2 pictures"):
        exported_([dark, light])


def test_weights_that_are_no_numbers_are_refused_with_the_name_of_the_tensor(copy: Path) -> None:
    weights = load_file(copy / format.WEIGHTS)
    name = sorted(weights)[-1]
    weights[name] = torch.full_like(weights[name], math.nan)
    data = save(weights)
    (copy / format.WEIGHTS).write_bytes(data)
    changed(copy, at("files", {**_files(copy), format.WEIGHTS: {"bytes": len(data), "sha256": sha256(data)}}))
    with pytest.raises(BundleError, match=name) as caught:
        load(copy)
    assert caught.value.code == "not-finite"


def _files(path: Path) -> dict[str, Any]:
    return dict(json.loads((path / "config.json").read_bytes())["files"])


def test_the_document_describes_every_field(root: Path) -> None:
    table = (root / "docs" / "BUNDLE.md").read_text("utf-8").partition("## config.json")[2]
    rows = {key: text for keys, text in re.findall(r"^\| (`.*?) \| (.*) \|$", table, re.MULTILINE) for key in keys.split(", ")}
    assert set(rows) == {f"`{name}`" for name in ("schema", "seal", *TIMM, *(each.name for each in fields(Config)))}
    for name, hint in get_type_hints(Config).items():
        for kind in (hint, *get_args(hint)):
            for each in fields(kind) if is_dataclass(kind) else ():
                assert f"`{each.name}`" in rows[f"`{name}`"], f"{name}.{each.name}"


def leaves(values: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value, the first two of a list."""
    yield above
    for key in values if isinstance(values, dict) else range(min(2, len(values))) if isinstance(values, list) else ():
        yield from leaves(values[key], (*above, key))


@pytest.mark.parametrize("schema", [1, 2])
def test_whatever_stands_in_place_of_a_value_it_is_read_or_refused(root: Path, schema: int) -> None:
    file = root / "tests" / "bundle" / "fixtures" / "schema1" / "single" / "config.json"
    whole = WHOLE.json() if schema == 2 else json.loads(file.read_bytes())
    for *above, last in [way for way in leaves(whole) if way]:
        for other in (None, "x", "", True, -1, 0, 1.5, 10**400, math.nan, [], [[]], {}, {"a": 1}):
            values = deepcopy(whole)
            place = values
            for key in above:
                place = place[key]
            place[last] = other
            with contextlib.suppress(BundleError):
                assert isinstance(read(values, "it"), Config)


def test_black_is_a_background() -> None:
    kept = config(pixels=replace(config().pixels, background=(0, 0, 255)), files={})
    assert read({**kept.json(), "files": {}}, "a.beholder").pixels.background == (0, 0, 255)
