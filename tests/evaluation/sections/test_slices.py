from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from beholder.evaluation.sections.slices import grouped, slices


def test_slices_of_real_files(tested) -> None:
    bundle, evaluation = tested
    found = json.loads(json.dumps(slices(bundle, evaluation), allow_nan=False))
    assert found["n"] == 90
    by = {one["by"] for one in found["slices"]}
    assert by <= {"size", "shape", "brightness", "contrast", "sharpness", "bytes", "class", "features", "file type"}
    assert found["looked_at"] >= len(found["slices"]) > 3
    assert {one["share"] for one in found["slices"]} <= {k / 90 for k in range(91)}


def test_a_slice_that_fails_is_the_worst(tested) -> None:
    bundle, evaluation = tested
    wrong = evaluation.probabilities.copy()
    for row, target in enumerate(evaluation.targets.tolist()):
        wrong[row] = np.eye(3)[(target + (target == 1)) % 3]
    found = slices(bundle, replace(evaluation, probabilities=wrong))
    assert found is not None
    assert found["worst"] is not None
    assert found["worst"]["score"]["value"] < 0.5
    some = next(one for one in found["slices"] if one["by"] == "class")
    assert some["name"] == f"class: {bundle.classes[1]}"
    assert some["score"]["value"] == 0
    assert all(bundle.classes[1] in key for key in some["keys"])


def test_clusters_of_features() -> None:
    rng = np.random.default_rng(0)
    features = np.repeat(np.eye(3, 8), 40, axis=0) + 0.01 * rng.normal(size=(120, 8))
    found = grouped(features.astype(np.float32))
    assert sum(map(len, found.values())) == 120
    for rows in found.values():
        assert len(set((rows // 40).tolist())) == 1
    assert grouped(np.ones((100, 4), np.float32)) == {}
    assert grouped(features[:30].astype(np.float32)) == {}


def test_too_few_pictures_have_no_slices(tested) -> None:
    bundle, evaluation = tested
    assert slices(bundle, replace(evaluation, pictures=None)) is None


def test_clusters_of_many_features_are_found_on_projections() -> None:
    rng = np.random.default_rng(0)
    middles = rng.normal(size=(2, 3000))
    features = (middles[np.arange(200) % 2] + 0.2 * rng.normal(size=(200, 3000))).astype(np.float32)
    for rows in grouped(features).values():
        assert len(set((rows % 2).tolist())) == 1
