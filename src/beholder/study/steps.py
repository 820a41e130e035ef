"""The six steps in order: from a source to a tested bundle with its report."""

from __future__ import annotations

import dataclasses
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beholder.base import events
from beholder.base.errors import DataError, Interrupted
from beholder.base.recipe import Recipe
from beholder.base.records import Parts, Pictures
from beholder.base.spans import current, recorded, span
from beholder.bundle.bundle import Bundle, load
from beholder.bundle.format import finished
from beholder.data.digest import digested
from beholder.data.facts import facts
from beholder.data.sources import scan
from beholder.learn.checkpoint import RunFolder, check_out
from beholder.learn.profile import renewed
from beholder.learn.profile import text as profile_text
from beholder.learn.train import comparable, splits_of, train
from beholder.machine.stop import terminating
from beholder.nets.build import wants
from beholder.nets.pretrained import weights_file
from beholder.study.mend import Mended, check_readable, mended
from beholder.use.evaluate import Evaluation, beside_leaks, evaluate
from beholder.use.report import report as write_report
from beholder.use.report.audited import seconds as showing
from beholder.use.sections import chosen, examined, looked


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one run made: the bundle (saved at `path` unless None), its evaluation on the test part, the seconds it took.

    example: what a person might give `predict` next; profile: where the time went, where that was asked for
    """

    bundle: Bundle
    evaluation: Evaluation
    path: Path | None
    seconds: float
    example: str = "PICTURE…"
    profile: dict[str, Any] | None = None

    def json(self) -> dict[str, Any]:
        """Return {"bundle", "net", "seconds", "parts", "scores"} and, where there is one, "profile", as plain JSON values."""
        return {
            **({"profile": self.profile} if self.profile else {}),
            "bundle": str(self.path) if self.path is not None else None,
            "net": self.bundle.config["net"]["name"],
            "seconds": round(self.seconds, 2),
            "parts": self.bundle.config["parts"],
            "scores": self.evaluation.json()["scores"],
        }

    def __str__(self) -> str:
        lines = [
            "test part:",
            str(self.evaluation),
            "",
            f"net {self.bundle.config['net']['name']}, {self.seconds:.0f} s in all",
        ]
        if self.path is not None:
            lines += [
                f"bundle {self.path}",
                f"report {self.path / 'report.html'}",
                "",
                f"next: {_command()} predict {self.path} {self.example}",
            ]
        return "\n".join(lines)


def _command() -> str:
    """Return how this person can call `beholder`: by its name, or by its path where it is in no folder of PATH."""
    called = Path(sys.argv[0])
    return str(called) if called.name == "beholder" and shutil.which("beholder") is None else "beholder"


def steps(
    source: str | Path | tuple[Any, Any] | Pictures,
    *,
    recipe: Recipe,
    out: Path | None = None,
    resume: bool = False,
    profile: bool = False,
    lang: str = "en",
    began: float | None = None,
    allow_download: bool = False,
) -> Outcome:
    """Take `source` through the six steps: preprocess, build, initialise, train, validate, test.

    source: what `scan` takes, or Pictures. With `out` the bundle, its scores and report.html are saved there.
    profile: measure where the time goes, say it, and show it in the report
    lang: the language of the report, en | zh
    began: `time.monotonic()` from which the time counts; default now
    allow_download: fetch a source that is not on this machine
    The test part is read once, at the end. Raises what `scan`, `split`, `train` and `evaluate` raise.
    """
    began = time.monotonic() if began is None else began
    if out is not None:
        check_out(out)
    with terminating(), recorded(began=began) if profile else nullcontext():
        parts = preprocess(source, recipe, allow_download=allow_download)
        return train_and_test(parts, recipe, out=out, resume=resume, lang=lang, began=began)


def train_and_test(
    mended: Mended,
    recipe: Recipe,
    *,
    out: Path | None = None,
    resume: bool = False,
    lang: str = "en",
    began: float | None = None,
) -> Outcome:
    """Train on the parts, then read the test part once; steps 2 to 6. `began`: when the budget of minutes started."""
    began = time.monotonic() if began is None else began
    parts = mended.parts
    bundle = _untested(out, parts, recipe) if resume and out is not None else None
    if bundle is None:
        after = showing(mended.findings) if out is not None and recipe.train.minutes else 0.0
        bundle = train(parts, recipe=recipe, out=out, resume=resume, began=began, after=after, again=looked(len(parts.test)))
    with _kept(out):
        evaluation = _tested(bundle, mended, recipe, out=out, lang=lang)
    profile = _renew_profile(bundle)
    if profile is not None:
        events.note(profile_text(profile), profile=profile)
    return Outcome(bundle, evaluation, out, time.monotonic() - began, profile=profile)


def _tested(bundle: Bundle, mended: Mended, recipe: Recipe, *, out: Path | None, lang: str) -> Evaluation:
    """Read the test part and write what it says into the bundle, and with `out` the bundle and its report there; step 6."""
    parts, findings = mended.parts, mended.findings
    events.step(6, "test", f"{len(parts.test)} pictures that nothing so far has seen")
    with span("evaluate"):
        evaluation = beside_leaks(bundle, evaluate(bundle, parts.test), parts.test, mended.leaked)
        evaluation = examined(bundle, evaluation, chosen("usual"))
    bundle.scores = evaluation.json()
    bundle.config["audit"] = mended.json(recipe.data.audit)
    bundle.audit = findings.csv(done=mended.done) if findings is not None else ""
    _renew_profile(bundle)
    if out is not None:
        bundle.save(out)
        with span("save"):
            write_report(bundle, evaluation, out / "report.html", findings=findings, lang=lang)
    return evaluation


@contextmanager
def _kept(out: Path | None) -> Iterator[None]:
    """Say of an interruption inside the block that the bundle at `out` is trained, and how its test is made up for."""
    try:
        yield
    except (Interrupted, KeyboardInterrupt) as stopped:
        if out is None or not finished(out):
            raise
        message = f"interrupted in the test; {out} is trained and kept, but its test is not over"
        code = stopped.exit_code if isinstance(stopped, Interrupted) else Interrupted.exit_code
        raise Interrupted(message, hint="run again with --resume to test it", exit_code=code) from stopped


def _renew_profile(bundle: Bundle) -> dict[str, Any] | None:
    """Bring the profile that a bundle carries up to now and return it; None where no time is recorded."""
    ledger = current()
    if ledger is None:
        return None
    found = bundle.config["profile"] = renewed(bundle.config.get("profile", {}), ledger)
    return found


def _untested(out: Path, parts: Parts, recipe: Recipe) -> Bundle | None:
    """Return the bundle at `out` if its run is over and only the test may be missing: it was interrupted after training."""
    if not finished(out):
        return None
    bundle = load(out, trust=True)
    net = bundle.recipe.net if recipe.net.name == "auto" else dataclasses.replace(recipe.net, width=bundle.recipe.net.width)
    same = comparable(bundle.recipe) == comparable(dataclasses.replace(recipe, net=net))
    if not same or bundle.splits != splits_of(parts):
        return None
    events.note(f"{out} is trained already; " + ("it is tested again" if bundle.scores else "what it lacks is the test"))
    RunFolder.beside(out).discard()
    return bundle


def _check_net(recipe: Recipe) -> None:
    """Raise `UsageError` for a net or weights that cannot be had, before any picture is looked at."""
    if recipe.net.name != "auto":
        wants(recipe.net)
    elif recipe.net.weights not in ("auto", "none"):
        weights_file(recipe.net.weights)


def preprocess(source: str | Path | tuple[Any, Any] | Pictures, recipe: Recipe, *, allow_download: bool = False) -> Mended:
    """Return the three parts of a source: read, fingerprinted, examined and split."""
    _check_net(recipe)
    events.step(1, "data preprocessing", str(source) if isinstance(source, (str, Path)) else "pictures in memory")
    with span("decode"):
        pictures = source if isinstance(source, Pictures) else scan(source, allow_download=allow_download)
    for note in pictures.notes:
        events.note(note)
    with span("decode"):
        pictures = digested(pictures)
    with span("audit"):
        found = mended(pictures, recipe)
    parts = found.parts
    empty = [name for name, part in parts.items() if not len(part)]
    if empty:
        check_readable(pictures, facts(pictures))
        raise DataError(
            f"nothing is left for the {' and the '.join(empty)} part: too many pictures are twins or of one group",
            code="too-few-pictures",
            hint="give pictures of more groups (people, patients, plates), or a larger data.valid and data.test",
        )
    shares = ", ".join(f"{name} {len(part)}" for name, part in parts.items())
    labels = "several labels a picture" if pictures.multi else "one label a picture"
    left = sum(len(part) for _, part in parts.items())
    events.note(f"{left} pictures in {len(parts.train.classes)} classes ({labels}): {shares}")
    return found
