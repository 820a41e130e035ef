from __future__ import annotations

import numpy as np
import pytest

from beholder.base.errors import DataError, UsageError
from beholder.base.records import Parts, Pictures
from beholder.tasks import named
from beholder.tasks.ordinal import bias, objective, order
from beholder.tasks.targets import arranged, classes_of, in_classes

CLASSES = ("grade 0", "grade 1", "grade 10", "grade 2")


def pictures(targets: np.ndarray, classes: tuple[str, ...] = CLASSES) -> Pictures:
    n = len(targets)
    none = np.full(n, -1)
    return Pictures(None, [str(i) for i in range(n)], targets, classes, none.astype(np.int8), none)  # type: ignore[arg-type]


def test_classes_are_in_the_order_of_their_numbers_or_as_asked() -> None:
    assert list(order(CLASSES, ())) == ["grade 0", "grade 1", "grade 2", "grade 10"]
    assert list(order(["-1", "0.5", "0"], ())) == ["-1", "0", "0.5"]
    assert list(order(["mild", "none", "severe"], ["none", "mild", "severe"])) == ["none", "mild", "severe"]


@pytest.mark.parametrize(
    ("classes", "asked", "code"),
    [
        (["mild", "none", "severe"], (), "no-order"),
        (["1", "01"], (), "no-order"),
        (["mild", "none", "severe"], ("none", "mild"), "no-order"),
        (["mild", "none", "severe"], ("none", "mild", "severe", "mild"), "no-order"),
        (["mild", "none", "severe"], ("none", "milt", "severe"), "unknown-class"),
    ],
)
def test_an_order_that_is_not_known_is_asked_for(classes: list[str], asked: tuple[str, ...], code: str) -> None:
    with pytest.raises(UsageError) as error:
        order(classes, asked)
    assert error.value.code == code
    assert error.value.hint


def test_pictures_keep_their_labels_when_classes_are_put_in_order() -> None:
    given = pictures(np.array([0, 1, 2, 3, 3]))
    parts = arranged(Parts(given, given, given), named("ordinal"))
    assert parts.train.classes == ("grade 0", "grade 1", "grade 2", "grade 10")
    assert [parts.test.labels(i) for i in range(5)] == [given.labels(i) for i in range(5)]
    assert arranged(Parts(given, given, given), named("single")).train is given


def test_labels_become_those_of_the_task_or_are_refused() -> None:
    one, several = pictures(np.array([0, 3])), pictures(np.array([[1, 0, 1, 0], [0, 0, 0, 0]], np.uint8))
    assert in_classes(one, CLASSES, named("multi")).targets.tolist() == [[1, 0, 0, 0], [0, 0, 0, 1]]
    for name in ("single", "ordinal"):
        with pytest.raises(DataError) as error:
            in_classes(several, CLASSES, named(name))
        assert error.value.code == "other-task"
    with pytest.raises(UsageError) as unused:
        classes_of(one, named("single"), order="grade 0,grade 1")
    assert unused.value.code == "unused-field"


def test_the_first_bias_says_how_common_the_classes_are() -> None:
    counts = np.array([50, 30, 20])
    p = named("ordinal").family.probabilities(bias(counts)[None])[0]
    assert p == pytest.approx(counts / 100, abs=0.01)
    assert np.isfinite(bias(np.array([0, 5, 0]))).all()


def test_the_objective_is_kappa_or_less_the_error_where_there_is_none() -> None:
    family = named("ordinal").family
    logits, truth = np.array([[9.0, 9.0], [9.0, -9.0], [-9.0, -9.0]]), np.eye(3)[[2, 1, 0]]
    assert family.answers(family.probabilities(logits)).tolist() == [2, 1, 0]
    assert objective(logits, truth) == 1
    assert objective(logits[::-1], truth) < 0
    assert objective(logits[:1], truth[:1]) == 0
