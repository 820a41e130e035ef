from __future__ import annotations

import importlib
import json
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import beholder
from beholder.base import events
from beholder.base.errors import DataError, Interrupted, UsageError
from beholder.base.spans import recorded
from beholder.learn import finish, forward, loop, run
from beholder.learn.checkpoint import RunFolder
from beholder.learn.monitors import Guard, NotFiniteError
from beholder.nets.depth import layers
from beholder.tasks import single
from beholder.tasks.task import Turn

train_module = importlib.import_module("beholder.learn.train")  # the package's `train` is the verb


@pytest.fixture
def parts(leaves: Path) -> beholder.Parts:
    return beholder.split(beholder.scan(leaves), seed=0)


def _weights(bundle: beholder.Bundle) -> dict[str, torch.Tensor]:
    return bundle.net.state_dict()


def _same(one: beholder.Bundle, other: beholder.Bundle) -> bool:
    return all(torch.equal(value, _weights(other)[name]) for name, value in _weights(one).items())


@pytest.mark.parametrize("net", ["logistic", "mlp", "cnn", "fastnet", "resnet"])
def test_every_net_learns_to_tell_colours_apart(parts: beholder.Parts, net: str) -> None:
    bundle = beholder.train(parts, net=net, epochs=12, batch=8, width=0.25)
    assert bundle.config.valid_score == 1.0
    losses = [row["loss"] for row in bundle.history]
    assert losses[-1] < losses[0]
    assert {"epoch", "step", "seconds", "valid_loss", "valid_score", "lr"} <= bundle.history[0].keys()


def test_the_same_seed_gives_the_same_weights_and_another_does_not(parts: beholder.Parts) -> None:
    fields = {"net": "fastnet", "epochs": 2, "batch": 8, "width": 0.25, "augment": "strong", "mixup": 0.4, "dropout": 0.2}
    first, again, other = (beholder.train(parts, seed=seed, **fields) for seed in (1, 1, 2))
    assert _same(first, again)
    assert not _same(first, other)


PAIRS = [
    ("logistic", "sgd"),
    ("mlp", "adam"),
    ("cnn", "adamw"),
    ("fastnet", "muon"),
    ("fastnet", "sphere"),
    ("resnet", "sgd"),
    ("cnn", "muon"),
    ("fastnet", "adamw"),
]


@pytest.mark.parametrize(("net", "optimiser"), PAIRS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_on_a_cpu_every_net_and_optimiser_gives_the_same_bits_twice(
    parts: beholder.Parts, net: str, optimiser: str, precision: str
) -> None:
    fields = {"net": net, "optimiser": optimiser, "precision": precision, "epochs": 1, "batch": 8, "width": 0.25}
    fields |= {"cutmix": 0.5, "augment": "strong", "clip": 1.0}
    assert _same(beholder.train(parts, **fields), beholder.train(parts, **fields))


def test_the_test_part_is_never_read(parts: beholder.Parts) -> None:
    class Sealed:
        name = "sealed"

        def read(self, key: str) -> bytes:
            raise AssertionError(f"{key} was read")

        def stamp(self, key: str) -> str:
            return ""

    sealed = replace(parts, test=replace(parts.test, store=Sealed()))
    bundle = beholder.train(sealed, net="logistic", epochs=1)
    assert bundle.readings == []
    assert bundle.config.parts["test"] == len(parts.test)


def test_what_was_decided_is_said_and_kept(parts: beholder.Parts) -> None:
    heard: list[events.Event] = []
    with events.listen(heard.append, alone=True):
        bundle = beholder.train(parts, epochs=1)
    said = [event.message for event in heard if event.kind == "note"]
    for words in ("net: ", "pixels: ", "first step: activations", "augmentation: ", "starts from random weights"):
        assert any(message.startswith(words) or words in message for message in said), words
        assert any(words in note for note in bundle.config.notes), words
    progress = [event.fields for event in heard if event.name == "training"]
    numbers = {"epoch", "step", "loss", "accuracy", "lr", "rate", "seconds", "left", "done", "total"}
    assert {type(progress[0][name]) for name in numbers} <= {int, float}
    (epoch,) = [event.fields for event in heard if event.name == "epoch"]
    assert epoch["valid_score"] == pytest.approx(bundle.history[-1]["valid_score"], rel=1e-5)
    assert epoch["best"] in (True, False)
    assert [event.fields["number"] for event in heard if event.kind == "step"] == [2, 3, 4, 5]


def test_a_streamed_run_says_how_long_it_waited(parts: beholder.Parts) -> None:
    heard: list[events.Event] = []
    fields = {"net": "logistic", "epochs": 2, "batch": 8, "augment": "none", "precision": "fp32"}
    with events.listen(heard.append, alone=True):
        beholder.train(parts, **fields)
        assert not [event for event in heard if "stall" in event.fields], "these pixels stay in memory"
        streamed = beholder.train(parts, size=256, memory=1, **fields)
    (said,) = [event for event in heard if "stall" in event.fields]
    assert "waited" in said.message
    assert said.fields["stall"] >= 0
    assert 0 <= said.fields["share"] < 1
    assert _same(streamed, beholder.train(parts, size=256, **fields))


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "muon"])
@pytest.mark.parametrize("schedule", ["onecycle", "cosine", "trapezoid", "constant"])
def test_every_optimiser_goes_with_every_schedule(parts: beholder.Parts, name: str, schedule: str) -> None:
    bundle = beholder.train(parts, net="cnn", epochs=2, batch=8, optimiser=name, schedule=schedule, clip=1.0)
    assert math.isfinite(bundle.history[-1]["loss"])


def test_early_stop_waits_for_patience(parts: beholder.Parts) -> None:
    bundle = beholder.train(parts, net="cnn", epochs=40, patience=5, batch=8)
    history = bundle.history
    assert history[-1]["epoch"] < 40
    best = next(row for row in history if row["valid_score"] == bundle.config.valid_score)
    assert history[-1]["epoch"] - best["epoch"] == 5


def test_the_best_on_validation_is_kept(parts: beholder.Parts) -> None:
    bundle = beholder.train(parts, net="mlp", epochs=4, batch=8, averaging=0.0, augment="none", precision="fp32")
    assert bundle.config.valid_score == max(row["valid_score"] for row in bundle.history)
    images = np.stack([bundle.pixels(parts.valid.store.read(key)) for key in parts.valid.keys])
    guessed = bundle.probabilities(images).argmax(1)
    assert (guessed == parts.valid.targets).mean() == pytest.approx(bundle.config.valid_score)


def test_class_weights_and_averages_change_the_result(parts: beholder.Parts) -> None:
    few = replace(parts, train=parts.train.take(np.flatnonzero(np.arange(len(parts.train)) % 3 > 0)))
    fields = {"net": "cnn", "epochs": 1, "batch": 8}
    plain = beholder.train(few, **fields)
    assert not _same(plain, beholder.train(few, averaging=0.0, **fields))
    kept = (parts.train.targets > 0) | (np.arange(len(parts.train)) % 2 > 0)
    few = replace(parts, train=parts.train.take(np.flatnonzero(kept)))
    assert not _same(beholder.train(few, **fields), beholder.train(few, class_weights="balanced", **fields))


def test_minutes_bound_the_time(parts: beholder.Parts) -> None:
    began = time.monotonic()
    bundle = beholder.train(parts, net="cnn", epochs=100_000, minutes=0.1)
    assert time.monotonic() - began < 12
    assert bundle.history[-1]["lr"] < 1e-3


class _SignalAt:
    """A sink that sends this process a signal when training reports the given step."""

    def __init__(self, step: int, number: int = signal.SIGINT) -> None:
        self.step, self.number = step, number

    def __call__(self, event: events.Event) -> None:
        if event.message == "training" and event.fields["done"] == self.step:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize(
    ("number", "code", "net", "optimiser", "step"),
    [
        (signal.SIGINT, 130, "fastnet", "muon", 8),
        (signal.SIGTERM, 143, "cnn", "adamw", 7),
        (signal.SIGINT, 130, "resnet", "sgd", 9),
    ],
)
def test_an_interrupted_run_saves_its_best_and_goes_on_bit_identically(
    parts: beholder.Parts, tmp_path: Path, number: int, code: int, net: str, optimiser: str, step: int
) -> None:
    fields = {"net": net, "optimiser": optimiser, "width": 0.25, "epochs": 6, "batch": 8, "mixup": 0.3, "seed": 3}
    whole = beholder.train(parts, out=tmp_path / "whole.beholder", **fields)
    out = tmp_path / "cut.beholder"
    with events.listen(_SignalAt(step, number), alone=True), pytest.raises(Interrupted) as caught:
        beholder.train(parts, out=out, **fields)
    assert caught.value.exit_code == code
    assert "--resume" in caught.value.hint
    assert beholder.load(out).config.interrupted
    assert (tmp_path / "cut.run" / "checkpoint" / "state.json").is_file()
    resumed = beholder.train(parts, out=out, resume=True, workers=2, memory=64, **fields)  # neither can change the result
    assert _same(whole, resumed)
    assert [row["valid_score"] for row in whole.history] == [row["valid_score"] for row in resumed.history]
    assert not (tmp_path / "cut.run").exists()
    assert not beholder.load(out).config.interrupted


def test_the_scaler_of_fp16_is_part_of_the_checkpoint(
    parts: beholder.Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins too high and leaves out steps until it is low enough, so a resumed run with a new one would end elsewhere."""
    high = 2.0**24
    monkeypatch.setattr("beholder.learn.run.scaler", lambda *_: torch.amp.GradScaler("cpu", init_scale=high))
    fields = {"net": "cnn", "epochs": 5, "batch": 8, "precision": "fp16", "augment": "none"}
    whole = beholder.train(parts, **fields)
    assert whole.config.precision == "fp16"
    out = tmp_path / "cut.beholder"
    with events.listen(_SignalAt(7), alone=True), pytest.raises(Interrupted):
        beholder.train(parts, out=out, **fields)
    state = json.loads((tmp_path / "cut.run" / "checkpoint" / "state.json").read_text())
    assert 0 < state["scaler"]["scale"] < high
    assert _same(whole, beholder.train(parts, out=out, resume=True, **fields))


def test_a_finished_bundle_is_not_replaced_by_an_interrupted_run(parts: beholder.Parts, tmp_path: Path) -> None:
    out = tmp_path / "m.beholder"
    finished = beholder.train(parts, out=out, net="cnn", epochs=2, batch=8)
    with events.listen(_SignalAt(1), alone=True), pytest.raises(Interrupted, match="as it was"):
        beholder.train(parts, out=out, net="mlp", epochs=5, batch=8)
    assert _same(beholder.load(out), finished)


def test_resuming_something_else_is_refused(parts: beholder.Parts, tmp_path: Path) -> None:
    out = tmp_path / "cut.beholder"
    with events.listen(_SignalAt(2), alone=True), pytest.raises(Interrupted):
        beholder.train(parts, out=out, net="cnn", epochs=5, batch=8)
    with pytest.raises(UsageError, match="recipe"):
        beholder.train(parts, out=out, net="cnn", epochs=6, batch=8, resume=True)


class Poison:
    """The single-label task whose loss is NaN at the given steps, counted from 0."""

    def __init__(self, *steps: int) -> None:
        self.steps, self.step, self.task = steps, -1, single.SINGLE.turns

    def __call__(self, *given: object, **options: object) -> Iterator[Turn]:
        self.step += 1
        for turn in self.task(*given, **options):
            yield replace(turn, loss=turn.loss * math.nan) if self.step in self.steps else turn


def _train_poisoned(
    parts: beholder.Parts, monkeypatch: pytest.MonkeyPatch, *steps: int, **fields: object
) -> tuple[beholder.Bundle, list[str]]:
    monkeypatch.setattr(single, "SINGLE", replace(single.SINGLE, turns=Poison(*steps)))
    heard: list[events.Event] = []
    with events.listen(heard.append, alone=True):
        bundle = beholder.train(parts, net="cnn", epochs=6, batch=8, **fields)
    return bundle, [event.message for event in heard if event.kind == "warn"]


@pytest.mark.parametrize("eager", [True, False])
def test_a_loss_that_is_not_finite_leads_back_to_the_last_good_state_at_half_the_rate(
    parts: beholder.Parts, monkeypatch: pytest.MonkeyPatch, eager: bool
) -> None:
    if not eager:
        monkeypatch.setattr(run, "Guard", lambda keys, **_: Guard(keys, eager=False))
    fields = {"schedule": "constant", "lr": 0.01, "optimiser": "adamw", "seed": 1}
    bundle, warned = _train_poisoned(parts, monkeypatch, 10, **fields)
    assert [warning for warning in warned if "at step 10 (pictures " in warning and ".png" in warning]
    assert all(bool(torch.isfinite(value).all()) for value in _weights(bundle).values())
    assert bundle.history[-1]["lr"] == pytest.approx(0.005)
    assert bundle.config.valid_score == 1.0


def test_a_run_that_diverges_twice_stops_and_keeps_its_best_and_its_checkpoint(
    parts: beholder.Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "nan.beholder"
    with pytest.raises(NotFiniteError, match=r"half the rate too.*at step 12.*the best so far is in") as caught:
        _train_poisoned(parts, monkeypatch, 10, 13, out=out)
    assert len(caught.value.keys) == 8
    assert set(caught.value.keys) <= set(parts.train.keys)
    kept = beholder.load(out)
    assert kept.config.interrupted
    assert all(bool(torch.isfinite(value).all()) for value in _weights(kept).values())
    state, tensors = RunFolder.beside(out).load()
    assert state["at"]["slowed"] == 0.5
    assert all(bool(torch.isfinite(value.float()).all()) for value in tensors.values())


def test_a_gradient_that_is_not_finite_is_caught_too(parts: beholder.Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    real = loop.gradient_norm
    norms = iter([1.0, 1.0, math.inf, *[1.0] * 100])
    monkeypatch.setattr(loop, "gradient_norm", lambda net, clip: real(net, clip) * next(norms))
    heard: list[events.Event] = []
    with events.listen(heard.append, alone=True):
        beholder.train(parts, net="cnn", epochs=2, batch=8)
    assert any("the gradients became inf at step 2" in event.message for event in heard if event.kind == "warn")


def test_training_works_off_the_main_thread(parts: beholder.Parts) -> None:
    found = []
    thread = threading.Thread(target=lambda: found.append(beholder.train(parts, net="logistic", epochs=1)))
    thread.start()
    thread.join()
    assert found[0].config.classes == ("healthy", "mildew", "rust")


def test_bad_pictures_are_left_out_and_named(leaves: Path) -> None:
    (leaves / "rust" / "00.png").write_bytes((leaves / "rust" / "00.png").read_bytes()[:60])
    parts = beholder.split(beholder.scan(leaves), seed=0)
    bundle = beholder.train(parts, net="logistic", epochs=1)
    note = [words for words in bundle.config.notes if "could not be read" in words]
    assert bool(note) == any("rust/00.png" in part.keys for part in (parts.train, parts.valid))
    with pytest.raises(DataError):
        beholder.train(replace(parts, valid=parts.train), net="logistic", epochs=1, on_bad="stop") if note else _raise()


def _raise() -> None:
    raise DataError("the bad picture is in the test part", code="none")


def test_wrong_fields_are_refused_at_once(parts: beholder.Parts) -> None:
    with pytest.raises(UsageError, match="epoch"):
        beholder.train(parts, epoch=3)
    with pytest.raises(UsageError, match=r"train\.lr"):
        beholder.train(parts, lr="fast")
    with pytest.raises(UsageError, match="no recipe"):
        beholder.train(parts, recipe="quikc")


def test_a_training_part_of_one_class_is_not_learnt_from(parts: beholder.Parts) -> None:
    single = replace(parts, train=parts.train.take(np.flatnonzero(parts.train.targets == 0)))
    with pytest.raises(DataError) as caught:
        beholder.train(single, net="logistic", epochs=1)
    assert caught.value.code == "one-class"


def test_frozen_layers_keep_their_weights_and_their_statistics(parts: beholder.Parts, tmp_path: Path) -> None:
    first = beholder.train(parts, net="resnet", epochs=1, batch=8, width=0.25)
    first.save(tmp_path / "first.beholder")
    weights = str(tmp_path / "first.beholder" / "model.safetensors")
    fields = {"probe": False, "averaging": 0.0, "freeze": 0.5}  # with a probe the best weights may be those before training
    tuned = beholder.train(parts, net="resnet", weights=weights, epochs=2, batch=8, width=0.25, **fields)
    before, after = _weights(first), _weights(tuned)
    where = layers(first.net)
    fixed = {name.rpartition(".")[0] for name in where if where[name] < int(0.5 * (max(where.values()) + 1))}
    assert fixed
    for name, value in before.items():
        if name.rpartition(".")[0] in fixed:
            assert torch.equal(after[name], value), name
    assert not torch.equal(after["head.weight"], before["head.weight"])
    moved = [name for name, value in before.items() if name.endswith("running_mean") and not torch.equal(after[name], value)]
    assert moved, "norms that are not frozen see the new pictures"
    assert all(p.requires_grad for p in tuned.net.parameters())


def test_frozen_modules_are_in_evaluation_mode_in_every_step(parts: beholder.Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    frozen, steps = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5)), []
    monkeypatch.setattr("beholder.learn.run.freeze", lambda net, share: [net.add_module("frozen", frozen), frozen][1:])
    learn = loop.Run._learn

    def learning(run: loop.Run, batch: Any) -> None:
        steps.append((run.at.epoch, run.net.training, [module.training for module in frozen.modules()]))
        learn(run, batch)

    monkeypatch.setattr(loop.Run, "_learn", learning)
    beholder.train(parts, net="cnn", width=0.25, epochs=3, batch=8, averaging=0.0)
    assert {epoch for epoch, *_ in steps} == {0, 1, 2}, "validation comes in between"
    assert {training for _, training, _ in steps} == {True}
    assert not any(any(modes) for *_, modes in steps)


def test_pictures_that_grow_have_their_full_size_for_the_last_fifth_of_training(
    draw: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    resized = forward.resized

    def told(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        sizes.append(size[0])
        return resized(images, size)

    monkeypatch.setattr(forward, "resized", told)
    parts = beholder.split(beholder.scan(draw(tmp_path / "squares", size=(32, 32))), seed=0)
    beholder.train(parts, net="fastnet", width=0.25, epochs=10, batch=8, grow=0.5)
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (16, 32)
    assert 0.2 <= sizes.count(32) / len(sizes) <= 0.35


def test_a_profile_counts_pictures_as_large_as_they_were(draw: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = beholder.split(beholder.scan(draw(tmp_path / "squares", size=(32, 32))), seed=0)
    monkeypatch.setattr(finish, "peak", lambda *_: 1e12)
    flop = []
    for grow in (1.0, 0.5):
        with recorded():
            bundle = beholder.train(parts, net="fastnet", width=0.25, epochs=10, batch=8, grow=grow, precision="fp32")
        profile = bundle.config.profile
        flop.append(profile["tflops"] / profile["pictures_per_second"])
    assert 0.3 < flop[1] / flop[0] < 0.9
