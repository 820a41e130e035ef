from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.configs import config

from beholder.base.recipe import Recipe
from beholder.bundle.card import text
from beholder.bundle.config import Ood
from beholder.nets.spec import Initial

CONFIG = config(parts={"train": 70, "valid": 15, "test": 15}, notes=("net: cnn: asked for",))


def test_the_card_states_scores_with_interval_and_n() -> None:
    score = {"value": 0.9, "low": 0.8, "high": 0.95, "n": 15}
    few_groups = {**score, "low": None, "high": None}
    card = text(CONFIG, {"scores": {"accuracy": score, "macro_f1": few_groups, "top5": {**score, "value": None}}}, Recipe())
    assert "| macro_f1 | 0.900 | not estimable | 15 |" in card
    assert "| accuracy | 0.900 | 0.800 to 0.950 | 15 |" in card
    assert "top5" not in card
    assert "train: 70 pictures" in card


def test_the_card_begins_with_what_the_hub_reads() -> None:
    lines = text(CONFIG, {}, Recipe()).splitlines()
    assert lines[:3] == ["---", "library_name: beholder", "pipeline_tag: image-classification"]
    assert lines[lines.index("---", 1) + 1] == "# Image classifier"
    assert "- single" in lines


def test_an_untested_bundle_says_so() -> None:
    assert "\nNot tested.\n" in text(CONFIG, {}, Recipe())


def test_the_card_names_the_weights_it_began_with_and_their_licence() -> None:
    assert "initial weights" not in text(CONFIG, {}, Recipe())
    began = Initial("some-package==0.1.0", "Apache-2.0", "ab" * 32)
    card = text(replace(CONFIG, initial_weights=began), {}, Recipe())
    assert f"- initial weights: some-package==0.1.0, licence Apache-2.0, SHA-256 `{'ab' * 32}`" in card
    assert "licence not stated" in text(replace(CONFIG, initial_weights=replace(began, licence="")), {}, Recipe())


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
    assert "## Weaknesses\n\n- Bad at “\\<b\\>\\_x\\_”.\n" in card
    assert "| ece | 0.1230 | 0.5000 | 0.4000 to 0.6000 |" in card
    assert "- Fewer than 30 test pictures each: bee." in card
    assert "\n## Calibration\n\n| error on the test part |" in card
    assert "every picture gets one of the 2 classes" in card
    assert "- Collect more." in card


def test_limits_follow_what_the_bundle_can_do() -> None:
    kept = Ood("knn", 0.95, 20, 1, "", {"knn": 0.5}, (0.1, 0.2))
    assert "every picture gets one" not in text(replace(CONFIG, ood=kept), {"n": 1}, Recipe())
    assert "Not tested: do not rely on it." in text(CONFIG, {}, Recipe())
    assert "Weaknesses" not in text(CONFIG, {}, Recipe())


def test_names_of_classes_neither_turn_the_card_nor_act_in_it() -> None:
    names = ["חתול", "a\u202egpj", "`<img src=x>`"]
    said = {"summary": {"weaknesses": [f"It is weakest on {name}." for name in names]}}
    card = text(replace(CONFIG, classes=tuple(names)), said, Recipe())
    for name in names[:2]:
        assert card.count(name) == card.count(f"\u2068{name}\u2069") > 0
    assert "\\`\\<img src=x\\>\\`" in card
    assert "`<img" not in card.replace("\\`", "")
