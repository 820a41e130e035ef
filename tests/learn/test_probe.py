from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from beholder.base.recipe import NetRecipe, load
from beholder.base.records import PixelPolicy
from beholder.data.loader import Readable
from beholder.learn.probe import BATCH, MOST, Normal, Shown, embed, features_name, fit, seen
from beholder.machine.device import Precision
from beholder.nets.engine import Run
from beholder.study.steps import steps


def test_the_head_is_a_logistic_regression() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 6)) * [1, 2, 3, 0.5, 1, 10] + 4
    y = ((x[:, 0] - 4) + rng.normal(size=300) > 0).astype(int) + (x[:, 5] > 12)
    decay = 1e-2
    weight, bias = fit(
        torch.tensor(x).float(), torch.nn.functional.one_hot(torch.tensor(y), 3).float(), multi=False, decay=decay
    )
    z = (x - x.mean(0)) / x.std(0, ddof=1)
    oracle = LogisticRegression(C=1 / (2 * decay * len(x)), max_iter=5000, tol=1e-9).fit(z, y)
    ours = (torch.tensor(x).float() @ weight.T + bias).softmax(1).numpy()
    assert np.abs(ours - oracle.predict_proba(z)).max() < 5e-3


def test_several_labels_are_fitted_one_by_one() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(400, 3)).astype(np.float32)
    y = (x > 0).astype(np.float32)
    weight, bias = fit(torch.tensor(x), torch.tensor(y), multi=True, decay=1e-4)
    guessed = (torch.tensor(x) @ weight.T + bias) > 0
    assert (guessed.numpy() == (y > 0.5)).mean() > 0.97


@pytest.fixture
def weights(tmp_path: Path) -> str:
    """A tiny pretrained net in timm's local-dir form, for pictures of 128 pixels."""
    torch.manual_seed(3)
    folder = tmp_path / "weights"
    folder.mkdir()
    save_file(timm.create_model("test_resnet", num_classes=2).state_dict(), folder / "model.safetensors")
    config = {
        "architecture": "test_resnet",
        "num_classes": 2,
        "pretrained_cfg": {"input_size": [3, 128, 128], "num_classes": 2, "first_conv": "conv1.0", "classifier": "fc"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def test_features_that_the_audit_computed_are_not_computed_again(
    weights: str, tmp_path: Path, draw: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The audit looks at every picture but those of the test part, the probe at none; a second run at none at all."""
    source = draw(tmp_path / "set", each=14, size=(150, 140))
    counted: list[tuple[str, int]] = []
    for where in ("beholder.study.evidence", "beholder.learn.probe"):

        def counting(run: Run, pixels: Readable, *rest: Any, room: str = where, **more: Any) -> Tensor:
            counted.append((room.rpartition(".")[2], len(pixels)))
            return embed(run, pixels, *rest, **more)

        monkeypatch.setattr(f"{where}.embed", counting)
    recipe = load("quick").set(weights=weights, epochs=1, batch=16, audit="report")
    first = steps(source, recipe=recipe)
    parts = first.bundle.config["parts"]
    assert counted == [("evidence", parts["train"] + parts["valid"])]
    second = steps(source, recipe=recipe)
    assert len(counted) == 1
    mine, theirs = first.bundle.net.state_dict(), second.bundle.net.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


class Constant:
    """Pixels of which the place is the picture."""

    shape = (1, 1, 1)

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, positions: np.ndarray) -> np.ndarray:
        return self.rows[positions].astype(np.uint8).reshape(-1, 1, 1, 1)

    def subset(self, positions: np.ndarray) -> Constant:
        return Constant(self.rows[positions])


def test_what_there_was_no_time_for_is_computed_next_time_and_what_random_weights_see_is_not_kept() -> None:
    digests = np.random.default_rng(0).integers(0, 256, (100, 32), dtype=np.uint8)
    shown = Shown(Constant(np.arange(100)), digests)  # type: ignore[arg-type]
    normal = Normal((0.0,), (1 / 255,), torch.device("cpu"))
    asked: list[int] = []

    def run(images: Tensor) -> Tensor:
        asked.append(len(images))
        return images.flatten(1) * torch.tensor([[1.0, 1e4]])

    rows, found = seen(shown, lambda: run, normal, name="n", enough=lambda: True)
    assert len(rows) == BATCH == sum(asked)
    assert found[:, 0].tolist() == pytest.approx(rows.tolist(), abs=0.01)
    assert found.max() == MOST
    rows, _ = seen(shown, lambda: run, normal, name="n")
    assert (rows.tolist(), sum(asked)) == (list(range(100)), 100)
    rows, again = seen(shown, lambda: run, normal, name="n")
    assert sum(asked) == 100
    assert torch.equal(again[:, 0].round(), rows.float())
    for _ in range(2):
        assert len(seen(shown, lambda: run, normal, name="")[0]) == 100
    assert sum(asked) == 300


def test_features_have_a_name_where_the_weights_are_known() -> None:
    policy, precision = PixelPolicy(128, 128, 3, "squash", (0, 0, 0)), Precision("fp32", torch.float32, "asked")
    net = NetRecipe(name="timm:test_resnet")
    name = features_name(net, "abc", policy, precision)
    assert name == features_name(replace(net, width=1.0, weights="elsewhere"), "abc", policy, precision)
    others = [
        features_name(net, "abd", policy, precision),
        features_name(net, "abc", replace(policy, height=96), precision),
        features_name(net, "abc", policy, precision, side=128),
        features_name(net, "abc", policy, replace(precision, name="bf16")),
    ]
    assert len({name, *others}) == 5
    assert features_name(net, "", policy, precision) == ""
