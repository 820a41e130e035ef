"""What a person may choose by, held against scikit-learn, and where it is used."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score, roc_curve

import beholder
from beholder.base.errors import UsageError
from beholder.base.recipe import Recipe
from beholder.cli.run import run
from beholder.tasks import TASKS, named
from beholder.tasks.objectives import aim, aimed, check, explained, is_objective, name_of

CLASSES = ("a", "b", "c")


def labelled(n: int = 200, *, several: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Logits (n, 3) that say something of rare and common classes, and their targets."""
    rng = np.random.default_rng(0)
    y = rng.choice(3, n, p=[0.7, 0.2, 0.1])
    hot = (rng.random((n, 3)) < [0.5, 0.2, 0.1]) if several else np.eye(3)[y]
    return (rng.normal(size=(n, 3)) + 1.2 * hot - several).astype(np.float32), hot.astype(np.float32)


def found(name: str, task: str, *, positive: str = "") -> float:
    logits, targets = labelled(several=named(task).several)
    return aimed(named(task), name, CLASSES, positive=positive).objective(logits, targets)


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z.astype(np.float64))
    return e / e.sum(axis=1, keepdims=True)


def test_objectives_of_one_label_are_those_of_scikit_learn() -> None:
    z, hot = labelled()
    y, told, p = hot.argmax(1), z.argmax(1), softmax(z)
    assert found("accuracy", "single") == found("auto", "single") == pytest.approx((y == told).mean())
    assert found("macro-F1", "single") == pytest.approx(f1_score(y, told, average="macro"))
    assert found("balanced_accuracy", "single") == pytest.approx(balanced_accuracy_score(y, told))
    assert found("AUROC", "single") == pytest.approx(roc_auc_score(y, p, multi_class="ovr"))


def test_objectives_of_several_labels_are_those_of_scikit_learn() -> None:
    z, hot = labelled(several=True)
    assert found("mAP", "multi") == found("auto", "multi")
    assert found("macro_f1", "multi") == pytest.approx(f1_score(hot, z > 0, average="macro"))
    assert found("micro_f1", "multi") == pytest.approx(f1_score(hot, z > 0, average="micro"))
    assert found("auroc", "multi") == pytest.approx(roc_auc_score(hot, z, average="macro"))


@pytest.mark.parametrize("share", [0.5, 0.9, 0.95, 1.0])
def test_an_operating_point_is_the_best_one_of_the_roc_curve(share: float) -> None:
    z, hot = labelled()
    p, sensitive, specific = softmax(z), [], []
    for k in range(3):
        false, true, _ = roc_curve(hot[:, k], p[:, k], drop_intermediate=False)
        sensitive.append(true[1 - false >= share - 1e-9].max())
        specific.append((1 - false)[true >= share - 1e-9].max())
    assert found(f"sensitivity@{share}", "single") == pytest.approx(np.mean(sensitive))
    assert found(f"specificity@{share}", "single") == pytest.approx(np.mean(specific))
    assert found(f"sensitivity@{share}", "single", positive="b") == pytest.approx(sensitive[1])


def test_a_class_that_is_absent_counts_for_nothing_and_none_is_undefined() -> None:
    z, hot = labelled()
    some = hot[:, 2] == 0
    macro = aimed(named("single"), "macro_f1").objective(z[some], hot[some])
    y = hot[some].argmax(1)
    assert macro == pytest.approx(f1_score(y, z[some].argmax(1), average="macro", labels=[0, 1]))
    only = hot[:, 0] == 1
    assert math.isnan(aimed(named("single"), "auroc").objective(z[only], hot[only]))
    assert math.isnan(aimed(named("multi"), "micro_f1").objective(-10 * np.ones((5, 2)), np.zeros((5, 2))))


def test_grades_may_be_chosen_by_their_error() -> None:
    z = np.array([[5.0, 5.0], [5.0, -5.0], [-5.0, -5.0]])
    targets = np.eye(3)[[2, 2, 0]]
    assert aimed(named("ordinal"), "mean_absolute_error").objective(z, targets) == pytest.approx(-1 / 3)
    assert aimed(named("ordinal"), "accuracy").objective(z, targets) == pytest.approx(2 / 3)


@pytest.mark.parametrize("task", TASKS.names())
def test_every_objective_of_a_task_has_its_name_and_its_own_is_among_them(task: str) -> None:
    assert name_of(named(task)) == {"single": "accuracy", "multi": "map", "ordinal": "quadratic_kappa"}[task]
    for name in (*named(task).objectives, "sensitivity@0.9", "specificity@0.5"):
        chosen = aimed(named(task), name)
        assert name_of(chosen) == name
        assert name in explained(chosen)
        logits, targets = labelled(several=chosen.several)
        assert np.isfinite(chosen.objective(logits[:, : chosen.width(3)], targets))


@pytest.mark.parametrize(
    ("task", "name", "hint"),
    [
        ("single", "mAP", "it has accuracy, macro_f1"),
        ("single", "acuracy", "did you mean 'accuracy'"),
        ("multi", "accuracy", "it has map"),
        ("auto", "kappa", "it has"),
        ("auto", "sensitivity", "sensitivity@0.95"),
        ("auto", "sensitivity@95", "above 0 and at most 1"),
    ],
)
def test_a_name_that_does_not_fit_is_refused_with_what_there_is(task: str, name: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        check(Recipe().set(task=task, objective=name))
    assert (caught.value.code, hint in caught.value.hint) == ("unknown-objective", True), caught.value
    assert not is_objective("rust")
    check(Recipe().set(objective="mAP"))  # with "auto" the labels may turn out to be several
    with pytest.raises(UsageError, match="no class 'd'"):
        aim(Recipe().set(objective="sensitivity@0.9", positive="d"), named("single"), CLASSES)


def test_weights_and_heads_are_chosen_by_it(leaves: Path) -> None:
    parts = beholder.split(beholder.scan(leaves), seed=0, near=False)
    bundle = beholder.train(parts, net="cnn", epochs=3, batch=8, objective="sensitivity@0.9", positive="rust", mirror=False)
    assert bundle.config.objective == "sensitivity@0.9"
    assert any("sensitivity@0.9 (of rust, " in note for note in bundle.config.notes)
    scored = bundle.history[max(range(3), key=lambda k: bundle.history[k]["valid_score"])]["valid_score"]
    assert bundle.config.valid_score == pytest.approx(scored)


def test_the_command_line_says_what_is_wrong_and_an_old_class_is_still_read(
    leaves: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ["train", str(leaves), "--out", str(tmp_path / "m.beholder"), "--net", "cnn", "--epochs", "1"]
    assert run([*train, "--for", "mAP", "--task", "single"]) == 2
    assert "the task 'single' has no objective 'mAP'" in capsys.readouterr().err
    assert run([*train, "--for", "moss", "--sensitivity", "0.5"]) == 2
    said = capsys.readouterr().err
    assert "--for is now --positive" in said
    assert "there is no class 'moss'" in said
