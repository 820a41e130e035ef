"""What a shell is offered at Tab beside commands and options: names and bundles, found without loading torch.

Each function takes the word as far as it is typed and returns all that could be meant; typer keeps what begins with it. Where
nothing is returned the shell completes files by itself.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from beholder.base.errors import UsageError, did_you_mean

VARIABLE = "_BEHOLDER_COMPLETE"
"""The variable by which a shell asks what could follow, as typer names it."""

SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")

METHODS = ("auto", "gradcam", "rollout", "gradients", "occlusion")
"""Of `explain`: the registry of these stands in a package that loads torch."""

GRAPHS = (".onnx", ".xml")
"""Endings of exported models, which a model may be given as."""


def install(arguments: Sequence[str]) -> str | None:
    """Do what `--show-completion` and `--install-completion` [SHELL] ask for; return what is said of it.

    None where the arguments ask for neither; without SHELL it is the shell that this was called from.
    Raises `UsageError`: unknown-shell.
    """
    if not arguments or arguments[0] not in ("--show-completion", "--install-completion") or arguments[1:2] == ["--help"]:
        return None
    completion: Any = import_module("typer.completion")
    shell = arguments[1] if len(arguments) > 1 else _shell()
    if shell not in SHELLS:
        what = f"there is no completion for '{shell}'" if shell else "this shell cannot be told"
        hint = did_you_mean(shell, SHELLS) if shell else f"name it: beholder {arguments[0]} zsh"
        raise UsageError(what, code="unknown-shell", hint=hint)
    if arguments[0] == "--show-completion":
        return str(completion.get_completion_script(prog_name="beholder", complete_var=VARIABLE, shell=shell))
    _, path = completion.install(shell=shell, prog_name="beholder", complete_var=VARIABLE)
    return f"completion for {shell} is in {path}; it works in shells that are opened from now on"


def _shell() -> str:
    """Return the shell that this was called from, "" where it cannot be told."""
    shellingham: Any = import_module("shellingham")  # which typer needs
    try:
        return str(shellingham.detect_shell()[0])
    except (shellingham.ShellDetectionFailure, OSError):
        return ""


def models(incomplete: str) -> list[str]:
    """Return the bundles and graphs at a path that is half typed, and the folders there; [] where it leads to no model.

    A name before "=" (of `serve`) stays as it is.
    """
    name, equals, typed = incomplete.rpartition("=")
    folder = typed.rpartition("/")[0] + "/" if "/" in typed else ""
    try:
        with os.scandir(Path(folder or ".").expanduser()) as entries:
            found = [(entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith(".")]
    except OSError:
        return []
    found = sorted(entry for entry in found if entry[0].startswith(typed.rpartition("/")[2]))
    here = [folder + each for each, is_folder in found if each.endswith(".beholder" if is_folder else GRAPHS)]
    inner = [f"{folder}{each}/" for each, is_folder in found if is_folder and not each.endswith(".beholder")]
    return [name + equals + path for path in here + inner] if here else []


def nets() -> list[str]:
    """Return the names of `beholder nets`: nets from scratch, then pretrained backbones."""
    from beholder.nets.names import NETS, listed

    return ["auto", *NETS, *listed()]


def recipes(incomplete: str) -> list[str]:
    """Return the names of recipes; [] for what is a path."""
    from beholder.base.recipe import named

    return [name for name in named() if name.startswith(incomplete)]


def fields() -> list[str]:
    """Return the fields of a recipe, each with the "=" that its value follows."""
    from beholder.base.recipe import names

    return [f"{name}=" for name in names()]


def tasks() -> list[str]:
    """Return the names of tasks."""
    from beholder.tasks import BOXES, TASKS

    return ["auto", *TASKS, *BOXES]


def objectives() -> list[str]:
    """Return the scores by which weights are chosen."""
    from beholder.tasks import TASKS
    from beholder.tasks.task import Task

    return sorted({name for task in TASKS.sound(of=Task).values() for name in task.objectives})


def checks() -> list[str]:
    """Return the names of the checks of an audit."""
    from beholder.quality.checks import CHECKS

    return CHECKS.names()


def exports() -> list[str]:
    """Return the forms of export."""
    from beholder.runtime.exports import EXPORTS

    return EXPORTS.names()


def engines() -> list[str]:
    """Return the two ways to choose an engine; an engine by its name is what `predict` says it ran on."""
    return ["exact", "fast"]


def methods() -> list[str]:
    """Return the ways to explain."""
    return list(METHODS)


def policies(incomplete: str) -> list[str]:
    """Return what may be done about findings; [] for what is the path of an audit.csv."""
    return [name for name in ("report", "fix", "relabel", "off") if name.startswith(incomplete)]
