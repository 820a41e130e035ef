"""The verbs that take a model of labels or a detector: each asks which it is given, and calls the one that fits."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beholder.base import events
from beholder.base.deadline import NEVER, Deadline
from beholder.base.errors import UsageError
from beholder.base.recipe import Recipe
from beholder.base.recipe import load as load_recipe
from beholder.base.records import Parts, Pictures
from beholder.base.used import refuse
from beholder.bundle.bundle import Bundle
from beholder.bundle.finder import Finder
from beholder.bundle.format import finds_boxes
from beholder.bundle.recogniser import Recogniser

if TYPE_CHECKING:
    from beholder.bundle.detector import Detector
    from beholder.evaluation.compare import Comparison
    from beholder.evaluation.detected import DetectionEvaluation
    from beholder.evaluation.detected_compare import DetectedComparison
    from beholder.evaluation.evaluate import Evaluation
    from beholder.quality.audit import Findings
    from beholder.study.dryrun import DryRun


def detects(model: object) -> bool:
    """Return whether a model, or what lies at a path, finds boxes; False for what is neither."""
    return isinstance(model, Finder) or (isinstance(model, (str, os.PathLike)) and finds_boxes(Path(model)))


def train(
    parts: Parts,
    *,
    recipe: Recipe | str = "quick",
    out: str | Path | None = None,
    resume: bool = False,
    began: float | None = None,
    teacher: Bundle | str | Path | None = None,
    launch: str = "",
    dry_run: bool = False,
    **fields: Any,
) -> Bundle | Detector | DryRun:
    """Train a model on `parts.train`, choose its weights on `parts.valid`, and return it; `parts.test` is not read.

    Of parts with boxes it is a `Detector`, unless task="multi" (or another) asks for labels alone; else a `Bundle`.
    recipe: a Recipe, the name of one, or the path of a TOML file; `fields` change its fields by name: net="cnn", lr=0.01,
            minutes=10 (of wall-clock time), seed=1, augment="strong", …; net= may also be an nn.Module, of which a copy is
            trained, or a function that makes one (docs/PYTORCH.md)
    out:    where to save the bundle; until it is whole its run folder lies beside it, from which `resume` continues
    began:  when the budget of `minutes` started, by `time.monotonic()`; default now
    teacher: a bundle of labels, or its path, to learn from beside the labels
    launch: local:N trains with N processes of this machine, ray:N with N of a cluster, each with its share of every batch
    (docs/SCALING.md)
    dry_run: return what would be done and how long it would take (`beholder.study.dryrun.DryRun`), and do none of it
    Raises `UsageError` for a field that is wrong or not used, `DataError` for pictures that cannot be learnt from,
    `Interrupted` after Ctrl-C, when the best so far has been saved to `out`.
    """
    net, how = fields.get("net"), {"recipe": recipe, "out": out, "resume": resume, "began": began}
    work = partial(_foreseen, parts, how, teacher, launch) if dry_run else partial(_trained, parts, how, teacher, launch)
    if net is None or isinstance(net, str):
        return work(fields)
    from beholder.nets.custom import lent, lent_name

    name = lent_name(net)
    with lent(net, name):
        return work({**fields, "net": name})


def _task(recipe: Recipe | str, fields: Mapping[str, Any]) -> str:
    """Return the name of the task that is asked for."""
    return str(fields.get("task") or (recipe if isinstance(recipe, Recipe) else load_recipe(recipe)).task)


def _foreseen(
    parts: Parts, how: dict[str, Any], teacher: Bundle | str | Path | None, launch: str, fields: dict[str, Any]
) -> DryRun:
    """Return what training on parts would do; how: as of `_trained`."""
    from beholder.data.groups import asked_of_parts
    from beholder.learn.distil import taught_by
    from beholder.study.asked import wanted
    from beholder.study.foresee import dry
    from beholder.study.steps import check_net

    boxes = isinstance(parts, Parts) and wanted(parts.train, _task(how["recipe"], fields))
    asked = asked_of_parts(how["recipe"], fields, parts, verb="detect --parts" if boxes else "train")
    asked = taught_by(check_net(asked, fetch=False), teacher, out=how["out"])[0]
    return dry("train", parts, asked, how["out"], given=fields, launch=launch)


def _trained(
    parts: Parts, how: dict[str, Any], teacher: Bundle | str | Path | None, launch: str, fields: dict[str, Any]
) -> Bundle | Detector:
    """Return what training on parts made, of labels or of boxes; how: the arguments that both take."""
    from beholder.data.groups import asked_of_parts
    from beholder.learn.followed import check_together, launched, one_process
    from beholder.learn.train import train as on_labels
    from beholder.study.asked import wanted

    if isinstance(parts, Parts) and wanted(parts.train, _task(how["recipe"], fields)):
        from beholder.learn.detect import train as on_boxes

        refuse("detect --parts", fields)
        one_process(launch)
        more: dict[str, Any] = {} if teacher is None else {"teacher": str(teacher)}
        return on_boxes(parts, **how, **fields, **more)
    if launch:
        with events.only():  # `on_labels` says the same of the fields again
            check_together(asked_of_parts(how["recipe"], fields, parts, verb="train"), launch)
    with launched(launch):
        return on_labels(parts, **how, teacher=teacher, **fields)


def evaluate(
    model: Bundle | Finder | str | Path,
    source: str | Path | tuple[Any, Any] | Pictures,
    *,
    part: str = "test",
    allow_download: bool = False,
    until: Deadline = NEVER,
) -> Evaluation | DetectionEvaluation:
    """Score a model on `source`, and count the reading if it is of the test part.

    model: a Bundle, a Detector, or the path of one
    source: Pictures (all of them are scored), or what `scan` takes: there `part` says which (train | val | test | all).
    allow_download: fetch a source that is not on this machine; until: when it should be over, a sample is scored then
    Which part a picture is in, the model's own split says, then the source's; pictures that neither knows count as test.
    Raises `UsageError` for an unknown part, `DataError` when nothing is left to score or the classes do not fit.
    """
    if detects(model):
        from beholder.evaluation.detected import evaluate as on_boxes

        source = source if isinstance(source, (str, Pictures, tuple)) else Path(source)
        if isinstance(source, tuple):
            raise UsageError("arrays have no boxes", code="no-boxes", hint="give a source with boxes: docs/DETECTION.md")
        assert not isinstance(model, Recogniser)
        return on_boxes(model, source, part=part, allow_download=allow_download, until=until)
    from beholder.evaluation.evaluate import evaluate as on_labels

    assert not isinstance(model, Finder)
    return on_labels(model, source, part=part, allow_download=allow_download, until=until)


def compare(
    models: Sequence[Bundle | Finder | str | Path],
    source: str | Path | tuple[Any, Any] | Pictures,
    *,
    part: str = "test",
    allow_download: bool = False,
    trust: bool = False,
    seed: int = 0,
) -> Comparison | DetectedComparison:
    """Compare two or more models on the same pictures of `source`; all tell labels, or all find boxes.

    Each pair is compared picture by picture: labels by McNemar's test and a paired bootstrap, boxes by a paired bootstrap of
    average precision. part, allow_download, seed: as of `evaluate`; trust: import code of models of labels
    Raises `UsageError` for fewer than two, both kinds at once, or other classes; `DataError` where no picture is left.
    """
    found = [detects(model) for model in models]
    if any(found) and not all(found):
        hint = "compare models of one kind"
        raise UsageError("detectors and models of labels are not told apart by one score", code="two-kinds", hint=hint)
    if any(found):
        from beholder.evaluation.detected_compare import compare as on_boxes

        return on_boxes(models, source, part=part, allow_download=allow_download, seed=seed)  # type: ignore[arg-type]
    from beholder.evaluation.compare import compare as on_labels

    return on_labels(models, source, part=part, allow_download=allow_download, trust=trust, seed=seed)  # type: ignore[arg-type]


def predict(
    model: Recogniser | Finder | str | Path,
    paths: str | Path | Pictures | Iterable[str | Path],
    *,
    threshold: float | None = None,
    most: int | None = None,
    batch: int = 32,
    workers: int = 0,
    allow_download: bool = False,
) -> Iterator[dict[str, Any]]:
    """Yield a dict for every picture, in order: of labels, or of boxes.

    Labels: {"path", "label", "p", "probabilities", …}; boxes: {"path", "width", "height", "boxes": [{"label", "p", "box"}]};
    of a picture that cannot be read {"path", "error": {"code", "message"}}.
    model: a model, or the path of a bundle or of an exported .onnx or .xml file
    paths: pictures, folders and archives, or one of these, read lazily; or what `scan` returns
    threshold: least score of a box, 0 to 1; None: that of its class; most: boxes of a picture. Both are for detectors alone.
    allow_download: whether paths may be addresses, https://…, s3://…, gs://…, of pictures, archives, or folders of objects
    Raises `UsageError` for what is no path or may not be fetched, `DataError` for an archive that cannot be read.
    """
    model = _exported(model)
    if detects(model):
        from beholder.evaluation.predict_boxes import predict as on_boxes

        assert not isinstance(model, Recogniser)
        return on_boxes(model, paths, threshold=threshold, most=most, workers=workers, allow_download=allow_download)
    if threshold is not None or most is not None:
        raise UsageError("threshold and most are for detectors", code="unused-option", hint="leave them out for labels")
    from beholder.evaluation.predict import predict as on_labels

    assert not isinstance(model, Finder)
    return on_labels(model, paths, batch=batch, workers=workers, allow_download=allow_download)


def _exported(model: Recogniser | Finder | str | Path) -> Recogniser | Finder | str | Path:
    """Return what runs an exported file, where a model is given as the path of one; else the model as it is."""
    if not isinstance(model, (str, os.PathLike)) or not Path(model).is_file():
        return model
    from beholder.runtime import engines, finders

    path = Path(model)
    return finders.fastest_finder(path) if finders.finds_boxes(path) else engines.fastest(path)


def report(
    model: Bundle | Detector,
    evaluation: Evaluation | DetectionEvaluation,
    path: str | Path,
    *,
    findings: Findings | None = None,
    lang: str = "en",
) -> Path:
    """Write the report as one HTML file of at most a few MB that needs no network; return its path.

    findings: what the audit found, to be shown with its pictures; for models of labels. lang: en | zh
    Raises `MachineError` where it cannot be written, `UsageError` for an unknown language.
    """
    if isinstance(model, Finder):
        from beholder.reporting.detected import detected_report

        return detected_report(model, evaluation, path, lang=lang)  # type: ignore[arg-type]
    from beholder.reporting import report as of_labels

    return of_labels(model, evaluation, path, findings=findings, lang=lang)  # type: ignore[arg-type]


def explain(
    model: Bundle | Detector | str | Path,
    picture: Any,
    *,
    label: str | None = None,
    method: str = "auto",
    like: str | Path | Pictures | None = None,
    box: int | None = None,
    allow_download: bool = False,
) -> Any:
    """Return where in a picture, in any form that a model takes, it finds what speaks for a class, or for a box.

    label: the class; the most probable one where None; of a detector: of its surest box
    method: auto | gradcam | rollout | gradients | occlusion; like: the source that the model was trained on, whose nearest
    pictures are shown: both for models of labels; box: the number of a found box, 0 the surest, for detectors
    allow_download: fetch a picture, or a source in `like`, that is not on this machine
    Raises `PictureError` for a picture that cannot be read, `UsageError` for an unknown class or an unfit method.
    """
    if detects(model):
        from beholder.explanation.boxes import explain as of_boxes

        if method != "auto" or like is not None:
            raise UsageError("method and like are for models of labels", code="unused-option", hint="leave them out")
        return of_boxes(model, picture, label=label, box=box, allow_download=allow_download)  # type: ignore[arg-type]
    if box is not None:
        raise UsageError("box is for detectors", code="unused-option", hint="leave it out")
    from beholder.explanation import explain as of_labels

    assert not isinstance(model, Finder)
    return of_labels(model, picture, label=label, method=method, like=like, allow_download=allow_download)
