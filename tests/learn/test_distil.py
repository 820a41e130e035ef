"""Distillation: the loss against oracles, who may teach, what a resumed run goes on with, and a teacher that helps."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import beholder
from beholder.base import events
from beholder.base.deadline import Deadline
from beholder.base.errors import BeholderError, DataError, UsageError
from beholder.base.files import file_sha256
from beholder.learn import distil
from beholder.learn.checkpoint import Due, RunFolder
from beholder.learn.distil import columns_of, digest_of, distilled, probabilities
from beholder.learn.material import Beside
from beholder.learn.prepare import prepare
from beholder.tasks.multi import MULTI
from beholder.tasks.ordinal import ORDINAL
from beholder.tasks.single import SINGLE

FIELDS: dict[str, Any] = {
    "net": "cnn",
    "width": 0.25,
    "epochs": 2,
    "batch": 8,
    "precision": "fp32",
    "augment": "light",
    "mixup": 0.3,
}


@pytest.fixture
def parts(leaves: Path) -> beholder.Parts:
    return beholder.split(beholder.scan(leaves), seed=0)


def drawn(n: int, k: int, seed: int) -> torch.Tensor:
    return 2 * torch.randn(n, k, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_loss_is_hintons_up_to_the_entropy_of_the_teacher(temperature: float, weight: float) -> None:
    z, t, labels = drawn(6, 4, 0), drawn(6, 4, 1), F.one_hot(torch.tensor([0, 1, 2, 3, 0, 1]), 4).float()
    soft = torch.from_numpy(probabilities(t.numpy(), np.arange(4), SINGLE, temperature=temperature))
    task = distilled(SINGLE, weight=weight, temperature=temperature, classes=4)
    found = task.loss(z, torch.cat([labels, soft], 1), smoothing=0.1)
    p = (t / temperature).softmax(1)
    kl = F.kl_div((z / temperature).log_softmax(1), p, reduction="batchmean")
    entropy = -(p * p.log()).sum(1).mean()
    hard = F.cross_entropy(z, labels.argmax(1), label_smoothing=0.1)
    torch.testing.assert_close(found, (1 - weight) * hard + weight * temperature**2 * (kl + entropy))


def test_of_several_labels_it_is_the_binary_loss_of_each() -> None:
    z, t, labels = drawn(5, 3, 2), drawn(5, 3, 3), (drawn(5, 3, 4) > 0).float()
    soft = torch.from_numpy(probabilities(t.numpy(), np.arange(3), MULTI, temperature=3.0))
    torch.testing.assert_close(soft, (t / 3).sigmoid())
    found = distilled(MULTI, weight=0.4, temperature=3.0, classes=3).loss(z, torch.cat([labels, soft], 1))
    hard = F.binary_cross_entropy(z.sigmoid(), labels)
    theirs = F.binary_cross_entropy((z / 3).sigmoid(), soft)
    torch.testing.assert_close(found, 0.6 * hard + 0.4 * 9 * theirs)


def test_of_grades_it_is_the_likelihood_of_the_teachers_grades() -> None:
    z, t = drawn(5, 3, 5), drawn(5, 3, 6)
    soft = torch.from_numpy(probabilities(t.numpy(), np.arange(4), ORDINAL, temperature=2.0))
    found = distilled(ORDINAL, weight=1.0, temperature=2.0, classes=4).loss(
        z, torch.cat([torch.eye(4)[[0, 1, 2, 3, 0]], soft], 1)
    )
    torch.testing.assert_close(found, -4 * (soft * ORDINAL.activation(z / 2).log()).sum(1).mean())


@pytest.mark.parametrize("task", [SINGLE, MULTI, ORDINAL], ids=lambda task: task.name)
def test_a_net_that_says_what_the_teacher_says_has_nothing_to_learn_from_it(task: Any) -> None:
    z = drawn(6, task.width(4), 7).requires_grad_()
    soft = torch.from_numpy(probabilities(z.detach().numpy(), np.arange(4), task, temperature=3.0))
    loss = distilled(task, weight=1.0, temperature=3.0, classes=4).loss(
        z, torch.cat([torch.eye(4)[[0, 1, 2, 3, 0, 1]], soft], 1)
    )
    (slope,) = torch.autograd.grad(loss, z)
    assert slope.abs().max() < 1e-5


def test_the_turns_hand_the_net_over_once_and_are_right_by_the_labels() -> None:
    net, images = torch.nn.Linear(5, 4), drawn(6, 5, 8)
    calls: list[int] = []
    net.register_forward_hook(lambda *_: calls.append(1))
    targets = torch.cat([torch.eye(4)[[0, 1, 2, 3, 0, 1]], torch.full((6, 4), 0.25)], 1)
    task = distilled(SINGLE, weight=1.0, temperature=1.0, classes=4)
    (turn,) = task.turns(net, images, targets, smoothing=0.0, weights=None)
    assert calls == [1]
    torch.testing.assert_close(turn.loss, -net(images).log_softmax(1).mean(1).mean())
    assert turn.right == (net(images).argmax(1) == torch.tensor([0, 1, 2, 3, 0, 1])).float().mean()


def test_classes_are_matched_by_name_and_those_that_are_not_learnt_share_no_probability(parts: beholder.Parts) -> None:
    teacher = beholder.train(parts, net="logistic", epochs=1, batch=8)
    assert columns_of(teacher, ("rust", "healthy"), SINGLE).tolist() == [2, 0]
    logits = np.log(np.array([[0.2, 0.5, 0.3]], np.float32))
    np.testing.assert_allclose(probabilities(logits, np.array([2, 0]), SINGLE), [[0.6, 0.4]], rtol=1e-6)
    grades = dataclasses.replace(teacher, config=dataclasses.replace(teacher.config, task="ordinal"))
    with pytest.raises(DataError, match="another order"):
        columns_of(grades, ("rust", "mildew", "healthy"), ORDINAL)


def test_who_cannot_teach_says_why_before_any_picture_is_decoded(
    parts: beholder.Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "teacher.beholder"
    teacher = beholder.train(parts, net="logistic", epochs=1, batch=8, out=path)
    damaged = tmp_path / "damaged.beholder"
    shutil.copytree(path, damaged)
    data = bytearray((damaged / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (damaged / "model.safetensors").write_bytes(data)
    fewer = dataclasses.replace(teacher, config=dataclasses.replace(teacher.config, classes=("healthy", "mildew", "scab")))
    several = dataclasses.replace(teacher, config=dataclasses.replace(teacher.config, task="multi"))
    monkeypatch.setattr("beholder.learn.prepare.both_decoded", None)
    wrong = [
        (tmp_path / "none.beholder", "path-missing"),
        (damaged, "damaged"),
        (fewer, "other-classes"),
        (several, "other-task"),
    ]
    for given, code in wrong:
        with pytest.raises(BeholderError) as refused:
            beholder.train(parts, teacher=given, **FIELDS)
        assert refused.value.code == code, given
        assert refused.value.hint
    with pytest.raises(UsageError, match="there is none"):
        beholder.train(parts, temperature=4.0, **FIELDS)


@pytest.mark.parametrize("way", ["train", "steps", "dry", "tune", "memory", "link"])
def test_a_teacher_is_not_written_over_by_what_it_teaches(
    parts: beholder.Parts, leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    path, link = tmp_path / "leaves.beholder", tmp_path / "link.beholder"
    teacher = beholder.train(parts, net="logistic", epochs=1, batch=8, out=path)
    before = file_sha256(path / "model.safetensors")
    monkeypatch.chdir(tmp_path)
    calls: dict[str, Any] = {
        "train": lambda: beholder.train(parts, teacher="leaves.beholder", out=path, **FIELDS),
        "steps": lambda: beholder.steps(leaves, teacher=path, out="leaves.beholder", **FIELDS),
        "dry": lambda: beholder.train(parts, teacher=path, out=path, dry_run=True, **FIELDS),
        "tune": lambda: beholder.tune(leaves, minutes=1, recipe=beholder.Recipe().set(teacher=str(path)), out=path),
        "memory": lambda: beholder.train(parts, teacher=teacher, out=path, **FIELDS),
        "link": lambda: (link.symlink_to(path), beholder.train(parts, teacher=path, out=link, **FIELDS)),
    }
    with pytest.raises(UsageError, match="is the teacher, and what it teaches would take its place") as refused:
        calls[way]()
    assert (refused.value.code, "--out" in refused.value.hint) == ("place-taken", True)
    assert file_sha256(path / "model.safetensors") == before


def test_a_recipe_whose_teacher_was_in_memory_asks_for_it_again(parts: beholder.Parts) -> None:
    teacher = beholder.train(parts, net="logistic", epochs=1, batch=8)
    student = beholder.train(parts, teacher=teacher, **FIELDS)
    assert student.recipe.train.teacher.startswith("in memory, ")
    with pytest.raises(UsageError, match="lies in no file") as refused:
        beholder.train(parts, recipe=student.recipe)
    assert (refused.value.code, "--teacher" in refused.value.hint) == ("teacher-gone", True)
    again = beholder.train(parts, recipe=student.recipe, teacher=teacher)
    assert again.recipe.train.teacher == student.recipe.train.teacher


def test_a_teacher_that_is_sure_of_a_class_that_is_not_learnt_still_gives_probabilities() -> None:
    """The others have e^-200 and e^-201: less than float32 holds, and all that can be divided among them."""
    found = probabilities(np.array([[200.0, 0.0, -1.0]], np.float32), np.array([1, 2]), SINGLE)
    np.testing.assert_allclose(found, [[1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1))]], rtol=1e-6)
    assert found.dtype == np.float32


def test_a_teacher_that_saw_the_test_part_is_refused_and_one_that_saw_validation_is_said(parts: beholder.Parts) -> None:
    seen = beholder.Parts(train=parts.test, valid=parts.valid, test=parts.train)
    with pytest.raises(DataError, match=f"{len(parts.test)} of the {len(parts.test)} test pictures") as refused:
        beholder.train(parts, teacher=beholder.train(seen, net="logistic", epochs=1, batch=4), **FIELDS)
    assert refused.value.code == "teacher-leak"
    turned = beholder.Parts(train=parts.valid, valid=parts.train, test=parts.test)
    bundle = beholder.train(parts, teacher=beholder.train(turned, net="logistic", epochs=1, batch=4), **FIELDS)
    assert any("validation is flattered" in note for note in bundle.config.notes)


def test_a_run_with_a_teacher_that_was_cut_ends_in_the_same_bits_and_asks_it_no_second_time(
    parts: beholder.Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher, whole, out = (tmp_path / f"{name}.beholder" for name in ("teacher", "whole", "cut"))
    beholder.train(parts, net="logistic", epochs=2, batch=8, out=teacher)
    beholder.train(parts, out=whole, teacher=teacher, **FIELDS)
    assert beholder.load(whole).recipe.train.teacher == str(teacher)
    assert any(note.startswith(f"teacher: {teacher} (logistic, weights ") for note in beholder.load(whole).config.notes)

    class Killed(BaseException):
        pass

    def at(event: events.Event) -> None:
        if event.message == "training" and event.fields["done"] == 4:
            raise Killed

    monkeypatch.setattr(Due, "__bool__", lambda self: True)
    with events.listen(at, alone=True), pytest.raises(Killed):
        beholder.train(parts, out=out, teacher=str(teacher), **FIELDS)
    kept = RunFolder.beside(out).kept("taught")
    assert kept is not None
    assert np.isfinite(kept["logits"]).all()
    other = beholder.train(parts, net="logistic", epochs=1, seed=5, batch=8)
    other.path = teacher
    with pytest.raises(UsageError, match="teacher changed"):
        beholder.train(parts, out=out, resume=True, teacher=other, **FIELDS)
    monkeypatch.setattr(distil, "asked", None)
    beholder.train(parts, out=out, resume=True, teacher=teacher, **FIELDS)
    assert file_sha256(out / "model.safetensors") == file_sha256(whole / "model.safetensors")
    plain = beholder.train(parts, out=tmp_path / "plain.beholder", **FIELDS)
    assert digest_of(plain) != digest_of(beholder.load(whole))


def test_a_good_teacher_makes_up_for_wrong_labels() -> None:
    """Two of five labels are wrong: the net follows them, unless a teacher that learnt the right ones is listened to."""
    draws = np.random.default_rng(0)
    prototypes = draws.integers(60, 196, (4, 8, 8))

    def pictures(n: int, wrong: float) -> tuple[Any, Any]:
        y = np.arange(n) % 4
        x = np.clip(prototypes[y] + draws.normal(0, 120, (n, 8, 8)), 0, 255).astype(np.uint8)
        return x, np.where(draws.random(n) < wrong, draws.integers(0, 4, n), y)

    clean = beholder.split(beholder.scan(pictures(600, 0.0)), seed=0)
    fields = {"net": "mlp", "epochs": 12, "batch": 40, "augment": "none", "precision": "fp32", "smoothing": 0.0}
    teacher = beholder.train(clean, **fields)
    noisy = beholder.split(beholder.scan(pictures(200, 0.55)), seed=0)
    test = beholder.scan(pictures(1000, 0.0))
    alone = beholder.train(noisy, **fields)
    taught = beholder.train(noisy, teacher=teacher, teacher_weight=1.0, temperature=3.0, **fields)
    scores = [beholder.evaluate(bundle, test).scores.headline["accuracy"].value for bundle in (alone, taught)]
    assert scores[1] > scores[0] + 0.1, scores


def test_a_picture_without_a_label_of_its_own_has_the_teachers_probabilities_for_one(
    parts: beholder.Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = beholder.train(parts, net="logistic", epochs=1, batch=8)
    own = len(parts.train) - 4
    logits = drawn(4, 3, 9).numpy()
    asked, real = [], distil.asked

    def counting(bundle: Any, pictures: Any, **named: Any) -> Any:
        asked.append(len(pictures))
        return real(bundle, pictures, **named)

    monkeypatch.setattr(distil, "asked", counting)
    recipe = beholder.Recipe().set(net="cnn", width=0.25, temperature=3.0, teacher_weight=0.25)
    prepared = prepare(parts, recipe, beside=Beside(teacher, own=own, logits=logits))
    taught, hot = prepared.train.taught, prepared.train.targets
    assert taught is not None
    assert asked == [own]
    torch.testing.assert_close(taught.labels[:own], hot[:own])
    torch.testing.assert_close(taught.labels[own:], torch.from_numpy(logits).softmax(1))
    torch.testing.assert_close(taught.soft[own:], (torch.from_numpy(logits) / 3).softmax(1))
    torch.testing.assert_close(prepared.mixed[:own], 0.75 * hot[:own] + 0.25 * taught.plain[:own])
    torch.testing.assert_close(prepared.lessons, torch.cat([taught.labels, taught.soft], 1))


def test_a_picture_that_the_teacher_had_no_time_for_is_learnt_from_its_label(
    parts: beholder.Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = beholder.train(parts, net="logistic", epochs=1, batch=8)
    real = distil.asked

    def late(*given: Any, **named: Any) -> Any:
        found = real(*given, **named)
        found[5:] = np.nan
        return found

    monkeypatch.setattr(distil, "asked", late)
    bundle = beholder.train(parts, teacher=teacher, **FIELDS)
    assert any("it was asked about 5 of " in note for note in bundle.config.notes)
    hot = np.eye(3, dtype=np.float32)
    stand_in = distil._for_labels(hot, 1.0, several=False)
    np.testing.assert_allclose(stand_in, 0.9 * hot + 0.1 / 3, rtol=1e-6)
    np.testing.assert_allclose(distil._for_labels(hot, 2.0, several=False).sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(distil._for_labels(hot, 1.0, several=True), 0.9 * hot + 0.05, rtol=1e-6)


def knows(*classes: str, task: Any = SINGLE) -> Any:
    return SimpleNamespace(task=task, classes=classes)


@pytest.mark.parametrize(
    ("teacher", "classes", "task", "code", "says", "hint"),
    [
        (
            knows("a", "b", task=MULTI),
            ("a", "b"),
            SINGLE,
            "other-task",
            "the task 'multi', this is 'single'",
            "same kind",
        ),
        (knows("a", "b"), ("c", "a", "d"), SINGLE, "other-classes", "not know 2 of the 3 classes: c, d", "it knows a, b"),
        (knows("a", "b", task=ORDINAL), ("b", "a"), ORDINAL, "other-classes", "in another order", "its order is a, b"),
        (knows("a", "b", "c", task=ORDINAL), ("a", "b"), ORDINAL, "other-classes", "other grades", "its order is a, b, c"),
    ],
    ids=["task", "classes", "order", "grades"],
)
def test_a_teacher_of_something_else_is_refused_with_what_it_knows(
    teacher: Any, classes: tuple[str, ...], task: Any, code: str, says: str, hint: str
) -> None:
    with pytest.raises(DataError, match=says) as refused:
        columns_of(teacher, classes, task)
    assert refused.value.code == code
    assert hint in refused.value.hint


def test_a_teacher_of_the_same_grades_and_of_more_classes_teaches() -> None:
    assert columns_of(knows("a", "b", task=ORDINAL), ("a", "b"), ORDINAL).tolist() == [0, 1]
    assert columns_of(knows("a", "b", "c"), ("c", "a"), SINGLE).tolist() == [2, 0]


@pytest.mark.parametrize(("calibrated", "factor"), [(False, 1.0), (True, 10.0)])
@pytest.mark.parametrize("done", [4, 2, 0])
def test_a_teacher_says_of_each_picture_what_its_net_gives_calibrated_where_it_is(
    monkeypatch: pytest.MonkeyPatch, calibrated: bool, factor: float, done: int
) -> None:
    """Of six pictures two cannot be read, and there is time for `done` of the others, in an order of all classes."""
    seen: dict[str, Any] = {}
    rows, late = np.array([0, 1, 3, 5]), Deadline(50.0, lambda: 20.0)
    targets = np.array([0, 0, 1, 1, 0, 1])

    class Pixels:
        def __init__(self, rows: Any) -> None:
            self.rows = rows

        def subset(self, positions: Any) -> Any:
            return Pixels(self.rows[positions])

    def cached(pictures: Any, policy: Any, **how: Any) -> Any:
        seen.update(policy=policy, cached=how)
        return Pixels(rows)

    def outputs(bundle: Any, pixels: Any, **how: Any) -> Any:
        seen.update(order=pixels.rows, outputs=how)
        logits = np.stack([pixels.rows, -pixels.rows], axis=1).astype(np.float32)
        return logits[:done], None

    monkeypatch.setattr(distil, "cached", cached)
    monkeypatch.setattr(distil, "outputs", outputs)
    checked: list[int] = []
    config = SimpleNamespace(calibration=(lambda logits: 10 * logits) if calibrated else None)
    teacher: Any = SimpleNamespace(
        width=2, policy="its own", config=config, activated=lambda logits: checked.append(len(logits))
    )
    pictures: Any = type("Pictures", (), {"targets": targets, "__len__": lambda self: 6})()
    found = distil.asked(teacher, pictures, until=late, workers=3)
    expected = np.full((6, 2), np.nan, np.float32)
    for row in seen["order"][:done]:
        expected[row] = factor * row, -factor * row
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float32
    assert checked == [done]
    assert sorted(seen["order"]) == rows.tolist()
    assert len(set(targets[seen["order"][:2]])) == 2
    assert seen["policy"] == "its own"
    how = seen["cached"]
    assert (how["on_bad"], how["workers"], sorted(how["order"])) == ("skip", 3, list(range(6)))
    assert (how["enough"](), seen["outputs"]["enough"](), seen["outputs"]["seconds"]) == (False, False, 30.0)
    assert seen["outputs"]["label"] == "the teacher"


def test_what_a_teacher_said_before_goes_with_the_picture_and_not_with_its_place() -> None:
    digests = np.arange(4 * 32, dtype=np.uint8).reshape(4, 32)
    before = {"digests": digests[[2, 0]], "logits": np.array([[2.0, -2.0], [0.5, 1.5]], np.float32)}
    pictures: Any = type("Pictures", (), {"digests": digests, "__len__": lambda self: 4})()
    nan = [np.nan, np.nan]
    np.testing.assert_array_equal(distil._as_before(pictures, 2, before), [[0.5, 1.5], nan, [2.0, -2.0], nan])
    assert np.isnan(distil._as_before(pictures, 3, before)).all(), "a teacher of other classes said nothing"


def test_known_answers_are_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows 3 and 4 have no label of their own, and what the teacher says of them is known."""
    asked: list[Any] = []

    def answers(teacher: Any, pictures: Any, *, until: Any, workers: int) -> Any:
        asked.append((pictures, until, workers))
        return np.full((len(pictures), 2), 7.0, np.float32)

    monkeypatch.setattr(distil, "asked", answers)
    pictures: Any = type("Pictures", (), {"take": lambda self, rows: rows.tolist(), "__len__": lambda self: 4})()
    train: Any = SimpleNamespace(pictures=pictures, pixels=SimpleNamespace(rows=np.array([0, 2, 3, 4])))
    teacher: Any = SimpleNamespace(width=2)
    known = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    late = Deadline()
    found = distil._said(teacher, train, Beside(teacher, own=3, logits=known), until=late, workers=5)
    np.testing.assert_array_equal(found, [[7, 7], [7, 7], [1, 2], [3, 4]])
    assert asked == [([0, 1], late, 5)]
    found = distil._said(teacher, train, Beside(teacher), until=late, workers=5)
    np.testing.assert_array_equal(found, np.full((4, 2), 7.0))
    everything = SimpleNamespace(pictures=pictures, pixels=SimpleNamespace(rows=np.array([3, 4])))
    type(pictures).__len__ = lambda self: 2
    asked.clear()
    distil._said(teacher, everything, Beside(teacher, own=3, logits=known), until=late, workers=5)  # type: ignore[arg-type]
    assert asked == [], "nobody is asked of nothing"
