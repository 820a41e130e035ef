"""Pages of at most 2 MB: the worst of everything at once, and what is then left out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.explanation.look.pages import Page, bundle
from torch import Tensor, nn

from beholder.explanation.look import fit, look
from beholder.nets.features import Net


class Worst(Net):
    """The first convolution is not given the pixels themselves, has many weights, and 1,600 layers follow, each with maps."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 300, 16, stride=16)
        self.mix = nn.Conv2d(300, 8, 1)
        self.add_module("more" * 30, nn.Sequential(*[nn.Hardtanh(-50 - k, 50 + k) for k in range(1600)]))
        self.head = nn.Linear(8 * 26 * 26, 1500)

    def body(self, images: Tensor) -> Tensor:
        return self.get_submodule("more" * 30)(self.mix(self.first(images + 0.1))).flatten(1)


def test_the_worst_of_everything_at_once_fits() -> None:
    names = tuple("\U0001f33f" * 90 + f" {k}" for k in range(1500))
    made = bundle(Worst(), size=416, names=names, mirror=True)
    noise = np.random.default_rng(0).integers(0, 256, (480, 480, 3), np.uint8)
    found = look(made, noise, label=names[7])
    assert 1_500_000 < len(found.html.encode()) <= fit.LARGEST
    told = Page(found.html).facts
    assert told["left_out"] == {"layers": 1000, "maps": True}
    assert all(layer["maps"] is None for layer in told["layers"])
    assert (len(told["layers"]), found.json()["layers"]) == (500, 1500)
    assert len(told["head"]["classes"]) in (300, 301)
    assert told["first"]["kind"] == "conv"
    assert found.html.count("data:image/jpeg") == 1


@pytest.mark.parametrize(("limit", "layers", "classes"), [(1_000_000, 500, 301), (100_000, 100, 51)])
def test_layers_and_classes_go_where_a_page_without_maps_is_too_large(
    limit: int, layers: int, classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "LARGEST", limit)
    names = tuple("\U0001f33f" * 90 + f" {k}" for k in range(1500))
    made = bundle(Worst(), size=416, names=names)
    image = np.full((16, 16, 3), 9, np.uint8)
    least = int(made.probabilities(made.pixels(image)[None])[0].argmin())
    found = look(made, image, label=names[least])
    assert (len(found.facts["layers"]), len(found.facts["head"]["classes"])) == (layers, classes)
    assert found.facts["left_out"] == {"layers": 1500 - layers, "maps": True}
    assert found.json()["layers"] == 1500


def test_tries_grow_smaller_and_end_without_maps() -> None:
    found = list(fit.tries(400_000))
    assert found[:3] == [(400_000, 1500, 1000), (200_000, 1500, 1000), (100_000, 1500, 1000)]
    assert [each[0] for each in found] == sorted((each[0] for each in found), reverse=True)
    assert [each for each in found if not each[0]] == [(0, 1500, 1000), (0, 500, 300), (0, 100, 50)]
    assert list(fit.tries(0)) == found[-3:]


def test_of_fewer_classes_the_one_that_was_asked_for_stays() -> None:
    classes = [{"at": k, "p": (10 - k) / 55} for k in range(10)]
    head = {"classes": classes, "first": 8, "others": {"count": 3, "p": 0.0}, "steps": None}
    found = fit.listed(head, 4)
    assert [one["at"] for one in found["classes"]] == [0, 1, 2, 3, 8]
    assert found["others"]["count"] == 8
    assert found["others"]["p"] + sum(one["p"] for one in found["classes"]) == pytest.approx(1)
    assert fit.listed({**head, "steps": [1, 2, 3]}, 2)["steps"] == [1, 2]
