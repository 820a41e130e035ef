"""The commands `train` and `tune`, and how a recipe is made of options."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from beholder.base import recipe as recipes
from beholder.base.errors import UsageError
from beholder.base.renamed import current
from beholder.cli.options import (
    AllowDownload,
    AuditPolicy,
    Batch,
    Cache,
    DryRun,
    Epochs,
    For,
    GroupFrom,
    Images,
    Join,
    Json,
    Lang,
    Launch,
    Log,
    Net,
    Out,
    Positive,
    Profile,
    Rate,
    RecipeName,
    ReportLang,
    Resume,
    SearchMinutes,
    Seed,
    Sensitivity,
    Set,
    Size,
    Source,
    Space,
    Storage,
    Synthetic,
    TargetRisk,
    Task,
    Teacher,
    TrialLaunch,
    Unlabelled,
)
from beholder.cli.show import ended, json_line, say, table


def train(
    context: typer.Context,
    source: Source,
    *,
    out: Out = None,
    recipe: RecipeName = "quick",
    task: Task = None,
    net: Net = None,
    minutes: Annotated[float | None, typer.Option(help="Wall-clock budget of the whole run.", show_default=False)] = None,
    epochs: Epochs = None,
    batch: Batch = None,
    lr: Rate = None,
    size: Size = None,
    seed: Seed = None,
    set_: Set = None,
    audit: AuditPolicy = None,
    group_from: GroupFrom = None,
    target_risk: TargetRisk = None,
    sensitivity: Sensitivity = None,
    positive: Positive = None,
    for_: For = None,
    teacher: Teacher = None,
    unlabelled: Unlabelled = None,
    synthetic: Synthetic = None,
    images: Images = None,
    resume: Resume = False,
    launch: Launch = "",
    profile: Profile = False,
    dry_run: DryRun = False,
    lang: ReportLang = Lang.EN,
    log: Log = None,
    allow_download: AllowDownload = False,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Train on SOURCE, test once, and write a bundle with a report."""
    how = {"task": task, "net": net, "minutes": minutes, "epochs": epochs, "batch": batch, "lr": lr, "size": size, "seed": seed}
    how |= {"group_from": group_from, "teacher": teacher, "unlabelled": unlabelled, "synthetic": synthetic}
    more: dict[str, Any] = {"resume": resume, "profile": profile, "lang": lang.value, "began": context.obj, "images": images}
    asked = recipe_of(recipe, set_, **how, **audit_fields(audit), **_aim(for_, positive, sensitivity, target_risk))
    _tell(_walked(source, out, asked, allow_download=allow_download, launch=launch, dry_run=dry_run, **more), json=json)


def _walked(source: str, out: Path | None, recipe: recipes.Recipe, **how: Any) -> Any:
    """Return what the six steps made of a source."""
    from beholder.study.steps import steps

    return steps(source, recipe=recipe, out=target_of(source, out), **how)


def tune(
    source: Source,
    *,
    minutes: SearchMinutes,
    workers: Annotated[int, typer.Option(help="Trials at a time, each in a process with its share of the cores.", min=1)] = 1,
    launch: TrialLaunch = "",
    join: Join = False,
    storage: Storage = "",
    trials: Annotated[int, typer.Option(help="Screen so many candidates; 0: as many as the minutes allow.", min=0)] = 0,
    max_latency: Annotated[str, typer.Option(metavar="20ms", help="The most that a picture may take on this machine.")] = "",
    max_size: Annotated[str, typer.Option(metavar="5MB", help="The most that the weights may take on disk.")] = "",
    space: Space = None,
    out: Out = None,
    recipe: RecipeName = "quick",
    task: Task = None,
    net: Net = None,
    seed: Seed = None,
    set_: Set = None,
    group_from: GroupFrom = None,
    positive: Positive = None,
    for_: For = None,
    resume: Annotated[bool, typer.Option(help="Continue an earlier search of the same source.")] = True,
    dry_run: DryRun = False,
    lang: ReportLang = Lang.EN,
    log: Log = None,
    allow_download: AllowDownload = False,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Search for a better recipe; finish and test the winner."""
    place = target_of(source, out)
    if join:
        _join(place, workers, launch, json=json)
        return
    asked = recipe_of(recipe, set_, task=task, net=net, seed=seed, group_from=group_from, **_aim(for_, positive))
    how: dict[str, Any] = {"max_latency": max_latency or 0.0, "max_size": max_size or 0.0, "space": space, "lang": lang.value}
    how |= {"trials": trials, "workers": workers, "launch": launch, "storage": storage, "resume": resume, "dry_run": dry_run}
    tuning = _searched(source, place, asked, minutes=minutes, allow_download=allow_download, **how)
    if not json and not dry_run:
        table(tuning.rows())
    _tell(tuning, json=json)


def _searched(source: str, out: Path, recipe: recipes.Recipe, **how: Any) -> Any:
    """Return what a search found."""
    from beholder.study.tune import tune

    return tune(source, recipe=recipe, out=out, **how)


def _join(out: Path, workers: int, launch: str, *, json: bool) -> None:
    """Take part in the search that another machine leads, and say what was done for it."""
    from beholder.study.crews import where
    from beholder.study.join import join

    joined = join(out, workers=where(workers, launch, join=True).count)
    say(json_line(joined.json()) if json else joined)


def _tell(outcome: Any, *, json: bool) -> None:
    """Say what came out, or would: as one JSON object, or for a person."""
    if json:
        say(json_line(outcome.json()))
    elif hasattr(outcome, "writes"):
        say(outcome)
    else:
        ended(outcome)


def recipe_of(name: str, assignments: list[str] | None, **changes: object) -> recipes.Recipe:
    """Return the recipe `name` with fields changed by options that were given, and by `--set`."""
    given = {key: value for key, value in changes.items() if value is not None}
    return recipes.load(name).set(**given).override(assignments or [])


def _aim(
    measure: str | None, positive: str | None, sensitivity: float | None = None, risk: float | None = None
) -> dict[str, object]:
    """Return the recipe fields of what is aimed at; until 0.3.0 `--for` also takes the class of `--sensitivity`."""
    points = {"sensitivity": sensitivity, "target_risk": risk}
    if measure is not None and sensitivity is not None and positive is None:
        from beholder.tasks.objectives import is_objective

        if not is_objective(measure):
            current("option of a class", "--for")
            return {"positive": measure, **points}
    return {"objective": measure, "positive": positive, **points}


def audit_fields(audit: str | None) -> dict[str, str]:
    """Return the recipe fields that `--audit` stands for: a policy, or the path of a reviewed audit.csv."""
    policies = ("report", "fix", "relabel", "off")
    if audit is None or audit in policies:
        return {"audit": audit} if audit else {}
    if not Path(audit).exists():
        hint = f"it is {', '.join(policies)}, or the path of a reviewed audit.csv"
        raise UsageError(f"--audit cannot be '{audit}': there is no such file", code="unknown-policy", hint=hint)
    return {"decisions": audit}


def target_of(source: str, out: Path | None, *, ending: str = ".beholder") -> Path:
    """Return where the bundle goes; refuse the user's own folder of pictures, which is only ever read.

    ending: of the name that it has where none is given
    """
    if not source:
        raise UsageError(
            "SOURCE is empty",
            code="path-missing",
            hint="name a folder, a table or an archive of pictures; . is the current folder",
        )
    if out is None:
        out = Path(f"{_stem(source) or 'model'}{ending}")
    source = source if Path(source).exists() else source.removeprefix("boxes:")
    if Path(source).is_dir() and Path(source).resolve() in out.resolve().parents:
        hint = "choose a place outside with --out"
        raise UsageError(f"{out} would lie inside the source folder {source}", code="inside-source", hint=hint)
    return out


def _stem(source: str) -> str:
    """Return what a bundle of a source is called: the last name in it, without its ending, a query, or what stands for several.

    >>> _stem("hf:someone/pets"), _stem("https://x.org/set.tar.gz?a=1"), _stem("boxes:cells.csv"), _stem("s/set-{00..12}.tar")
    ('pets', 'set', 'cells', 'set')
    """
    path = Path(source)
    if path.exists():
        name = path.resolve().name
    else:
        plain = re.sub(r"^(boxes:)?(?!https?:)([a-z][\w+-]+:)?", "", source).partition("?")[0].partition("@")[0]
        name = re.sub(r"[-_.]?[{*].*", "", Path(plain).resolve().name)
        name = name.replace(":", "-")
    for suffix in (".zip", ".gz", ".xz", ".bz2", ".tar", ".tgz", ".csv", ".tsv", ".npz", ".parquet", ".json"):
        name = name.removesuffix(suffix)
    return name
