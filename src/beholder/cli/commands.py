"""The commands. Each parses, calls one verb and prints what it returns; the verb is imported when the command runs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from beholder.base.used import refuse
from beholder.cli.cache import cache
from beholder.cli.calibrate import calibrate
from beholder.cli.compare import compare
from beholder.cli.curve import curve
from beholder.cli.evaluate import evaluate
from beholder.cli.explain import explain
from beholder.cli.export import export
from beholder.cli.generate import generate, sample
from beholder.cli.hub import pull, push
from beholder.cli.label import label
from beholder.cli.look import look
from beholder.cli.nets import nets
from beholder.cli.next import next
from beholder.cli.options import (
    AllowDownload,
    Cache,
    Checks,
    GroupFrom,
    Json,
    Log,
    NetMinutes,
    PartsFolder,
    Ranges,
    Seed,
    Set,
    Source,
    Spread,
)
from beholder.cli.predict import predict
from beholder.cli.serve import serve
from beholder.cli.show import (
    ended,
    json_line,
    pairs,
    print_findings,
    say,
)
from beholder.cli.shrink import shrink
from beholder.cli.train import recipe_of, train, tune
from beholder.machine.browser import opener

app = typer.Typer(
    help="From labelled pictures to an image classifier you can trust.",
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
    """From labelled pictures to an image classifier you can trust."""


@app.command()
def demo(
    *,
    out: Annotated[Path, typer.Option(help="The folder to write the bundle and the report into.")] = Path("demo"),
    minutes: Annotated[
        float, typer.Option(help="On a slow or busy machine training is cut to end within these; 0: it never is.", min=0)
    ] = 2.0,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Walk the six steps on real handwritten digits, offline."""
    from beholder.study.demo import demo

    outcome = demo(out, minutes=minutes)
    if json:
        say(json_line(outcome.json()))
    else:
        ended(outcome)


@app.command()
def audit(
    source: Source,
    *,
    out: Annotated[Path, typer.Option(help="The table of findings to write.")] = Path("audit.csv"),
    check: Checks = None,
    web: Annotated[bool, typer.Option("--web", help="Open a page to decide about the findings; goes on with --out.")] = False,
    port: Annotated[int, typer.Option(help="With --web: the port on this machine; 0: any that is free.", min=0, max=65535)] = 0,
    browser: Annotated[bool, typer.Option("--open/--no-open", help="With --web: open it in the browser.")] = True,
    minutes: NetMinutes = 1.0,
    parts: PartsFolder = None,
    launch: Spread = "",
    ranges: Ranges = 0,
    seed: Seed = None,
    set_: Set = None,
    group_from: GroupFrom = None,
    log: Log = None,
    allow_download: AllowDownload = False,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Find what is wrong with pictures and labels; write audit.csv."""
    asked = recipe_of("quick", set_, seed=seed, group_from=group_from)
    refuse("audit", [text.partition("=")[0].strip() for text in set_ or []])
    from beholder.study.examine import audited

    begin = partial(audited, source, out, go_on=web, checks=check, recipe=asked, minutes=minutes, seed=asked.seed)
    findings = begin(parts=parts, launch=launch, ranges=ranges, allow_download=allow_download)
    if web:
        from beholder.review import review

        reviewed = review(findings, out, source=source, port=port, ready=opener(browser))
        say(json_line(reviewed.json()) if json else reviewed)
        return
    if json:
        say(json_line({**findings.json(), "audit": str(out)}))
    else:
        print_findings(findings, out)


@app.command()
def clean(
    source: Source,
    *,
    apply: Annotated[Path, typer.Option(help="The audit.csv whose decisions are followed.")] = Path("audit.csv"),
    out: Annotated[Path, typer.Option(help="The new folder to write, or a table of what stays: NAME.csv.", show_default=False)],
    allow_download: AllowDownload = False,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Write a copy of SOURCE, or a table of it, as was decided."""
    from beholder.quality.clean import clean

    cleaned = clean(source, apply=apply, out=out, allow_download=allow_download)
    say(json_line(cleaned.json()) if json else cleaned)


_train = app.command()(train)
_tune = app.command()(tune)
_curve = app.command()(curve)
_shrink = app.command()(shrink)
_next = app.command()(next)
_generate = app.command()(generate)
_sample = app.command()(sample)


_evaluate = app.command()(evaluate)
_calibrate = app.command()(calibrate)


_predict = app.command()(predict)
_explain = app.command()(explain)
_look = app.command()(look)
_export = app.command()(export)
_push = app.command()(push)
_pull = app.command()(pull)
_compare = app.command()(compare)
_serve = app.command()(serve)
_cache = app.command()(cache)
_label = app.command()(label)
_nets = app.command()(nets)


@app.command()
def info(
    *,
    bug_report: Annotated[
        bool,
        typer.Option("--bug-report", help="Print versions, machine and the last unexpected error as Markdown, without names."),
    ] = False,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Say what this machine offers, and which precision was chosen."""
    if bug_report:
        from beholder.machine.bugreport import report

        text = report()
        say(json_line({"report": text}) if json else text)
        return
    from beholder.machine.info import info
    from beholder.nets.backbones import licences_at_hand

    facts = {**info(), "backbones": licences_at_hand()}
    if json:
        say(json_line(facts))
    else:
        pairs(facts)
