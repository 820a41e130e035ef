"""The arguments and options that several commands share, each described once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Part(StrEnum):
    """Which pictures of a source to score."""

    TEST = "test"
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
        help="Pictures with labels: a folder of class folders, a folder with train/valid/test inside, "
        "a CSV, TSV or Parquet with path,label, a zip or tar of these, Parquet with pictures inside, "
        "WebDataset shards, COCO or Pascal VOC (boxes:SOURCE for a picture a box), an .npz with x and y, torchvision:NAME, "
        "hf:NAME, or https://… of a zip or tar. docs/SOURCES.md describes each.",
        show_default=False,
    ),
]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A bundle: NAME.beholder.", show_default=False)]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Where to write the bundle. Default: the source's name + .beholder, in the current folder.", show_default=False
    ),
]
AllowDownload = Annotated[
    bool, typer.Option("--allow-download", help="Fetch SOURCE if it is not on this machine: https:, hf: and torchvision:.")
]
Seed = Annotated[int | None, typer.Option(help="Seed of the split, the weights and the augmentation.", show_default=False)]
RecipeName = Annotated[
    str, typer.Option("--recipe", help="quick, careful, sprint, photo, tutorial, or the path of a TOML file.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Change a field of the recipe, such as train.lr=0.1; repeatable."),
]
ReportLang = Annotated[Lang, typer.Option("--lang", help="The language of the report: English or Simplified Chinese.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Engine = Annotated[
    str,
    typer.Option(
        help="What the net runs on: exact (the fastest in float32), fast (also in the precisions "
        "of its exports), or one by name, such as "
        "'onnxruntime int8'. docs/EXPORT.md."
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust", help="Allow a bundle whose net is a module:function to import that code. Only for bundles of yours."
    ),
]
AcceptRisk = Annotated[
    float | None,
    typer.Option("--accept-risk", help="Answer only where at most this share of answers is wrong.", show_default=False),
]
Sensitivity = Annotated[
    float | None, typer.Option("--sensitivity", help="Share of the class of --for that has to be found.", show_default=False)
]
For = Annotated[str | None, typer.Option("--for", metavar="CLASS", help="The class of --sensitivity.", show_default=False)]
Strangers = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SOURCE",
        help="Pictures of none of the classes, a folder or an archive, that should be told from the tested ones; repeatable.",
        show_default=False,
    ),
]
