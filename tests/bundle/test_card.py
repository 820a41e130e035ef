from __future__ import annotations

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
