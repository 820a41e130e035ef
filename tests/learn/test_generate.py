"""Training of nets that make pictures: the same bits after a cut, its bundle, what is refused."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import beholder
from beholder.base import events
from beholder.base.errors import BundleError, DataError, Interrupted, UsageError
from beholder.base.files import file_sha256
from beholder.base.recipe import Recipe
from beholder.base.spans import recorded
from beholder.bundle.generator import Shape
from beholder.cli.run import run
from beholder.learn import generate as module
from beholder.learn.checkpoint import Due
from beholder.learn.generate import generate
from beholder.learn.material import Said

FIELDS: dict[str, Any] = {"epochs": 3, "batch": 8, "maps": 8, "size": 16, "averaging": 0.9, "precision": "fp32", "seed": 3}


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def parts(leaves: Path) -> beholder.Parts:
    return beholder.split(beholder.scan(leaves), seed=0)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Due, "__bool__", lambda self: True)


def weights(path: Path) -> str:
    return file_sha256(path / "model.safetensors")


@pytest.mark.parametrize("kind", ["vae", "gan"])
@pytest.mark.parametrize("step", [1, 5, 6])
def test_a_run_that_was_cut_ends_in_the_same_bits(
    parts: beholder.Parts, tmp_path: Path, eager: None, kind: str, step: int
) -> None:
    whole, out = tmp_path / "whole.beholder", tmp_path / "cut.beholder"
    generate(parts, out=whole, kind=kind, **FIELDS)

    def cut(event: events.Event) -> None:
        if event.message == "training" and event.fields["done"] == step:
            raise Killed

    with events.listen(cut, alone=True), pytest.raises(Killed):
        generate(parts, out=out, kind=kind, **FIELDS)
    assert not out.exists()
    made = generate(parts, out=out, kind=kind, resume=True, **FIELDS)
    assert weights(out) == weights(whole)
    assert not (tmp_path / "cut.run").exists()
    assert made.config.plan["steps"] == beholder.Generator.load(whole).config.plan["steps"]


@pytest.mark.parametrize("kind", ["vae", "gan"])
def test_ctrl_c_keeps_what_was_learnt_and_resume_goes_on(parts: beholder.Parts, tmp_path: Path, eager: None, kind: str) -> None:
    out = tmp_path / "g.beholder"

    def interrupt(event: events.Event) -> None:
        if event.message == "training" and event.fields["done"] == 4:
            signal.raise_signal(signal.SIGINT)

    with events.listen(interrupt, alone=True), pytest.raises(Interrupted) as found:
        generate(parts, out=out, kind=kind, **FIELDS)
    assert found.value.exit_code == 130
    assert "--resume" in found.value.hint
    assert beholder.Generator.load(out).config.interrupted
    generate(parts, out=out, kind=kind, resume=True, **FIELDS)
    assert not beholder.Generator.load(out).config.interrupted


def test_a_run_that_had_time_for_some_pictures_goes_on_with_the_same(
    parts: beholder.Parts, tmp_path: Path, eager: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = module.both_decoded, []

    def decoded(*given: Any, only: Any, **options: Any) -> Any:
        asked.append(only)
        train, valid = real(*given, only=only, **options)
        if only is None:  # there was time for twenty of them
            some = np.arange(20)
            train = replace(
                train, pictures=train.pictures.take(some), pixels=train.pixels.subset(some), targets=train.targets[:20]
            )
        return train, valid

    def cut(event: events.Event) -> None:
        if event.message == "training" and event.fields["done"] == 3:
            raise Killed

    monkeypatch.setattr(module, "both_decoded", decoded)
    out = tmp_path / "g.beholder"
    with events.listen(cut, alone=True), pytest.raises(Killed):
        generate(parts, out=out, minutes=5.0, **FIELDS)
    generate(parts, out=out, minutes=5.0, resume=True, **FIELDS)
    assert asked[0] is None
    assert len(asked[1]["train"]) == 20


def test_another_kind_does_not_go_on_with_the_run(parts: beholder.Parts, tmp_path: Path, eager: None) -> None:
    def cut(event: events.Event) -> None:
        if event.message == "training" and event.fields["done"] == 2:
            raise Killed

    with events.listen(cut, alone=True), pytest.raises(Killed):
        generate(parts, out=tmp_path / "g.beholder", kind="vae", **FIELDS)
    with pytest.raises(UsageError, match="belongs to another run") as found:
        generate(parts, out=tmp_path / "g.beholder", kind="gan", resume=True, **FIELDS)
    assert found.value.code == "other-run"


@pytest.mark.parametrize("kind", ["vae", "gan"])
def test_bundle_comes_back_with_the_same_pictures(parts: beholder.Parts, tmp_path: Path, kind: str) -> None:
    made = generate(parts, out=tmp_path / "g.beholder", kind=kind, **FIELDS)
    again = beholder.Generator.load(tmp_path / "g.beholder")
    first, labels = made.sample(10, seed=5)
    assert first.shape == (10, 3, 16, 16)
    assert labels.tolist() == [k % len(made.classes) for k in range(10)]
    assert np.array_equal(first, again.sample(10, seed=5)[0])
    assert not np.array_equal(first, again.sample(10, seed=6)[0])
    name = made.classes[1]
    assert (made.sample(3, label=name)[1] == 1).all()
    assert made.config.shares == pytest.approx((parts.train.counts() / len(parts.train)).tolist())
    assert {part for _, part in again.splits} == {"train", "valid", "test"}
    assert "Makes pictures of 16 × 16 pixels" in (tmp_path / "g.beholder" / "README.md").read_text("utf-8")


def test_a_gan_of_larger_pictures_works_on_patches_and_comes_back(parts: beholder.Parts, tmp_path: Path) -> None:
    path = tmp_path / "g.beholder"
    made = generate(parts, out=path, kind="gan", **{**FIELDS, "size": 32, "epochs": 1})
    assert (made.config.shape.patch, made.config.shape.maps) == (2, 8)
    pictures, _ = made.sample(4)
    assert pictures.shape == (4, 3, 32, 32)
    assert np.array_equal(pictures, beholder.Generator.load(path).sample(4)[0])
    auto = generate(parts, kind="gan", **{**FIELDS, "size": 32, "epochs": 1, "maps": 0})
    assert auto.config.shape.maps == 32


def test_a_config_from_before_patches_has_none() -> None:
    assert Shape("gan", 8).patch == 1


def test_loss_of_a_vae_falls_and_the_best_on_validation_is_kept(parts: beholder.Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.bounds, "SAID_ABOUT", 6)
    made = generate(parts, **(FIELDS | {"epochs": 30}))
    losses = [row["valid_loss"] for row in made.history]
    assert losses[-1] < losses[0] - 1
    assert set(made.history[0]) >= {"loss", "valid_loss", "divergence"}


def test_pictures_without_labels_are_learnt_without_classes(draw: Any, tmp_path: Path) -> None:
    flat = [str(path) for path in sorted(draw(tmp_path / "leaves", each=30).rglob("*.png"))]
    made = beholder.generate(beholder.scan(flat, labels=False), **FIELDS).generator
    assert made.classes == ()
    assert made.sample(3)[0].shape == (3, 3, 16, 16)
    with pytest.raises(UsageError, match="no class is called"):
        made.sample(3, label="oak")


def test_what_cannot_be_made_is_refused(parts: beholder.Parts, leaves: Path) -> None:
    with pytest.raises(UsageError) as found:
        generate(parts, size=128)
    assert found.value.code == "bad-size"
    with pytest.raises(UsageError) as found:
        generate(parts, mixup=0.3)
    assert found.value.code == "unused-field"
    with pytest.raises(UsageError) as found:
        beholder.steps(leaves, beta=2.0)
    assert found.value.code == "unused-field"
    with pytest.raises(UsageError) as found:
        generate(leaves)  # type: ignore[arg-type]
    assert found.value.code == "no-parts"
    few = beholder.Parts(parts.train.take(np.arange(5)), parts.valid, parts.test)
    with pytest.raises(DataError) as bad:
        generate(few, **FIELDS)
    assert bad.value.code == "too-few-pictures"


def test_a_model_and_a_generator_are_told_apart(parts: beholder.Parts, tmp_path: Path) -> None:
    made = generate(parts, out=tmp_path / "g.beholder", **(FIELDS | {"epochs": 1}))
    picture = Path(parts.test.store.name) / parts.test.keys[0]
    for given in (made, tmp_path / "g.beholder"):
        calls: list[Callable[[Any], object]] = [
            *(beholder.load, lambda it: list(beholder.predict(it, picture)), lambda it: beholder.explain(it, picture)),
            *(lambda it: beholder.evaluate(it, parts.test), lambda it: beholder.calibrate(it, parts.valid)),
            *(lambda it: beholder.compare([it, it], parts.test), lambda it: beholder.look(it, picture)),
            lambda it: beholder.train(parts, teacher=it, net="logistic", epochs=1),
        ]
        for call in calls:
            with pytest.raises(UsageError, match="makes pictures and recognises none") as found:
                call(given)
            assert (found.value.code, "sample" in found.value.hint) == ("a-generator", True)
    assert run(["predict", str(tmp_path / "g.beholder"), str(picture)]) == 2
    teacher = str(tmp_path / "g.beholder")
    with pytest.raises(UsageError, match="makes pictures"):
        beholder.tune("nowhere", minutes=1, teacher=teacher)
    beholder.train(parts, out=tmp_path / "m.beholder", net="logistic", epochs=1)
    with pytest.raises(UsageError) as wrong:
        beholder.Generator.load(tmp_path / "m.beholder")
    assert wrong.value.code == "no-generator"
    with pytest.raises(UsageError) as taken:
        generate(parts, out=tmp_path / "m.beholder", **(FIELDS | {"epochs": 1}))
    assert taken.value.code == "place-taken"
    assert beholder.load(tmp_path / "m.beholder").classes == parts.train.classes
    with pytest.raises(UsageError):
        generate(parts, kind="gan", **(FIELDS | {"epochs": 1})).bounds(
            np.zeros((1, 3, 16, 16), np.uint8), np.zeros(1, np.int64)
        )
    assert made.bounds(np.zeros((2, 3, 16, 16), np.uint8), np.zeros(2, np.int64), draws=3).shape == (3, 2)


@pytest.mark.parametrize(
    ("where", "value"),
    [("kind", "other"), ("shape.maps", 4), ("shape.kind", "flow"), ("pixels.height", 4096), ("shares", [0.5]), ("extra", 1)],
)
def test_a_config_that_does_not_fit_is_refused_by_name(parts: beholder.Parts, tmp_path: Path, where: str, value: Any) -> None:
    from beholder.bundle import format

    path = tmp_path / "g.beholder"
    generate(parts, out=path, **(FIELDS | {"epochs": 1}))
    config = json.loads((path / "config.json").read_bytes())
    config.pop("seal")
    at = config
    *sections, name = where.split(".")
    for section in sections:
        at = at[section]
    at[name] = value
    (path / "config.json").write_bytes(format._sealed(config))
    with pytest.raises((BundleError, UsageError)):
        beholder.Generator.load(path)


def test_budget_in_minutes_is_kept(parts: beholder.Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the loop ends the run: it is given the seconds that are left."""
    seen: dict[str, Any] = {}
    real = module.Clock

    def clock(**given: Any) -> Any:
        seen.update(given)
        return real(**{**given, "epochs": 1})

    monkeypatch.setattr(module, "Clock", clock)
    generate(parts, minutes=5.0, after=20.0, **{name: value for name, value in FIELDS.items() if name != "epochs"})
    assert 0 < seen["seconds"] <= 300
    assert seen["after"] == 20.0
    assert seen["epochs"] * seen["steps_per_epoch"] >= module.MOST


def made(**fields: Any) -> Any:
    recipe = Recipe().set(**{"seed": 7, **fields})
    on = torch.device("cpu")
    return SimpleNamespace(recipe=recipe, kind=module.KINDS[recipe.generate.kind], precision="fp32", on=on, said=Said())


@pytest.mark.parametrize(
    ("kind", "clip", "used", "right"), [("vae", 0.0, 1.0, "divergence"), ("gan", 0.0, 0.0, "told"), ("gan", 2.0, 2.0, "told")]
)
def test_the_loop_is_told_how_a_generator_learns(kind: str, clip: float, used: float, right: str) -> None:
    found = module._settings(made(kind=kind, clip=clip))
    assert (found.schedule, found.precision) == (module.KINDS[kind].schedule, "fp32")
    assert (found.smoothing, found.weights, found.clip, found.seed) == (0.0, None, used, 7)
    assert (found.grow, found.right) == (1.0, right)


@pytest.mark.parametrize(
    ("busy", "most", "left", "count", "tried", "said"),
    [
        (True, 4, 60.0, 2, True, ["training with 2 of 4 threads, which is quicker at this moment"]),
        (True, 4, 59.0, 2, False, []),
        (True, 4, float("inf"), 4, True, []),
        (False, 4, 600.0, 2, False, []),
        (True, 1, 600.0, 1, False, []),
    ],
)
def test_threads_are_tried_where_the_machine_is_busy_and_there_is_time(
    monkeypatch: pytest.MonkeyPatch, busy: bool, most: int, left: float, count: int, tried: bool, said: list[str]
) -> None:
    calls, renewed = [], []
    monkeypatch.setattr(module, "contended", lambda: busy)
    monkeypatch.setattr(torch, "get_num_threads", lambda: most)
    monkeypatch.setattr(module, "_step_of", lambda this: ("a step of", this))
    monkeypatch.setattr(module, "quickest", lambda work, *, most: calls.append((work, most)) or count)
    monkeypatch.setattr(module, "_machine", lambda this: {"threads": "n"})
    it = made()
    module._settle(it, SimpleNamespace(renew=renewed.append), going_on=False, left=left)  # type: ignore[arg-type]
    assert calls == [(("a step of", it), most)] * tried
    assert it.said.notes == said
    assert renewed == [{"threads": "n"}]


@pytest.mark.parametrize(("chosen", "threads"), [({"threads": "3"}, 3), ({}, 8)])
def test_a_resumed_run_takes_the_threads_that_it_had(
    monkeypatch: pytest.MonkeyPatch, chosen: dict[str, str], threads: int
) -> None:
    taken: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(torch, "set_num_threads", taken.append)
    monkeypatch.setattr(module, "quickest", lambda *_, **__: pytest.fail("tried"))
    folder: Any = SimpleNamespace(chosen=lambda: chosen, renew=lambda _: pytest.fail("renewed"))
    module._settle(made(), folder, going_on=True, left=100.0)
    assert taken == [threads]


@pytest.mark.parametrize(
    ("steps", "budget", "epochs"), [(7, False, 858), (6_000, False, 1), (10**7, False, 1), (7, True, 142_858)]
)
def test_epochs_are_those_of_so_many_steps(steps: int, budget: bool, epochs: int) -> None:
    assert module.epochs_for(steps, budget=budget) == epochs


@pytest.mark.parametrize(
    ("vary", "few", "varied"), [("auto", 10**6, True), ("auto", 10, False), ("yes", 10, True), ("no", 10**6, False)]
)
def test_what_is_made_is_decided_before_the_first_step(
    parts: beholder.Parts, monkeypatch: pytest.MonkeyPatch, vary: str, few: int, varied: bool
) -> None:
    monkeypatch.setattr(module, "FEW", few)
    recipe = Recipe().set(kind="gan", maps=4, size=8, vary=vary, precision="fp32", seed=3)
    with recorded() as ledger, events.listen(alone=True):
        found, again = (module._made(parts, recipe, module.Deadline(), only=None) for _ in range(2))
    assert set(ledger.seconds) <= {"decode", "other"}
    assert "decode" in ledger.seconds
    config = found.config
    assert (config.classes, config.several) == (parts.train.classes, False)
    assert config.shares == pytest.approx((parts.train.counts() / len(parts.train)).tolist())
    assert (config.shape.kind, config.shape.maps, config.shape.vary) == ("gan", 4, varied)
    assert (config.pixels.height, config.pixels.width) == (8, 8)
    assert (found.kind, found.precision.name, found.on.type) == (module.KINDS["gan"], "fp32", "cpu")
    assert f"gan with {sum(p.numel() for p in found.net.parameters()):,} parameters" in found.said.notes
    for one, other in zip(found.net.parameters(), again.net.parameters(), strict=True):
        assert torch.equal(one, other), "the seed says how it begins"
