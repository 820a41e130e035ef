"""With what the batches of a generator are made, and how a source that is not divided is refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from beholder.base.errors import UsageError
from beholder.base.recipe import Recipe
from beholder.learn import generate as module

CPU = torch.device("cpu")


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the batches were made with."""
    found: dict[str, Any] = {}
    monkeypatch.setattr(module, "Batches", lambda pixels, targets, **how: found.update(how, pixels=pixels, targets=targets))
    monkeypatch.setattr(module, "targets_of", lambda part: ("targets of", part))
    monkeypatch.setattr(module, "free_memory", lambda on: {CPU: 7_000}[on])
    return found


@pytest.mark.parametrize(("memory", "room"), [(0, 2_333), (64, 64 * 2**20)])
@pytest.mark.parametrize(("kind", "batch", "taken"), [("vae", 0, 64), ("gan", 0, 64), ("gan", 5, 5)])
@pytest.mark.parametrize("channels", [1, 3])
def test_batches_take_a_third_of_the_memory_that_is_free(
    given: dict[str, Any], memory: int, room: int, kind: str, batch: int, taken: int, channels: int
) -> None:
    recipe = Recipe().set(kind=kind, batch=batch, memory=memory, workers=3, seed=7)
    train = SimpleNamespace(pixels="pixels")
    config = SimpleNamespace(pixels=SimpleNamespace(channels=channels))
    made: Any = SimpleNamespace(recipe=recipe, config=config, kind=module.KINDS[kind], train=train, on=CPU)
    module._batches(made)
    assert given == {
        "pixels": "pixels",
        "targets": ("targets of", train),
        "batch": taken,
        "seed": 7,
        "device": CPU,
        "mean": (0.5,) * channels,
        "std": (0.5,) * channels,
        "memory": room,
        "workers": 3,
    }


@pytest.mark.parametrize(("source", "kind"), [("leaves/", "str"), (None, "NoneType"), ([], "list")])
def test_what_is_not_divided_is_refused_by_its_kind(source: object, kind: str) -> None:
    with pytest.raises(UsageError) as caught:
        module.generate(source)  # type: ignore[arg-type]
    assert caught.value.message == f"there are no parts in {kind}"
    assert caught.value.hint == "beholder.split(beholder.scan(source)) makes them"
    assert caught.value.code == "no-parts"
