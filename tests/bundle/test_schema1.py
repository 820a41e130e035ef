from __future__ import annotations

from beholder.bundle.schema1 import upgraded


def test_what_schema_1_called_otherwise_and_kept_twice() -> None:
    given = {
        "classes": ["a", "b"],
        "calibration": {"method": "vector", "temperature": 2.0},
        "conformal": {"kind": "aps", "spread": [0.8, 0.9]},
        "strangers": {"score": "knn", "references": {"n": 40}},
        "operating": {"risk": {"target": 0.05}},
        "gone": 1,
        "floor": None,
    }
    known = ("classes", "calibration", "prediction_sets", "ood", "operating_points", "floor")
    assert upgraded(given, known) == {
        "classes": ["a", "b"],
        "calibration": {"method": "vector"},
        "prediction_sets": {"kind": "aps"},
        "ood": {"score": "knn", "n": 40},
        "operating_points": [{"target": 0.05, "kind": "risk"}],
    }
    assert upgraded({"classes": ["a", "b"]}, known) == {"classes": ["a", "b"], "operating_points": []}
