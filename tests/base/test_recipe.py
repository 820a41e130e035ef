from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beholder.base.errors import UsageError
from beholder.base.recipe import Recipe, from_toml, load, named, names
from beholder.base.synonyms import SYNONYMS, synonym


def value_of(recipe: Recipe, path: str) -> Any:
    found: Any = recipe
    for part in path.split("."):
        found = getattr(found, part)
    return found


def rules_of(path: str) -> dict[str, Any]:
    section, _, name = path.rpartition(".")
    owner = value_of(Recipe(), section) if section else Recipe()
    return dict(next(f for f in dataclasses.fields(owner) if f.name == name).metadata)


def legal(path: str) -> st.SearchStrategy[Any]:
    rules, default = rules_of(path), value_of(Recipe(), path)
    if "choices" in rules:
        return st.sampled_from(rules["choices"])
    if "pattern" in rules:
        return st.from_regex(rules["pattern"], fullmatch=True)
    if isinstance(default, bool):
        return st.booleans()
    if isinstance(default, int):
        low, high = rules.get("range", (0, 10_000))
        return st.integers(int(low), int(high))
    if isinstance(default, float):
        low, high = rules["range"]
        return st.floats(low, high, allow_nan=False)
    return st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


recipes = st.fixed_dictionaries({}, optional={path: legal(path) for path in names()})


def changed(changes: dict[str, Any]) -> Recipe:
    recipe = Recipe()
    for path, value in changes.items():
        section, _, name = path.rpartition(".")
        if section:
            owner = dataclasses.replace(getattr(recipe, section), **{name: value})
            recipe = dataclasses.replace(recipe, **{section: owner})
        else:
            recipe = dataclasses.replace(recipe, **{name: value})
    return recipe


@settings(max_examples=30)
@given(recipes)
def test_toml_and_back_is_the_same_recipe(changes: dict[str, Any]) -> None:
    recipe = changed(changes)
    assert from_toml(recipe.toml()) == recipe


@settings(max_examples=30)
@given(recipes)
def test_set_texts_and_values_agree(changes: dict[str, Any]) -> None:
    changes = {path: v for path, v in changes.items() if not isinstance(v, str) or v == v.strip()}
    assert Recipe().override([f"{path}={value}" for path, value in changes.items()]) == changed(changes)


def test_every_field_is_named() -> None:
    assert {"name", "seed", "data.size", "net.name", "train.lr", "train.minutes"} <= set(names())
    assert len(names()) == len(set(names()))


def test_defaults_lie_within_their_own_rules() -> None:
    assert from_toml(Recipe().toml()) == Recipe()


def test_set_finds_the_section_of_a_field() -> None:
    recipe = Recipe().set(lr=0.1, net="cnn", size=64, seed=3)
    assert (recipe.train.lr, recipe.net.name, recipe.data.size, recipe.seed) == (0.1, "cnn", 64, 3)
    assert Recipe().train.lr == 0.0, "the original is untouched"


def test_override_reads_words_for_booleans_and_trims() -> None:
    recipe = Recipe().override(["train.probe=no", " train.mirror = FALSE ", "net.name=timm:resnet18=x"])
    assert (recipe.train.probe, recipe.train.mirror, recipe.net.name) == (False, False, "timm:resnet18=x")


@pytest.mark.parametrize(
    ("assignment", "code", "hint"),
    [
        ("train.lr", "bad-set", "for example"),
        ("train.epoch=3", "unknown-field", "did you mean 'train.epochs'?"),
        ("lr=3", "unknown-field", "did you mean 'train.lr'?"),
        ("data=3", "unknown-field", ""),
        ("train.epochs=1.5", "bad-type", "for example train.epochs=3"),
        ("train.epochs=", "bad-type", "for example"),
        ("train.lr=fast", "bad-type", "for example train.lr=0.5"),
        ("train.lr=nan", "bad-value", "it lies between 0 and 100"),
        ("train.lr=inf", "bad-value", "it lies between"),
        ("train.lr=-0.1", "bad-value", "it lies between"),
        ("train.probe=maybe", "bad-type", "for example train.probe=true"),
        ("data.fit=sqash", "bad-value", "did you mean 'squash'?"),
        ("data.channels=2", "bad-value", "0, 1, 3"),
        ("seed=-1", "bad-value", "it lies between"),
    ],
)
def test_a_wrong_assignment_gets_the_way_out(assignment: str, code: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        Recipe().override([assignment])
    assert caught.value.code == code
    assert hint in caught.value.hint


def test_set_refuses_unknown_and_wrongly_typed() -> None:
    with pytest.raises(UsageError, match="no recipe field is called 'learning_rate'"):
        Recipe().set(learning_rate=1)
    with pytest.raises(UsageError, match="takes a whole number"):
        Recipe().set(epochs=True)
    with pytest.raises(UsageError, match="takes text"):
        Recipe().set(optimiser=3)


@pytest.mark.parametrize(
    ("word", "path"),
    [("learning_rate", "train.lr"), ("batch-size", "train.batch"), ("train.batch_size", "train.batch"), ("imgsz", "data.size"),
     ("optimizer", "train.optimiser"), ("backbone", "net.name"), ("Model", "net.name"), ("random_state", "seed")],
)  # fmt: skip
def test_the_names_of_other_tools_get_ours(word: str, path: str) -> None:
    assert synonym(word) == path
    for ask in (lambda: Recipe().set(**{word: 1}), lambda: Recipe().override([f"{word}=1"])):
        with pytest.raises(UsageError) as refused:
            ask()
        assert refused.value.code == "unknown-field"
        assert (path in refused.value.hint) or path.split(".")[-1] in refused.value.hint or "'net'" in refused.value.hint


def test_no_synonym_is_a_field_or_stands_for_two() -> None:
    every = [word for words in SYNONYMS.values() for word in words.split()]
    assert len(every) == len(set(every))
    assert not set(every) & {path.split(".")[-1] for path in names()}
    assert set(SYNONYMS) <= set(names())


@pytest.mark.parametrize("value", ["random", "random:1", "random:0", "prune:0.0", "half:0.5", "prune:1.5", "random:-0.5", ""])
def test_a_subset_is_off_or_a_share_between_0_and_1(value: str) -> None:
    with pytest.raises(UsageError) as refused:
        Recipe().set(subset=value)
    assert refused.value.code == "bad-value"
    assert "random:0.5" in refused.value.hint
    assert Recipe().set(subset="prune:.25").train.subset == "prune:.25"


def test_the_tutorial_is_the_classic_program() -> None:
    recipe = load("tutorial")
    assert (recipe.net.name, recipe.train.batch, recipe.train.epochs) == ("cnn", 32, 10)
    assert (recipe.train.optimiser, recipe.train.lr, recipe.data.augment) == ("adam", 0.001, "none")


def test_recipes_that_come_along_bear_their_own_names() -> None:
    assert named() == ["careful", "photo", "quick", "sprint", "tutorial"]
    assert [load(name).name for name in named()] == named()
    assert load("quick") == Recipe()


def test_a_recipe_may_be_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\n[train]\nlr = 1\n')
    assert load(str(path)).train.lr == 1.0
    assert isinstance(load(str(path)).train.lr, float)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("lr = ", "bad-recipe"),
        ("[train]\nlr = true\n", "bad-type"),
        ("[train]\nepochs = 1.5\n", "bad-type"),
        ("[train]\nepochs = [1]\n", "bad-type"),
        ("[trian]\nlr = 0.1\n", "unknown-field"),
        ("train = 3\n", "unknown-field"),
        ("[train.lr]\nx = 1\n", "bad-type"),
    ],
)
def test_a_wrong_file_is_wrong_usage(text: str, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        from_toml(text)
    assert caught.value.code == code


@pytest.mark.parametrize("name", ["quik", "absent.toml", "../quick", ""])
def test_an_unknown_recipe_names_those_there_are(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(name)
    assert caught.value.code == "unknown-recipe"
    assert "quick" in caught.value.hint


def test_the_essence_leaves_out_what_cannot_change_the_result() -> None:
    recipe = Recipe().set(lr=0.1, size=32)
    assert recipe.set(workers=3, memory=7).essence() == recipe
    assert recipe.set(seed=1).essence() != recipe
