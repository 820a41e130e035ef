from __future__ import annotations

import json

import numpy as np
import pytest

from beholder.evaluation.sections.corruptions import corruptions, sample, summary
from beholder.image.corruptions import CORRUPTIONS, IMAGENET_C


def test_every_kind_and_severity_has_a_score(tested) -> None:
    bundle, evaluation = tested
    found = json.loads(json.dumps(corruptions(bundle, evaluation), allow_nan=False))
    assert (found["n"], found["of"], found["measure"]) == (90, 90, "accuracy")
    assert set(found["kinds"]) == set(CORRUPTIONS.names())
    for kind in found["kinds"].values():
        assert [score["n"] for score in kind["severities"]] == [90] * 5
    assert found["clean"]["value"] == evaluation.scores.headline["accuracy"].value
    errors = [1 - np.mean([s["value"] for s in found["kinds"][name]["severities"]]) for name in IMAGENET_C]
    assert found["error"]["value"] == pytest.approx(np.mean(errors))
    assert found["lost"]["value"] == pytest.approx(found["error"]["value"] - (1 - found["clean"]["value"]))
    worst = min(s["value"] for kind in found["kinds"].values() for s in kind["severities"])
    assert found["worst"]["score"]["value"] == worst


def test_the_sample_is_bounded_by_pixels_and_always_the_same() -> None:
    assert len(sample(10_000, 32 * 32)) == 1000
    assert len(sample(10_000, 224 * 224)) == 100
    assert len(sample(40, 224 * 224)) == 40
    assert sample(5000, 1).tolist() == sample(5000, 1).tolist()


def test_the_worst_has_a_wider_interval_than_it_has_alone() -> None:
    rng = np.random.default_rng(0)
    names = list(IMAGENET_C)
    table = (rng.random((15, 5, 200)) < 0.7).astype(float)
    found = summary(names, np.ones(200), table, None)
    k, s = names.index(found["worst"]["kind"]), found["worst"]["severity"] - 1
    alone = found["kinds"][names[k]]["severities"][s]
    assert found["worst"]["score"]["high"] > alone["high"]
    clustered = summary(names, np.ones(200), table, np.arange(200) // 20)
    assert clustered["error"]["value"] == found["error"]["value"]


def test_what_is_lost_has_an_interval_where_no_picture_changes() -> None:
    names = list(IMAGENET_C)
    found = summary(names, np.ones(7), np.ones((15, 5, 7)), None)["lost"]
    assert found["value"] == 0
    assert found["high"] == pytest.approx(0.354, abs=0.001), "as of seven right of seven"
    assert found["low"] == pytest.approx(-found["high"])
    rng = np.random.default_rng(0)
    clean = (rng.random(400) < 0.9).astype(float)
    table = clean * (rng.random((15, 5, 400)) < 0.8)
    many = summary(names, clean, table, None)["lost"]
    each = clean - table.mean(axis=(0, 1))
    half = 1.96 * each.std() / 20
    assert (many["low"], many["high"]) == pytest.approx((each.mean() - half, each.mean() + half), abs=0.1 * half)


def test_without_pixels_there_is_no_section(tested) -> None:
    from dataclasses import replace

    bundle, evaluation = tested
    assert corruptions(bundle, replace(evaluation, pixels=None)) is None
