"""Names of nets, without loading torch: the table of built-in ones, and the pretrained backbones that are listed."""

from __future__ import annotations

import csv
from importlib.resources import files

from beholder.base.registry import Registry

NETS = Registry(
    "net",
    {
        "logistic": "beholder.nets.plain:logistic",
        "mlp": "beholder.nets.plain:mlp",
        "cnn": "beholder.nets.plain:cnn",
        "fastnet": "beholder.nets.fastnet:fastnet",
        "resnet": "beholder.nets.resnet:resnet",
    },
)
"""Built-in nets by name; the entry-point group `beholder.nets` adds others."""


def listed() -> list[str]:
    """Return the names of the pretrained backbones in backbones.csv, as timm calls them."""
    text = (files("beholder.nets") / "backbones.csv").read_text("utf-8")
    return [row["name"] for row in csv.DictReader(text.splitlines())]
