from __future__ import annotations

from typing import Any

from beholder.base.recipe import Recipe
from beholder.bundle.card import text

CONFIG = {
    "classes": ["ant", "bee"],
    "task": "single",
    "pixels": {"width": 32, "height": 24, "channels": 3, "fit": "squash"},
    "net": {"name": "cnn"},
    "parts": {"train": 70, "valid": 15, "test": 15},
    "notes": ["net: cnn: asked for"],
}


def test_the_card_states_scores_with_interval_and_n() -> None:
    score = {"value": 0.9, "low": 0.8, "high": 0.95, "n": 15}
    card = text(CONFIG, {"scores": {"accuracy": score, "top5": {**score, "value": None}}}, Recipe())
    assert "| accuracy | 0.900 | 0.800 to 0.950 | 15 |" in card
    assert "top5" not in card
    assert "train: 70 pictures" in card


def test_an_untested_bundle_says_so() -> None:
    assert "has not been tested" in text(CONFIG, {}, Recipe())


def figure(n: int) -> dict[str, Any]:
    return {"value": 0.5, "low": 0.4, "high": 0.6, "n": n}


def test_the_card_says_what_it_is_bad_at_and_how_calibrated_it_is() -> None:
    errors = {name: figure(90) for name in ("ece", "brier", "nll")}
    scores = {
        "n": 90,
        "summary": {"findings": ["Good.", "Better."], "weaknesses": ["Bad at “<b>_x_”."], "advice": ["Collect more."]},
        "classes": {"ant": {"recall": figure(80)}, "bee": {"recall": figure(10)}},
        "sections": {"calibration": {"before": {**errors, "ece": {**figure(90), "value": 0.123}}, "after": errors}},
    }
    card = text(CONFIG, scores, Recipe())
    assert "\nGood. Better.\n" in card
    assert "## What it is bad at\n\n- Bad at “\\<b\\>\\_x\\_”.\n" in card
    assert "| ece | 0.1230 | 0.5000 | 0.4000 to 0.6000 |" in card
    assert "- Hardly tested on bee: fewer than 30 pictures each." in card
    assert "- It always answers with one of its 2 classes." in card
    assert "- Collect more." in card


def test_limits_follow_what_the_bundle_can_do() -> None:
    assert "always answers" not in text({**CONFIG, "strangers": {}}, {"n": 1}, Recipe())
    assert "Not tested: do not rely on it." in text(CONFIG, {}, Recipe())
    assert "What it is bad at" not in text(CONFIG, {}, Recipe())
