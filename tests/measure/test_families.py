"""Families of answers: probabilities sum to what they must, slopes are those of the cost, torch says the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from beholder.measure.families import BERNOULLI, CATEGORICAL, SEQUENTIAL, Family, median, through
from beholder.tasks import TASKS, named

K = 5
TWO = through(CATEGORICAL, np.random.default_rng(3).normal(size=(2, K)), name="two numbers")
FAMILIES = [CATEGORICAL, BERNOULLI, SEQUENTIAL, TWO]


def logits_of(family: Family, n: int = 40, scale: float = 3.0) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, family.width(K))) * scale


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_probabilities_are_of_one_class_or_of_each(family: Family) -> None:
    p = family.probabilities(logits_of(family))
    assert p.shape == (40, K)
    assert ((p >= 0) & (p <= 1)).all()
    assert family.several or np.allclose(p.sum(axis=1), 1)
    extreme = family.probabilities(np.full((2, family.width(K)), 800.0) * [[1.0], [-1.0]])
    assert np.isfinite(extreme).all()


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_the_cost_is_the_likelihood_and_the_slope_its_derivative(family: Family) -> None:
    rng, z = np.random.default_rng(1), logits_of(family, 12, 1.0)
    truth = rng.random((12, K)) if family.several else rng.dirichlet(np.ones(K), 12)
    cost, slope = family.cost(z, truth)
    p = family.probabilities(z)
    assert cost == pytest.approx(-(truth * np.log(p) + ((1 - truth) * np.log(1 - p) if family.several else 0)).sum(axis=1))
    step = 1e-6
    for w in range(z.shape[1]):
        moved = np.eye(z.shape[1])[w] * step
        numeric = (family.cost(z + moved, truth)[0] - family.cost(z - moved, truth)[0]) / (2 * step)
        assert slope[:, w] == pytest.approx(numeric, abs=1e-6)


@pytest.mark.parametrize("name", TASKS.names())
def test_the_activation_in_graphs_is_that_of_the_family_and_the_loss_its_cost(name: str) -> None:
    task = named(name)
    z = logits_of(task.family, 200, 4.0)
    assert task.activation(torch.tensor(z)).numpy() == pytest.approx(task.family.probabilities(z), abs=1e-12)
    rng = np.random.default_rng(2)
    hot = (rng.random((200, K)) < 0.4).astype(float) if task.several else np.eye(K)[rng.integers(0, K, 200)]
    assert float(task.loss(torch.tensor(z), torch.tensor(hot))) == pytest.approx(
        task.family.cost(z, hot)[0].mean() / (K if task.several else 1)
    )


def test_sequential_logits_never_say_that_a_higher_grade_is_likelier_to_be_exceeded() -> None:
    beyond = 1 - SEQUENTIAL.probabilities(logits_of(SEQUENTIAL)).cumsum(axis=1)
    assert (np.diff(beyond, axis=1) <= 1e-12).all()


def test_the_median_is_the_answer_of_least_mean_error() -> None:
    p = np.random.default_rng(3).dirichlet(np.ones(K), 300)
    errors = p @ np.abs(np.subtract.outer(np.arange(K), np.arange(K)))
    assert errors[np.arange(300), median(p)] == pytest.approx(errors.min(axis=1))
    assert (SEQUENTIAL.answers(p) != p.argmax(axis=1)).any()
    assert SEQUENTIAL.certainty(p) == pytest.approx(p[np.arange(300), median(p)])


def test_energy_falls_as_evidence_for_any_class_grows() -> None:
    for family in FAMILIES:
        z = np.abs(logits_of(family, 5, 1.0))
        assert (family.energy(3 * z) < family.energy(z)).all()
    z = np.array([[0.1, -0.2, 0.1, 0.3], [4.0, -5.0, -4.0, -6.0]])
    assert SEQUENTIAL.energy(z)[1] < SEQUENTIAL.energy(z)[0]
