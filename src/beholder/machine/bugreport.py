"""What helps to find a fault: versions, machine and the last unexpected error, as Markdown, scrubbed of what names a person."""

from __future__ import annotations

import getpass
import importlib.metadata
import json
import os
import platform
import re
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path

from beholder.base import memo
from beholder.base.brief import without_secrets
from beholder.machine.folders import cache_folder

EXTRAS = {
    "hf": "huggingface_hub",
    "heif": "pillow-heif",
    "dicom": "pydicom",
    "jpeg2000": "pylibjpeg-openjpeg",
    "openvino": "openvino",
    "keras": "keras",
    "tensorboard": "tensorboard",
    "mlflow": "mlflow-skinny",
}
"""Optional packages, by what they are for."""

PACKAGES = ("beholder", "torch", "torchvision", "timm", "numpy", "pillow", "scikit-learn", "onnxruntime", "typer", "pydantic")

LINES = 60
"""Lines of a traceback that are kept, the last ones."""


def report() -> str:
    """Return one block of Markdown to be pasted into an issue; `scrubbed` says what is taken out of it."""
    from beholder.machine.info import info

    facts = info()
    rows = [f"| {name} | {_cell(facts[name])} |" for name in SHOWN if name in facts]
    packages = ", ".join(f"{name} {found}" for name in PACKAGES if (found := _version(name)))
    extras = ", ".join(f"{name} ({found})" for name, package in EXTRAS.items() if (found := _version(package)))
    lines = [
        "### Beholder",
        "",
        f"- packages: {packages}",
        f"- extras: {extras or 'none'}",
        f"- python: {platform.python_version()} ({platform.python_implementation()}), {sys.platform}",
        "",
        "| | |",
        "|---|---|",
        *rows,
        "",
        *_last(),
    ]
    return scrubbed("\n".join(lines)).rstrip()


SHOWN = (
    *("system", "device", "device_name", "cores", "threads", "memory_free", "disk_free"),
    *("cache", "precision", "precision_reason"),
)
"""Facts of `beholder info` that stand in a report."""


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|").replace("\n", " ")


def _version(package: str) -> str:
    """Return the version of an installed package, "" where it is not there."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _path() -> Path:
    return cache_folder() / "machine" / "last-error.json"


def note_error(error: BaseException, *, command: str = "") -> None:
    """Keep an unexpected error, scrubbed, for a later `report`; what cannot be kept is no matter."""
    with suppress(Exception):
        text = "".join(traceback.format_exception(error)).splitlines()[-LINES:]
        said = {"command": scrubbed(command), "time": time.strftime("%Y-%m-%d"), "traceback": scrubbed("\n".join(text))}
        memo.keep_record(_path(), said, what="an error")


def _last() -> list[str]:
    """Return the last unexpected error as lines, none where nothing is known of one."""
    said = memo.record(_path())
    if not isinstance(said.get("traceback"), str):
        return ["No unexpected error is known."]
    head = f"Last unexpected error, of `beholder {said.get('command', '')}` on {said.get('time', '?')}:"
    return [head, "", "```", str(said["traceback"]), "```"]


def scrubbed(text: str) -> str:
    """Return a text in which homes are `~`, and the names of this user and of this machine `USER` and `HOST`.

    The folder that Python's packages lie in is left out of paths; of other absolute paths the last part stays, of URLs neither
    name, password nor query. What a message says in other words, such as the name of a picture, stays.
    """
    for folder in sorted({str(Path(path)) for path in (*sys.path, sys.prefix) if len(path) > 1}, key=len, reverse=True):
        text = text.replace(folder + os.sep, "")
    for home in filter(lambda home: len(home) > 1, {_home(), os.environ.get("USERPROFILE", "")}):
        text = text.replace(json.dumps(home)[1:-1], "~").replace(home, "~")
    text = re.sub(r"(?:[A-Za-z]:)?[\\/]+(?:home|Users)[\\/]+[^\\/\s'\"]+", "~", text)
    text = _PLACE.sub(_last_part, text)
    for name, word in ((_user(), "USER"), *((host, "HOST") for host in _hosts())):
        if len(name) > 1 and name not in COMMON:
            text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", word, text)
    return text


COMMON = ("root", "user", "localhost")
"""Names that tell nothing of a person or a machine."""


_WORD = r"(?:[^\\/\s'\"|,;:]|[,;:](?=[^\\/\s]))+"
_PART = rf"{_WORD}(?: {_WORD})*[\\/]+"
_PLACE = re.compile(rf"[A-Za-z][\w+.-]+://[^\s'\"|]*|(?<![\w.…])(~|(?:[A-Za-z]:)?)[\\/]+(?:{_PART})+([^\\/\s'\"|]*)")
"""A URL, or an absolute path: the home or drive that it begins with, and its last part. Other parts may hold spaces."""


def _last_part(found: re.Match[str]) -> str:
    """Return a URL without its secrets, and a path without the folders that it goes through."""
    return without_secrets(found[0]) if found[2] is None else f"{found[1]}{'/' if found[1] else ''}…/{found[2]}"


def _home() -> str:
    """Return the user's home, "" for one who has none, as in a container that runs as a number."""
    try:
        return str(Path.home())
    except RuntimeError:
        return ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container without a name for its user; Windows without one set
        return ""


def _hosts() -> list[str]:
    name = platform.node()
    return [host for host in dict.fromkeys((name, name.partition(".")[0])) if host]
