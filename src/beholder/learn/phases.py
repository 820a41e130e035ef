"""The two phases in which a detector learns: its head on cached maps of the frozen backbone, then all of it."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from beholder.base import events
from beholder.base.deadline import Deadline
from beholder.base.records import Parts
from beholder.base.spans import span
from beholder.bundle.config import Tried
from beholder.bundle.detector import Detector, detected
from beholder.bundle.format import finished
from beholder.data.augment import Augment
from beholder.data.boxed import BoxedBatches
from beholder.data.views import OnMaps, Views
from beholder.learn.checkpoint import RunFolder, Saves
from beholder.learn.clock import Clock
from beholder.learn.detected_run import identity_of, keep_sample, machine_of, step_of
from beholder.learn.finish import splits_of
from beholder.learn.frozen import settled
from beholder.learn.located import Seeing, looking, operating, scored_by
from beholder.learn.loop import Run, Settings
from beholder.learn.monitors import Average, Best, Guard, NotFiniteError, Player, Validation
from beholder.learn.optim import cosine
from beholder.learn.sighted import Sighted, weights_of
from beholder.learn.train import saved_cut
from beholder.machine.device import free_memory, scaler, telling_memory
from beholder.machine.devices import kind
from beholder.machine.info import machine
from beholder.machine.pace import contended, quickest
from beholder.machine.placement import evaluating
from beholder.machine.stop import Stop
from beholder.measure.detections import Detected
from beholder.tasks.detect import turns

EPOCHS, ENDLESS = 24, 100_000
"""Epochs of each phase where the recipe says nothing, and of one that only its time ends."""

VIEWS = 4
"""Views of each picture that the backbone looks at where there is no budget; with one, as many as there is time for."""

HEAD, LOOKING, MOST_VIEWS = 0.3, 0.35, 12
"""Share of the time left that the head may take, and of that for looking at the views; and the most of these."""

MAPS, ONCE = 0.25, 0.2
"""Share of the free memory that the maps may take, and of the time left that looking at all pictures once may take."""

STEP = 5.0
"""What a step of the whole net costs, as a multiple of looking: an estimate by which it is decided whether it is tried."""

PASS = 2.0
"""What validating a picture costs, as a multiple of looking at it."""

FEWEST_EPOCHS = 3
"""Epochs of the whole net that there has to be time for."""

RATE, WHOLE, BELOW, DECAY = 1e-3, 0.5, 0.3, 0.02
"""Rate of the head; factors on it when all learns, and on that of a pretrained backbone; weight decay."""

CLIP = 10.0
"""Largest norm of the gradient."""

SCORED_EVERY = (3000, 800)
"""Pictures learnt from between two validations, about: of the head, and of all."""


@dataclass
class Phases:
    """A run of both phases. made: `learn.detect.Made`; after: seconds of the budget that the caller needs afterwards."""

    made: Any
    parts: Parts
    folders: Any
    stop: Stop
    resume: bool
    until: Deadline
    after: float
    path: Path | None
    began: float = field(default_factory=time.monotonic)
    history: list[dict[str, Any]] = field(default_factory=list)
    tried: list[Tried] = field(default_factory=list)

    def go(self) -> Detector:
        """Train and return the detector. Raises `Interrupted` and `NotFiniteError`, once what was learnt is saved."""
        whole = None if self.folders is None else self.folders.whole
        going_on = whole is not None and self.resume and bool(whole.chosen())
        if going_on and whole is not None:
            self._recall(whole.decided())
        elif self._heads_first and self._affords_maps():
            self._run(self._head(), "head")
            if self.time_left < FEWEST_EPOCHS * self._epoch_seconds:
                self.made.said(f"there is no time for {FEWEST_EPOCHS} epochs of the whole net: its backbone stays as it was")
                return self._finished(None)
            self._keep_first()
        run = self._whole(whole, going_on=going_on)
        self._run(run, "training")
        return self._finished(run)

    @property
    def time_left(self) -> float:
        """Return the seconds that there are for training; infinite without a budget."""
        return math.inf if self.until.none else max(0.0, self.until.left - self.after)

    @property
    def _heads_first(self) -> bool:
        return self.made.recipe.detect.views >= 0 and self.made.config.initial_weights is not None

    _epoch_seconds: float = 0.0
    _look: float = 0.0
    """Seconds in which the backbone looks at a picture, as far as known."""

    def _affords_maps(self) -> bool:
        """Return whether memory and time hold the maps of all pictures, after a try on some; what cannot be is said."""
        made, n = self.made, len(self.made.train) + len(self.made.valid)
        some = self._batches(made.train, Augment()).at(0, torch.arange(min(made.batch, len(made.train))))
        images = some.images.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), evaluating(made.net), made.autocast():
            made.net.maps(images)
            began = time.monotonic()
            maps = made.net.maps(images)
        self._look = (time.monotonic() - began) / len(images)
        room, needed = MAPS * free_memory(torch.device("cpu")), n * sum(x[0].numel() * 2 for x in maps)
        if needed <= room and self._look * n <= ONCE * self.time_left:
            return True
        size = f"{needed / 2**30:.1f} GiB and {self._look * n:.0f} s"
        made.said(f"maps of a frozen backbone would take {size} of {n:,} pictures: all is trained at once")
        return False

    def _run(self, run: Run, rung: str) -> None:
        """Train in one phase; what is cut short is saved."""
        began, first = time.monotonic() - self.began, len(self.history)
        try:
            with telling_memory(run.batches.batch), self.stop.held():
                run.go()
            self.stop.check()
        except (KeyboardInterrupt, NotFiniteError) as error:
            with self.stop.held():
                run.keep()
                self._take(run)
                raise saved_cut(error, self._finished(run, cut=True), run, self.path) from error
        self._take(run)
        self.history += [{**row, "phase": rung} for row in run.at.history]
        curve = tuple((began + row["seconds"], row["valid_score"]) for row in self.history[first:])
        score = run.best.score if math.isfinite(run.best.score) else None
        what = "head on the frozen backbone" if rung == "head" else f"{self.made.config.net.backbone}, all but its first layers"
        steps = f"{run.clock.step} steps"
        self.tried.append(Tried(rung, what, score, len(self.made.valid), began, run.clock.spent, steps, curve))

    def _take(self, run: Run) -> None:
        """Put the best weights of a phase into the net."""
        if run.best.weights:
            run.net.load_state_dict(run.best.weights)

    def _recall(self, decided: Mapping[str, Any]) -> None:
        self.history = list(decided.get("history", ()))
        self.tried = [Tried(**{**row, "curve": tuple(map(tuple, row["curve"]))}) for row in decided.get("tried", ())]

    def _head(self) -> Run:
        """Return the run of the head on cached maps, before its first step or where it was left."""
        made, folder = self.made, None if self.folders is None else self.folders.head
        identity = identity_of(made)
        going_on = folder is not None and folder.begin(
            identity, resume=self.resume and bool(folder.chosen()), machine=machine_of(made)
        )
        seconds = HEAD * self.time_left
        until, least = time.monotonic() + seconds, (1 - LOOKING) * seconds
        views, shapes = self._seen(seconds, int(folder.decided().get("views", 0)) if going_on and folder else 0)
        net = OnMaps(made.net.head, shapes).to(made.on)
        if folder is not None and not going_on:
            keep_sample(made, folder, budget=not self.until.none)
            folder.decide({"views": views.views})
        score = scored_by(self._looking(shapes), made.valid.boxes, len(made.config.classes))
        lead = self._player(net, made.recipe.train.lr or RATE, {})
        return self._made_run(net, lead, views, score, folder, going_on, 0, max(least, until - time.monotonic()), [])

    def _seen(self, seconds: float, views: int) -> tuple[Views, list[tuple[int, int, int]]]:
        """Return the views of the training pictures: so many, or as many as there is time and memory for."""
        made = self.made
        found = Views(self._batches(made.train, made.plan), made.net.maps)
        asked = views or made.recipe.detect.views or (VIEWS if self.until.none else 0)
        began = time.monotonic()
        with span("features"), evaluating(made.net):
            found.see(autocast=made.autocast)
            each = max(1e-3, time.monotonic() - began)
            fits = max(1, 1 + int(MAPS * free_memory(torch.device("cpu")) / max(1, found.bytes)))
            wanted = min(fits, asked or min(MOST_VIEWS, int(LOOKING * seconds / each)))
            while found.views < wanted and not self.stop:
                events.progress("looking", found.views, wanted)
                found.see(autocast=made.autocast)
        self._epoch_seconds = STEP * each
        if found.views < asked:
            made.said(f"memory holds {found.views} views of each picture, not {asked}")
        made.said(f"the frozen backbone looked at {found.views} views of {found.n:,} pictures, {each:.1f} s each")
        return found, found.shapes

    def _looking(self, shapes: list[tuple[int, int, int]]) -> Seeing:
        """Return what looks for boxes in the validation part by its cached maps."""
        made = self.made
        plain = Views(self._batches(made.valid, Augment()), made.net.maps)
        with evaluating(made.net):
            plain.see(autocast=made.autocast)

        @torch.inference_mode()
        def see(net: nn.Module, enough: Callable[[], bool]) -> list[Detected] | None:
            found: list[Detected] = []
            with evaluating(net):
                for rows in plain.rows():
                    if enough():
                        return None
                    with made.autocast():
                        seen = net(rows.to(made.on))
                    found += detected(seen, made.config)
            return found

        return see

    def _whole(self, folder: RunFolder | None, *, going_on: bool) -> Run:
        """Return the run of the whole net, before its first step or where it was left."""
        made = self.made
        going_on = folder is not None and folder.begin(identity_of(made), resume=going_on, machine=machine_of(made))
        if folder is not None and not going_on:
            keep_sample(made, folder, budget=not self.until.none)
            folder.decide({"history": self.history, "tried": [dataclasses.asdict(row) for row in self.tried]})
        pretrained = made.config.initial_weights is not None
        frozen = settled(made.net, made.config.pixels.channels) if pretrained else []
        see = looking(made.valid.material.pixels, made.config, made.precision, made.on)
        score = scored_by(see, made.valid.boxes, len(made.config.classes))
        rate = (made.recipe.train.lr or RATE) * (WHOLE if self._heads_first else 1.0)
        factors = {name: BELOW for name, _ in made.net.named_parameters() if name.startswith("backbone.")} if pretrained else {}
        lead = self._player(made.net, rate, factors)
        if lead.best is not None and self.tried and self.tried[-1].score is not None:  # what the head reached has to be beaten
            lead.best.offer(made.net, score=self.tried[-1].score, loss=1 - self.tried[-1].score, epoch=-1)
        batches = self._batches(made.train, made.plan)
        return self._made_run(made.net, lead, batches, score, folder, going_on, 1, self.time_left, frozen)

    def _player(self, net: nn.Module, rate: float, factors: Mapping[str, float]) -> Player:
        asked = self.made.recipe.train
        decay = DECAY if asked.weight_decay < 0 else asked.weight_decay
        groups: dict[tuple[float, bool], list[Tensor]] = {}
        for name, weight in net.named_parameters():
            if weight.requires_grad:
                groups.setdefault((factors.get(name, 1.0), weight.ndim > 1), []).append(weight)
        made = [
            {"params": weights, "lr": rate * factor, "weight_decay": decay if decays else 0.0}
            for (factor, decays), weights in sorted(groups.items(), key=lambda row: row[0])
        ]
        average = Average(net, asked.averaging) if asked.averaging > 0 else None
        return Player(net, [torch.optim.AdamW(made, fused=kind(self.made.on).fused)], average, Best())

    def _made_run(
        self,
        net: nn.Module,
        lead: Player,
        batches: Any,
        score: Any,
        folder: RunFolder | None,
        going_on: bool,
        phase: int,
        seconds: float,
        frozen: list[nn.Module],
    ) -> Run:
        made = self.made
        every = max(1, round(SCORED_EVERY[phase] / max(1, len(made.train))))
        run = Run(
            net=net,
            model=net,
            scaler=scaler(made.on, made.precision),
            turns=turns,
            players={"net": lead},
            batches=batches,
            validation=Validation(score, every, 0),
            clock=self._clock(len(batches), every, seconds),
            settings=self._settings(frozen),
            saves=Saves(folder),
            stop=self.stop,
            guard=Guard(made.train.material.pictures.keys, eager=not kind(made.on).apart),
        )
        self._settle(run, folder, going_on=going_on)
        if going_on and folder is not None:
            run.resume(folder)
        return run

    def _settle(self, run: Run, folder: RunFolder | None, *, going_on: bool) -> None:
        """Compute with the threads of a run that is resumed; on a busy machine, with those that are quickest now."""
        most = torch.get_num_threads()
        if going_on and folder is not None:
            torch.set_num_threads(int(folder.chosen().get("threads") or most))
        elif self.made.on.type == "cpu" and most > 1 and contended():
            count = quickest(step_of(run, self.made.autocast), most=most)
            if count < most:
                self.made.said(f"training with {count} of {most} threads, which is quicker at this moment")
        if folder is not None and not going_on:
            folder.renew(machine_of(self.made))

    def _clock(self, steps: int, every: int, seconds: float) -> Clock:
        epochs = self.made.recipe.train.epochs or (EPOCHS if self.until.none else ENDLESS)
        seconds = 0.0 if self.until.none else max(1.0, seconds)
        one = PASS * self._look * len(self.made.valid)
        return Clock(steps_per_epoch=steps, epochs=epochs, seconds=seconds, every=every, validation=one, after=one)

    def _settings(self, frozen: list[nn.Module]) -> Settings:
        return Settings(
            schedule=cosine,
            precision=self.made.precision,
            smoothing=0.0,
            weights=weights_of(self.made.recipe, self.made.train, self.made.on),
            clip=self.made.recipe.train.clip or CLIP,
            seed=self.made.recipe.seed,
            frozen=frozen,
            right="placed",
        )

    def _batches(self, part: Sighted, plan: Augment) -> BoxedBatches:
        made = self.made
        ground = sum(made.config.pixels.background) / (3 * 255)
        data = made.recipe.data
        return BoxedBatches(
            part.material.pixels,
            part.boxes,
            outside=ground,
            batch=made.batch,
            seed=made.recipe.seed,
            device=made.on,
            mean=made.config.mean,
            std=made.config.std,
            plan=plan,
            memory=data.memory * 2**20 or free_memory(made.on) // 4,
            workers=data.workers,
        )

    def _keep_first(self) -> None:
        """Save what the head can do already, where the run has a budget and nothing that is finished lies there."""
        if self.path is not None and not self.until.none and not finished(self.path):
            self._finished(None, cut=True).save(self.path)
            events.note(f"first detector saved: {self.path}")

    def _finished(self, run: Run | None, *, cut: bool = False) -> Detector:
        """Return the bundle of the net as it is, on the CPU, with what the validation part decides."""
        made, parts = self.made, self.parts
        net = copy.deepcopy(made.net).to("cpu").eval().to(memory_format=torch.contiguous_format).requires_grad_(True)
        see = looking(made.valid.material.pixels, made.config, made.precision, made.on)
        found = see(made.net, lambda: self.stop.late) or []
        decided = operating(found, made.valid.boxes, len(made.config.classes)) if len(found) == len(made.valid) else {}
        best = [row.score for row in self.tried if row.score is not None]
        config = dataclasses.replace(
            made.config,
            plan={"batch": made.batch, "lr": made.recipe.train.lr or RATE, "steps": 0 if run is None else run.clock.step},
            precision=made.precision.name,
            parameters=sum(p.numel() for p in net.parameters()),
            seconds=round(time.monotonic() - self.began, 2),
            machine=machine(),
            parts={name: len(part) for name, part in parts.items()},
            valid_score=max(best, default=None),
            tried=tuple(self.tried),
            notes=(*parts.train.notes, *made.said.notes),
            interrupted=cut,
            **decided,
        )
        seen = [part.material.pixels.seen(whole) for part, whole in ((made.train, parts.train), (made.valid, parts.valid))]
        return Detector(config, net, made.recipe, list(self.history), splits=splits_of(Parts(seen[0], seen[1], parts.test)))
