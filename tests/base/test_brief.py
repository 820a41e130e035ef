"""What a person sees of a value is one line, whatever it holds: no repr of the package shows the whole of it."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.configs import config

from beholder.base.brief import MOST, cut, listed, short, shown, within, without_secrets
from beholder.base.fields import DataRecipe, NetRecipe, TestRecipe, TrainRecipe
from beholder.base.recipe import Recipe
from beholder.base.records import Bad, Finding, Parts, Pictures, Prediction, Score
from beholder.bundle.bundle import Bundle
from beholder.evaluation.evaluate import Evaluation
from beholder.measure.scores import Scores
from beholder.quality.audit import Findings
from beholder.runtime.exported import Exported
from beholder.sources.arrays import ArrayStore
from beholder.study.outcome import Outcome, Tuning

RETURNED = (
    "base.records:Pictures Parts Prediction Finding Bad Score", "base.recipe:Recipe", "quality.audit:Findings",
    "quality.clean:Cleaned", "duplicates.near:Twins", "data.cache:Pixels", "quality.checks:Evidence Marks",
    "bundle.bundle:Bundle", "runtime.exported:Exported", "runtime.export:Written", "learn.prepare:Prepared Material",
    "study.policy:Curated", "study.calibrate:Calibrated", "study.steps:Outcome", "study.tune:Tuning",
    "evaluation.evaluate:Evaluation", "evaluation.compare:Comparison Pair", "explanation:Explanation",
    "explanation.nearest:Near", "evaluation.summary:Summary", "measure.scores:Scores", "measure.calibration:Calibration",
    "measure.conformal:Sets",
)  # fmt: skip
"""What verbs return, and what that holds."""

KINDS = [
    getattr(importlib.import_module(f"beholder.{module}"), name)
    for module, _, names in (row.partition(":") for row in RETURNED)
    for name in names.split()
]


def pictures(n: int = 2000, k: int = 1000) -> Pictures:
    return Pictures(
        ArrayStore(np.zeros((n, 2, 2), np.uint8), "/a/long/way/" * 40),
        [f"{i:06d}.png" for i in range(n)],
        np.arange(n) % k,
        tuple(f"class {j} with a long name\x1b[31m\n" for j in range(k)),
        np.full(n, -1, np.int8),
        np.full(n, -1, np.int64),
    )


def test_pictures_and_parts_say_how_many_of_what() -> None:
    few = Pictures(ArrayStore(np.zeros((3, 2, 2), np.uint8), "leaves"), ["a", "b", "c"], np.array([0, 1, 1]), ("rust", "moss"),
                   np.full(3, -1, np.int8), np.full(3, -1, np.int64))  # fmt: skip
    assert repr(few) == "Pictures(3 of 2 classes: rust, moss, leaves)"
    assert repr(Parts(few, few, few)) == "Parts(train=3, valid=3, test=3, 2 classes: rust, moss)"
    for large in (pictures(), Parts(pictures(), pictures(), pictures())):
        assert len(repr(large)) <= MOST
        assert repr(large).isprintable()
        assert "1,000" in repr(large)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "__repr__" in vars(kind) and kind.__repr__ is shown])
@pytest.mark.parametrize("stuffing", [["entry\n"] * 9999, "long\n" * 9999, {str(i): i for i in range(9999)}, np.zeros(9999)])
def test_no_repr_shows_the_whole(kind: Any, stuffing: object) -> None:
    value = object.__new__(kind)
    for field in dataclasses.fields(kind):
        object.__setattr__(value, field.name, stuffing)
    assert len(repr(value)) <= MOST
    assert repr(value).isprintable()


def test_the_others_have_words_of_their_own() -> None:
    others = {kind.__name__ for kind in KINDS if kind.__repr__ is not shown}
    assert others == {
        *("Pictures", "Parts", "Prediction", "Score", "Recipe", "Findings", "Bundle", "Exported", "Outcome", "Tuning"),
        *("Evaluation", "Scores"),
    }


def large() -> dict[str, Any]:
    """One of each, with a thousand classes or ten thousand rows."""
    some, names = pictures(), [f"class {k}" for k in range(1000)]
    rows = tuple(Finding(key, f"check {i % 50}", 0.9, "words" * 99) for i, key in enumerate(some.keys))
    made = config(names, net="timm:" + "net" * 99, size=(3, 96, 128), notes=("x" * 9999,))
    scores = Scores({name: Score(0.5, 0.4, 0.6, 9) for name in names}, {}, None, 9, ("note" * 999,))
    zeros = np.zeros((2000, 1000), np.float32)
    tested = Evaluation(scores, zeros, np.arange(2000), list(some.keys), (Bad("a", "b", "c"),) * 99, 1.0, "here/" * 999)
    bundle = Bundle(
        made, torch.nn.Linear(9, 9), Recipe(), [{"epoch": 1}] * 999, path=Path("m" * 999), splits=[("a", "b")] * 999
    )
    outcome = Outcome(bundle, tested, Path("m"), 9.0)
    return {"findings": Findings(some, rows, {}), "bundle": bundle, "scores": scores, "evaluation": tested, "outcome": outcome,
            "exported": Exported(made, print), "tuning": Tuning([{"a": 1}] * 999, Recipe(), outcome, None)}  # fmt: skip


def test_large_ones_are_one_line() -> None:
    for name, value in large().items():
        assert len(repr(value)) <= MOST, name
        assert repr(value).isprintable(), name
        assert "1,000 classes" in repr(value) or name not in ("bundle", "exported", "outcome"), name
    assert repr(large()["findings"]).startswith(
        "Findings(2,000 in 2,000 pictures: check 0 40, check 1 40, check 2 40, check 3 40, …"
    )


def test_a_bundle_names_net_classes_and_pixels(tmp_path: Path) -> None:
    bundle = Bundle(config(task="multi", size=(1, 9, 8)), torch.nn.Linear(2, 2), Recipe(), path=Path("m.beholder"))
    assert repr(bundle) == "Bundle(cnn, 2 labels: ant, bee, 8×9×1 pixels, torch fp32, m.beholder)"


def test_a_recipe_shows_what_is_not_as_usual_and_evaluates_to_itself() -> None:
    recipe = Recipe().set(lr=0.1, net="cnn", seed=3, target_risk=0.02)
    words = {kind.__name__: kind for kind in (Recipe, DataRecipe, NetRecipe, TrainRecipe, TestRecipe)}
    assert repr(Recipe()) == "Recipe()"
    assert (
        repr(recipe)
        == "Recipe(seed=3, net=NetRecipe(name='cnn'), train=TrainRecipe(lr=0.1), test=TestRecipe(target_risk=0.02))"
    )
    assert eval(repr(recipe), words) == recipe


def test_a_guess_of_many_classes() -> None:
    names = tuple(f"class {k}" for k in range(1000))
    guess = Prediction(label="class 3", p=0.5, probabilities=dict.fromkeys(names, 0.001), abstain=False, set=names)
    assert repr(guess) == "Prediction(label='class 3', p=0.5, abstain=False, set=<1,000 × str>)"
    assert repr(Prediction("a", 1.0, {}, set=("a", "b"))) == "Prediction(label='a', p=1.0, set=('a', 'b'))"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "None"), (True, "True"), (0.1, "0.1"), (Path("a/b"), "'a/b'"), ((), "()"), ((1,), "(1,)"), ({1}, "{1}"),
        ({}, "{}"), ({"a": 1}, "<1 entries: a>"), (np.zeros((2, 3)), "<float64 (2, 3)>"), (torch.zeros(2), "<float32 (2,)>"),
        (torch.nn.Linear(2, 2), "<Linear>"), (list(range(9)), "<9 × int>"), (["a" * 90] * 4, "<4 × str>"),
        (print, "<builtin_function_or_method>"),
    ],
)  # fmt: skip
def test_short(value: object, words: str) -> None:
    assert short(value) == words


def test_cut_and_listed_and_within() -> None:
    assert cut("a\nb") == "a b"
    assert len(cut("a" * 1000)) == 60
    assert listed([]) == ""
    assert listed("abcdef") == "a, b, c, d, … (6)"
    assert within("X", ["a", "", "b"]) == "X(a, b)"
    assert len(within("X", ["a" * 90] * 90)) == MOST


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("https://h.org/x.zip?X-Amz-Signature=SECRET", "https://h.org/x.zip"),
        ("https://me:SECRET@h.org:8080/a/x.zip#SECRET", "https://h.org:8080/a/x.zip"),
        ("mysql+pymysql://me:SE@CRET@db:3306/runs: refused", "mysql+pymysql://db:3306/runs: refused"),
        (
            "two: https://a/?k=SECRET, 'http://b?SECRET' and http://[::1]:8000/",
            "two: https://a/ 'http://b' and http://[::1]:8000/",
        ),
        ("/data/what? is #this@home", "/data/what? is #this@home"),
        ("hf:someone/pets@v1", "hf:someone/pets@v1"),
        ("C:\\data\\x?.zip", "C:\\data\\x?.zip"),
    ],
)
def test_what_may_be_secret_in_a_url_is_left_out(text: str, bare: str) -> None:
    assert without_secrets(text) == bare
