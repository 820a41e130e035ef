"""The commands. Each parses, calls one verb and prints what it returns; the verb is imported when the command runs."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from beholder.base import recipe as recipes
from beholder.base.errors import DataError, UsageError
from beholder.base.files import check_writable
from beholder.cli.compare import compare
from beholder.cli.explain import explain
from beholder.cli.export import export
from beholder.cli.hub import pull, push
from beholder.cli.options import (
    AcceptRisk,
    AllowDownload,
    Engine,
    For,
    Json,
    Lang,
    Model,
    Out,
    Part,
    RecipeName,
    ReportLang,
    Seed,
    Sensitivity,
    Set,
    Source,
    Strangers,
    Trust,
)
from beholder.cli.serve import serve
from beholder.cli.settle import settle
from beholder.cli.show import json_line, pairs, print_csv, print_lines, say, table

app = typer.Typer(
    help="From pictures with labels to an image recogniser you can trust.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        say(version("beholder"))
        raise typer.Exit


@app.callback()
def beholder(
    *,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="With any command: show the traceback of an error.")] = False,
) -> None:
    """From pictures with labels to an image recogniser you can trust."""


@app.command()
def demo(
    *,
    out: Annotated[Path, typer.Option(help="The folder to write the bundle and the report into.")] = Path("demo"),
    json: Json = False,
) -> None:
    """Walk the six steps on real handwritten digits, offline."""
    from beholder.study.demo import demo

    outcome = demo(out)
    say(json_line(outcome.json()) if json else outcome)


@app.command()
def audit(
    source: Source,
    *,
    out: Annotated[Path, typer.Option(help="The table of findings to write.")] = Path("audit.csv"),
    check: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this check; repeatable. Default: all.", show_default=False)
    ] = None,
    web: Annotated[bool, typer.Option("--web", help="Open a page to decide about the findings; goes on with --out.")] = False,
    port: Annotated[int, typer.Option(help="With --web: the port on this machine; 0: any that is free.", min=0, max=65535)] = 0,
    browser: Annotated[bool, typer.Option("--open/--no-open", help="With --web: open it in the browser.")] = True,
    minutes: Annotated[
        float, typer.Option(help="What the nets may take that judge the labels; 0: as long as they need.", min=0)
    ] = 10.0,
    seed: Seed = None,
    set_: Set = None,
    allow_download: AllowDownload = False,
    json: Json = False,
) -> None:
    """Find what is wrong with pictures and labels; write audit.csv."""
    asked = _recipe("quick", set_)
    from beholder.study.examine import audited

    findings = audited(
        source, out, go_on=web, checks=check, recipe=asked, minutes=minutes, seed=seed or 0, allow_download=allow_download
    )
    if web:
        from beholder.use.review import review

        reviewed = review(findings, out, source=source, port=port, ready=_open if browser and _has_screen() else None)
        say(json_line(reviewed.json()) if json else reviewed)
        return
    if json:
        say(json_line({**findings.json(), "audit": str(out)}))
    else:
        table(findings.summary())
        for note in findings.notes:
            say(note)
        say(f"{len(findings)} findings in {out}")


@app.command()
def clean(
    source: Source,
    *,
    apply: Annotated[Path, typer.Option(help="The audit.csv whose decisions are followed.")] = Path("audit.csv"),
    out: Annotated[Path, typer.Option(help="The new folder to write, or a table of what stays: NAME.csv.", show_default=False)],
    allow_download: AllowDownload = False,
    json: Json = False,
) -> None:
    """Write a copy of SOURCE, or a table of it, as was decided."""
    from beholder.data.clean import clean

    cleaned = clean(source, apply=apply, out=out, allow_download=allow_download)
    say(json_line(cleaned.json()) if json else cleaned)


@app.command()
def train(
    context: typer.Context,
    source: Source,
    *,
    out: Out = None,
    recipe: RecipeName = "quick",
    net: Annotated[
        str | None, typer.Option(help="A name of `beholder nets`, timm:NAME, or module:function.", show_default=False)
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Wall-clock budget of the whole run.", show_default=False)] = None,
    seed: Seed = None,
    set_: Set = None,
    audit: Annotated[
        str | None,
        typer.Option(
            metavar="report|fix|off|AUDIT.csv",
            help="What to do about findings of the audit: say them, follow every suggestion, not look, "
            "or do as was decided in a reviewed audit.csv.",
            show_default=False,
        ),
    ] = None,
    accept_risk: AcceptRisk = None,
    sensitivity: Sensitivity = None,
    positive: For = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run that --out left unfinished.")] = False,
    profile: Annotated[bool, typer.Option("--profile", help="Say where the time went, and show it in the report.")] = False,
    lang: ReportLang = Lang.EN,
    allow_download: AllowDownload = False,
    json: Json = False,
) -> None:
    """Train on SOURCE, test once, and write a bundle with a report."""
    promised = {"accept_risk": accept_risk, "sensitivity": sensitivity, "positive": positive}
    asked = _recipe(recipe, set_, net=net, minutes=minutes, seed=seed, **_policy(audit), **promised)
    target = _target(source, out)
    from beholder.study.steps import steps

    outcome = steps(
        source,
        recipe=asked,
        out=target,
        resume=resume,
        profile=profile,
        lang=lang.value,
        began=context.obj,
        allow_download=allow_download,
    )
    say(json_line(outcome.json()) if json else outcome)


@app.command()
def tune(
    source: Source,
    *,
    minutes: Annotated[
        float, typer.Option(help="Wall-clock budget of the search and of training its winner.", show_default=False)
    ],
    trials: Annotated[int, typer.Option(help="Stop after so many trials; 0: as many as the minutes allow.", min=0)] = 0,
    out: Out = None,
    recipe: RecipeName = "quick",
    seed: Seed = None,
    set_: Set = None,
    resume: Annotated[bool, typer.Option(help="Continue an earlier search of the same source.")] = True,
    allow_download: AllowDownload = False,
    json: Json = False,
) -> None:
    """Search for a better recipe, then train and test the winner."""
    asked = _recipe(recipe, set_, seed=seed)
    target = _target(source, out)
    from beholder.study.tune import tune

    tuning = tune(
        source, recipe=asked, minutes=minutes, trials=trials, out=target, resume=resume, allow_download=allow_download
    )
    if json:
        say(json_line(tuning.json()))
    else:
        table(tuning.rows())
        say(tuning)


@app.command()
def evaluate(
    model: Model,
    source: Source,
    *,
    part: Annotated[Part, typer.Option(help="Which pictures of the source.")] = Part.TEST,
    report: Annotated[Path | None, typer.Option(help="Write an HTML report here.", show_default=False)] = None,
    sections: Annotated[
        str, typer.Option(help="What to look into beyond the scores: none, usual, all, or names with commas between.")
    ] = "usual",
    lang: ReportLang = Lang.EN,
    strangers: Strangers = None,
    trust: Trust = False,
    allow_download: AllowDownload = False,
    json: Json = False,
) -> None:
    """Score a bundle on SOURCE, each figure with its interval and n."""
    from beholder.bundle.bundle import load
    from beholder.use.evaluate import evaluate
    from beholder.use.sections import chosen, examined

    names = chosen(sections)
    if report is not None:
        check_writable(report, option="--report", file=True)
    bundle = load(model, trust=trust)
    evaluation = evaluate(bundle, source, part=part.value, allow_download=allow_download)
    evaluation = examined(bundle, evaluation, names, strangers=strangers or ())
    say(json_line(evaluation.json()) if json else evaluation)
    if report is not None:
        from beholder.use.report import report as write_report

        write_report(bundle, evaluation, report, lang=lang.value)


settled = app.command()(settle)


@app.command()
def predict(
    model: Model,
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Pictures, folders of pictures, or - for paths on stdin.", show_default=False),
    ],
    *,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print path,label,p,error,… as CSV instead of JSON lines.")] = False,
    engine: Engine = "exact",
    trust: Trust = False,
) -> None:
    """Print one JSON line a picture, readable or not."""
    from beholder.base import events
    from beholder.bundle.engines import fastest
    from beholder.use.predict import predict

    few = len(paths) <= 64 and not any(path == "-" or Path(path).is_dir() for path in paths)
    recogniser = fastest(model, engine=engine, trust=trust, probe=not few)
    events.note(f"engine: {recogniser.engine}")
    lines = predict(recogniser, _each(paths))
    read, bad = print_csv(lines) if as_csv else print_lines(lines)
    if bad and not read:
        raise DataError("not one picture could be read", code="all-unreadable", hint="see the error of each line above")
    if not read:
        raise DataError(
            "there is no picture in what was given", code="no-pictures", hint="name pictures, or folders that hold some"
        )


_explain = app.command()(explain)
_export = app.command()(export)
_push = app.command()(push)
_pull = app.command()(pull)
_compare = app.command()(compare)
_serve = app.command()(serve)


@app.command()
def nets(
    *,
    size: Annotated[int, typer.Option(help="Side of the picture in pixels.", min=1)] = 32,
    channels: Annotated[int, typer.Option(help="1 for grey, 3 for colour.", min=1)] = 3,
    classes: Annotated[int, typer.Option(help="Number of classes.", min=2)] = 10,
    json: Json = False,
) -> None:
    """List the nets, with their parameters and FLOPs at a given size."""
    from beholder.nets.table import table as list_nets

    rows = [dataclasses.asdict(row) for row in list_nets(size=size, channels=channels, classes=classes)]
    if json:
        say(json_line({"size": size, "channels": channels, "classes": classes, "nets": rows}))
    else:
        table(rows)


@app.command()
def info(*, json: Json = False) -> None:
    """Say what this machine offers, and the precision chosen and why."""
    from beholder.machine.info import info

    facts = info()
    if json:
        say(json_line(facts))
    else:
        pairs(facts)


def _has_screen() -> bool:
    """Return True where a browser that is opened here would be seen: at a terminal of a machine with a display."""
    if not sys.stderr.isatty():
        return False
    return not sys.platform.startswith("linux") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def _open(address: str) -> None:
    import webbrowser

    webbrowser.open(address)


def _recipe(name: str, assignments: list[str] | None, **changes: object) -> recipes.Recipe:
    given = {key: value for key, value in changes.items() if value is not None}
    return recipes.load(name).set(**given).override(assignments or [])


def _policy(audit: str | None) -> dict[str, str]:
    """Return the recipe fields that `--audit` stands for: a policy, or the path of a reviewed audit.csv."""
    policies = ("report", "fix", "off")
    if audit is None or audit in policies:
        return {"audit": audit} if audit else {}
    if not Path(audit).exists():
        hint = f"it is {', '.join(policies)}, or the path of a reviewed audit.csv"
        raise UsageError(f"--audit cannot be '{audit}': there is no such file", code="unknown-policy", hint=hint)
    return {"decisions": audit}


def _target(source: str, out: Path | None) -> Path:
    """Return where the bundle goes; refuse the user's own folder of pictures, which is only ever read."""
    if not source:
        raise UsageError(
            "SOURCE is empty",
            code="path-missing",
            hint="name a folder, a table or an archive of pictures; . is the current folder",
        )
    if out is None:
        out = Path(f"{_stem(source) or 'model'}.beholder")
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
        plain = re.sub(r"^(boxes:)?(hf:|torchvision:)?", "", source).partition("?")[0].partition("@")[0]
        name = re.sub(r"[-_.]?[{*].*", "", Path(plain).resolve().name)
        name = name.replace(":", "-")
    for suffix in (".zip", ".gz", ".xz", ".bz2", ".tar", ".tgz", ".csv", ".tsv", ".npz", ".parquet", ".json"):
        name = name.removesuffix(suffix)
    return name


def _each(paths: list[str]) -> Iterator[str]:
    for path in paths:
        if path == "-":
            yield from (line.rstrip("\r\n") for line in sys.stdin if line.strip())
        else:
            yield path
