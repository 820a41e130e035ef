from __future__ import annotations

from pathlib import Path

import pytest

import beholder
from beholder.base.errors import UsageError
from beholder.base.recipe import Recipe, load, named, names
from beholder.base.used import UNUSED, changed, refuse
from beholder.cli.run import run


@pytest.fixture
def parts(leaves: Path) -> beholder.Parts:
    return beholder.split(beholder.scan(leaves))


def test_every_field_in_the_table_is_a_field() -> None:
    assert {path for fields, _ in UNUSED.values() for path in fields} <= set(names())


@pytest.mark.parametrize(
    "fields",
    [
        {"audit": "fix"},
        {"audit": "report"},
        {"decisions": "/no/such/audit.csv"},
        {"leaks": "move"},
        {"val": 0.4},
        {"test": 0.4, "net": "cnn"},
    ],
)
def test_train_refuses_what_shapes_the_parts_that_it_is_given(fields: dict[str, object], parts: beholder.Parts) -> None:
    with pytest.raises(UsageError) as refused:
        beholder.train(parts, **fields)
    assert refused.value.code == "unused-field"
    assert refused.value.message.endswith(f"in train: data.{next(iter(fields))}")
    assert "beholder.split" in refused.value.hint
    with pytest.raises(UsageError, match="no effect in train"):
        beholder.train(parts, recipe=Recipe().set(**{**fields, "audit": "off"}))


def test_a_recipe_file_of_a_whole_run_is_refused_too(parts: beholder.Parts, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('name = "mine"\n[data]\nvalid = 0.3\naudit = "fix"\n')
    with pytest.raises(UsageError, match=r"these recipe fields have no effect in train: data.audit, data.val"):
        beholder.train(parts, recipe=str(tmp_path / "mine.toml"))


@pytest.mark.parametrize("name", named())
def test_recipes_that_come_along_are_refused_nowhere(name: str) -> None:
    for verb in UNUSED:
        refuse(verb, (), recipe=load(name))
        assert changed(name, {}, verb=verb) == load(name)


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
@pytest.mark.parametrize("verb", ["train", "tune"])
def test_pruning_in_pieces_is_refused_before_anything_is_read(
    verb: str, more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--set", "train.micro=4", "--set", "train.subset=prune:0.5", "--out", str(tmp_path / "m.beholder")]
    assert run([verb, str(tmp_path / "nowhere"), "--minutes", "1", *asked, *more]) == 2
    told = capsys.readouterr().err
    assert "follows the losses of whole batches" in told
    assert told.count("error: ") == told.count("hint: ") == 1


def test_pruning_in_pieces_is_refused_in_python_with_pictures_that_cannot_be_read(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(10):
            (tmp_path / name / f"{number}.png").write_bytes(b"x")
    pictures = beholder.scan(tmp_path)
    parts, fields = beholder.split(pictures, near=False), {"micro": 4, "subset": "prune:0.5"}
    for work in (
        lambda: beholder.train(parts, **fields),
        lambda: beholder.train(parts, dry_run=True, **fields),
        lambda: beholder.steps(pictures, **fields),
        lambda: beholder.steps(pictures, recipe=Recipe().set(**fields), dry_run=True),
        lambda: beholder.tune(pictures, minutes=1, **fields),
    ):
        with pytest.raises(UsageError) as refused:
            work()
        assert (refused.value.code, bool(refused.value.hint)) == ("one-piece", True)


def test_a_whole_run_uses_them(leaves: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.beholder"
    more = ["--net", "logistic", "--epochs", "1", "--set", "data.val=0.3", "--audit", "fix"]
    assert run(["train", str(leaves), "--out", str(out), *more]) == 0
    assert beholder.load(out).recipe.data.val == 0.3


@pytest.mark.parametrize(
    "fields", [{"epochs": 3}, {"audit": "fix"}, {"coverage": 0.9}, {"dropout": 0.1}, {"size": 64, "lr": 1.0}]
)
def test_audit_refuses_what_trains(fields: dict[str, object], leaves: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError) as refused:
        beholder.audit(leaves, checks=["dark"], **fields)
    assert refused.value.code == "unused-field"
    paths = {"epochs": "train.epochs=3", "coverage": "test.coverage=0.9", "dropout": "net.dropout=0.1", "lr": "train.lr=1"}
    for path in (paths[name] for name in fields if name in paths):
        assert run(["audit", str(leaves), "--check", "dark", "--set", path]) == 2
        assert "no effect in audit" in capsys.readouterr().err


def test_audit_and_calibrate_take_what_they_use(leaves: Path) -> None:
    assert len(beholder.audit(leaves, checks=["dark"], size=32, weights="none", precision="fp32").pictures) == 36
    refuse("calibrate", ["coverage", "target_risk"])
    with pytest.raises(UsageError, match=r"no effect in calibrate: train\.lr"):
        refuse("calibrate", ["lr"])


def test_tune_has_minutes_of_its_own(leaves: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match=r"no effect in tune: train\.minutes"):
        beholder.tune(leaves, minutes=1, recipe=Recipe().set(minutes=5))
    assert run(["tune", str(leaves), "--minutes", "1", "--set", "train.minutes=5"]) == 2
    assert "no effect in tune" in capsys.readouterr().err


@pytest.mark.parametrize("parts", ["leaves/", None, 3, ("x", "y")])
def test_train_takes_parts_and_says_how_they_are_made(parts: object) -> None:
    with pytest.raises(UsageError) as refused:
        beholder.train(parts)  # type: ignore[arg-type]
    assert refused.value.code == "no-parts"
    assert "beholder.split(beholder.scan(source))" in refused.value.hint


def test_steps_takes_fields_by_name_and_a_path_as_text(leaves: Path, tmp_path: Path) -> None:
    fields = {"net": "logistic", "epochs": 1, "val": 0.3, "audit": "off"}
    outcome = beholder.steps(leaves, recipe="careful", out=str(tmp_path / "m.beholder"), **fields)
    recipe = beholder.load(tmp_path / "m.beholder").recipe
    assert (recipe.name, recipe.net.name, recipe.data.val, recipe.data.audit) == ("careful", "logistic", 0.3, "off")
    assert outcome.path == tmp_path / "m.beholder"
    with pytest.raises(UsageError, match="no recipe field is called 'epoch'"):
        beholder.steps(leaves, epoch=1)


@pytest.mark.parametrize("recipe", [None, {"lr": 0.1}, 3])
def test_a_recipe_of_another_type_is_refused(recipe: object) -> None:
    with pytest.raises(UsageError) as refused:
        changed(recipe, {})  # type: ignore[arg-type]
    assert "fields by name" in refused.value.hint
