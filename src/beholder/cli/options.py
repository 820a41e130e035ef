"""The arguments and options that several commands share, each described once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from beholder.cli import complete


class Part(StrEnum):
    """Which pictures of a source to score."""

    TEST = "test"
    VAL = "val"
    VALID = "valid"
    TRAIN = "train"
    ALL = "all"


class Lang(StrEnum):
    """The language of the report."""

    EN = "en"
    ZH = "zh"


Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="Pictures with labels: a folder of class folders, a folder with train/val/test inside, "
        "a CSV, TSV or Parquet with path,label, a zip or tar of these, Parquet with pictures inside, "
        "WebDataset shards, COCO, Pascal VOC, YOLO or a table of boxes (boxes:SOURCE for a picture a box), "
        "an .npz with x and y, torchvision:NAME, hf:NAME, https://… of a zip or tar, s3://… or gs://…. docs/SOURCES.md tells.",
        show_default=False,
    ),
]
SearchMinutes = Annotated[
    float, typer.Option("--minutes", help="Wall-clock budget of the search, of its winner and of the test.", show_default=False)
]
Space = Annotated[
    Path | None, typer.Option("--space", metavar="FILE.toml", help="Ranges in place of the declared ones.", show_default=False)
]
Model = Annotated[
    Path,
    typer.Argument(metavar="MODEL", help="A bundle: NAME.beholder.", show_default=False, autocompletion=complete.models),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Where to write the bundle. Default: the source's name + .beholder, in the current folder.", show_default=False
    ),
]
AllowDownload = Annotated[
    bool,
    typer.Option("--allow-download", help="Fetch what is not on this machine: https:, s3:, gs:, hf: and torchvision:."),
]
Images = Annotated[
    str | None,
    typer.Option(
        "--images",
        metavar="PATH",
        help="The folder or archive with the pictures, where SOURCE (COCO, Pascal VOC, YOLO, a table) lies apart from them.",
        show_default=False,
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run that --out left unfinished.")]
Launch = Annotated[
    str,
    typer.Option(
        "--launch",
        metavar="local:N|ray[:N]",
        help="Train with N processes of this machine, or of a Ray cluster: docs/SCALING.md.",
        show_default=False,
    ),
]
TrialLaunch = Annotated[
    str,
    typer.Option(
        "--launch",
        metavar="ray",
        help="Have trials carried out elsewhere: local:N, ray, ray:N. docs/SCALING.md.",
        show_default=False,
    ),
]
Storage = Annotated[
    str,
    typer.Option(metavar="URL", help="Keep the trials in a database: postgresql://… or sqlite:///FILE.", show_default=False),
]
Join = Annotated[
    bool, typer.Option("--join", help="Carry out trials of the search that another machine leads at the same --out.")
]
Spread = Annotated[
    str,
    typer.Option(
        "--launch",
        metavar="local:N|ray",
        help="With --parts: work in N processes of this machine, or on a Ray cluster (ray:N in N tasks): docs/SCALING.md.",
        show_default=False,
    ),
]
PartsFolder = Annotated[
    Path | None,
    typer.Option(
        "--parts",
        metavar="FOLDER",
        help="For very many pictures: work in ranges, into Parquet parts in a folder; run again, it goes on.",
        show_default=False,
    ),
]
Ranges = Annotated[
    int,
    typer.Option("--ranges", help="With --parts: how many. Default: by the number of pictures.", min=0, show_default=False),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", is_eager=True, help="Say what would be done, with time and memory, and write nothing."),
]
Profile = Annotated[bool, typer.Option("--profile", help="Say where the time went, and show it in the report.")]
Seed = Annotated[int | None, typer.Option(help="Seed of the split, the weights and the augmentation.", show_default=False)]
RecipeName = Annotated[
    str,
    typer.Option(
        "--recipe",
        help="quick, careful, sprint, photo, tutorial, or the path of a TOML file.",
        autocompletion=complete.recipes,
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Change a field of the recipe, such as train.lr=0.1; repeatable.",
        autocompletion=complete.fields,
    ),
]
GroupFrom = Annotated[
    str | None,
    typer.Option(
        "--group-from",
        metavar="PATTERN",
        help="A regular expression: pictures in whose names it finds the same (a patient, a track) stay in one part.",
        show_default=False,
    ),
]
Net = Annotated[
    str | None,
    typer.Option(
        "--net",
        "--model",
        metavar="NAME",
        help="A name of `beholder nets`, a name of timm such as resnet50, module:function, or keras:module:function.",
        show_default=False,
        autocompletion=complete.nets,
    ),
]
Task = Annotated[
    str | None,
    typer.Option(
        "--task",
        metavar="NAME",
        help="What is learnt: auto (by the source: single, multi, or detect where it has boxes), detect, multi, "
        "crops (each box a picture), ordinal (grades), or module:name of yours.",
        show_default=False,
        autocompletion=complete.tasks,
    ),
]
Epochs = Annotated[int | None, typer.Option(help="Passes over the pictures: --set train.epochs.", show_default=False)]
Batch = Annotated[int | None, typer.Option(help="Pictures in a step: --set train.batch.", show_default=False)]
Rate = Annotated[float | None, typer.Option("--lr", help="Learning rate: --set train.lr.", show_default=False)]
Size = Annotated[int | None, typer.Option(help="Side of the pictures in pixels: --set data.size.", show_default=False)]
ReportLang = Annotated[Lang, typer.Option("--lang", help="The language of the report: English or Simplified Chinese.")]


def _use(folder: str | None) -> None:
    if folder is not None:
        from beholder.machine.folders import cache

        cache(folder)


Cache = Annotated[
    str | None,  # of "" a Path would make the folder that one is in
    typer.Option(
        "--cache",
        metavar="FOLDER",
        callback=_use,
        expose_value=False,
        help="Where to keep what can be made again; default: BEHOLDER_CACHE, else the user's cache folder.",
        show_default=False,
    ),
]


def _listen(context: typer.Context, logs: list[str] | None) -> None:
    """Open the sinks that were named, until the command is over; a dry run, which writes nothing, only checks their names."""
    from beholder.base.sinks import listen, told

    if not logs or context.resilient_parsing:
        return
    if context.params.get("dry_run"):  # eager: it is read before --log, wherever it stands
        for each in logs:
            told(each)
        return
    context.with_resource(listen(*logs))


Log = Annotated[
    list[str] | None,
    typer.Option(
        "--log",
        metavar="FILE.jsonl",
        callback=_listen,
        help="Append what happens to a file, a JSON object a line with its numbers; "
        "or tensorboard:FOLDER, mlflow:FOLDER_OR_URI, or NAME:… of another sink; repeatable.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Engine = Annotated[
    str,
    typer.Option(
        help="What the net runs on: exact (the fastest in float32), fast (also in the precisions "
        "of its exports), or one by name, such as "
        "'onnxruntime int8'. docs/EXPORT.md.",
        autocompletion=complete.engines,
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust", help="Allow a bundle whose net or task is a module:name to import that code. Only for bundles of yours."
    ),
]
TargetRisk = Annotated[
    float | None,
    typer.Option(
        "--target-risk",
        help="Answer only where at most this share of answers is wrong.",
        show_default=False,
    ),
]
Sensitivity = Annotated[
    float | None,
    typer.Option("--sensitivity", help="Share of the class of --positive to be found.", show_default=False),
]
Positive = Annotated[
    str | None,
    typer.Option(
        "--positive", metavar="CLASS", help="The class of --sensitivity, and of a sensitivity in --for.", show_default=False
    ),
]
For = Annotated[
    str | None,
    typer.Option(
        "--for",
        metavar="MEASURE",
        help="Choose weights and candidates on validation by this: accuracy, macro_f1, balanced_accuracy, auroc, mAP (several "
        "labels), sensitivity@0.95 (at a specificity of 0.95), …: --set train.objective.",
        show_default=False,
        autocompletion=complete.objectives,
    ),
]
Teacher = Annotated[
    str | None,
    typer.Option(
        "--teacher",
        metavar="MODEL",
        help="A bundle whose probabilities are learnt beside the labels (distillation): --set train.teacher.",
        show_default=False,
        autocompletion=complete.models,
    ),
]
Synthetic = Annotated[
    str | None,
    typer.Option(
        "--synthetic",
        metavar="auto|SOURCE",
        help="Made pictures of the same classes, or auto: made here; they join the training part where validation says so.",
        show_default=False,
    ),
]
Unlabelled = Annotated[
    str | None,
    typer.Option(
        "--unlabelled",
        metavar="FOLDER",
        help="Pictures without labels: they join the training part where that helps, or with what --teacher says of them.",
        show_default=False,
    ),
]
AuditPolicy = Annotated[
    str | None,
    typer.Option(
        "--audit",
        metavar="report|fix|relabel|off|AUDIT.csv",
        help="What to do about findings of the audit: say them, leave exact copies out too, follow every suggestion, "
        "not look, or do as was decided in a reviewed audit.csv.",
        show_default=False,
        autocompletion=complete.policies,
    ),
]
Checks = Annotated[
    list[str] | None,
    typer.Option(
        "--check",
        metavar="NAME",
        help="Only this check; repeatable. Default: all.",
        show_default=False,
        autocompletion=complete.checks,
    ),
]
NetMinutes = Annotated[
    float, typer.Option("--minutes", help="What the nets may take that judge the labels; 0: as long as they need.", min=0)
]
Ood = Annotated[
    list[str] | None,
    typer.Option(
        "--ood",
        metavar="SOURCE",
        help="Out-of-distribution pictures, of none of the classes: a folder or an archive; repeatable.",
        show_default=False,
    ),
]
