"""The command `nets`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from beholder.cli.options import Json
from beholder.cli.show import json_line, say, table

if TYPE_CHECKING:
    from beholder.nets.backbones import Backbone


def nets(
    *,
    size: Annotated[int, typer.Option(help="Side of the picture in pixels, of the nets from scratch.", min=1)] = 32,
    channels: Annotated[int, typer.Option(help="1 for grey, 3 for colour.", min=1)] = 3,
    classes: Annotated[int, typer.Option(help="Number of classes.", min=2)] = 10,
    json: Json = False,
) -> None:
    """List nets from scratch and pretrained backbones with licences."""
    from beholder.nets import backbones
    from beholder.nets.table import table as list_nets

    rows = [dataclasses.asdict(row) for row in list_nets(size=size, channels=channels, classes=classes)]
    defaults = {kind: f"timm:{backbones.default(kind).name}" for kind in backbones.MACHINES}
    here = backbones.licences_at_hand()
    if json:
        listed = [_described(row) for row in backbones.best_first()]
        shape = {"size": size, "channels": channels, "classes": classes}
        say(json_line({**shape, "nets": rows, "backbones": listed, "at_hand": here, "defaults": defaults}))
        return
    table(rows)
    say("")
    table([_line(row) for row in backbones.best_first()], gap=1)
    say(f"\n{LEGEND}\n\non this machine, best first:")
    for name, licence in here.items():
        say(f"  {name} ({licence or 'licence not stated'})")
    say("photos start from one of these, or where its weights are in the hub's cache from")
    for kind, name in defaults.items():
        say(f"  {name} ({kind.upper()}{'; fetched where it can be' if kind == 'gpu' else ''})")


LEGEND = """\
M: million parameters; GMAC: thousand million multiply-adds at px x px pixels;
%: top-1 on ImageNet as published (*: of a linear head on frozen features);
x: time of a picture relative to tf_efficientnet_lite0, the most of three CPUs.
Weights whose licence is marked ! are refused without --set net.licence=any.
--net NAME takes one of these, or any other net of timm."""


def _described(row: Backbone) -> dict[str, object]:
    """Return a backbone as JSON values, with where its figure is from."""
    from beholder.nets.backbones import MACHINES, SOURCES, cost
    from beholder.nets.licences import permissive

    own = {**dataclasses.asdict(row), "source": SOURCES[row.source], "permissive": permissive(row.licence)}
    return {**own, "megabytes": row.megabytes, "cost": {kind: cost(row, kind) for kind in MACHINES}}


def _line(row: Backbone) -> dict[str, object]:
    """Return a backbone as a row for people, in 80 columns."""
    from beholder.nets.backbones import cost
    from beholder.nets.licences import permissive

    each = cost(row, "cpu")
    return {
        "pretrained backbone": row.name,
        "  M": f"{_short(row.parameters / 1e6):>3}",
        "GMAC": f"{_short(row.gmac):>4}",
        "px": row.side,
        "%": f"{row.quality:.1f}{'*' * (row.figure == 'linear')}" if row.quality else None,
        "  x": None if each is None else f"{each:>3.0f}" if each >= 10 else f"{each:.1f}",
        "licence": row.licence + "!" * (permissive(row.licence) is False),
    }


def _short(number: float) -> str:
    """Return a number in two digits: 0.25, 4.7, 47, 150."""
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"
