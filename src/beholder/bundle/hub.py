"""A bundle on the Hugging Face Hub: its folder is a model repository as it is. The library is an extra (`hf`)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from beholder.base.errors import MachineError, UsageError
from beholder.base.files import folder_atomic
from beholder.bundle import format
from beholder.bundle.generator import Generator

NAME = re.compile(r"[\w.-]+/[\w.-]+")
LEFT_OUT = ["report.html", ".*"]
"""What is not sent: the report shows pictures of the test part."""


def push(path: str | Path, name: str, *, public: bool = False) -> str:
    """Send the bundle in the folder `path` to the repository `name` (OWNER/NAME), made if need be; return its address.

    public: a new repository may be read by everybody. The report stays here, since it shows pictures.
    Raises `UsageError` for a name that is none, or without the extra `hf`; `BundleError` for a damaged bundle; `MachineError`
    where the hub refuses or cannot be reached.
    """
    path = Path(path)
    _check(path)
    hub = _hub(name)
    try:
        api = hub.HfApi()
        api.create_repo(name, private=not public, exist_ok=True)
        done = api.upload_folder(
            repo_id=name, folder_path=str(path), ignore_patterns=LEFT_OUT, commit_message="A bundle of Beholder"
        )
    except Exception as error:  # its errors share no base but Exception
        raise _refused(name, error) from error
    return str(getattr(done, "commit_url", done))


def pull(name: str, out: str | Path | None = None, *, revision: str | None = None) -> Path:
    """Fetch the bundle of the repository `name` (OWNER/NAME) into the folder `out`, verify it, and return its path.

    out: left out, NAME.beholder in the current folder; it is whole or absent; revision: a branch, tag or commit of it
    Raises as `push` does, and `UsageError` where something that is not a bundle lies at `out`.
    """
    hub = _hub(name)
    path = Path(out) if out is not None else Path(name.partition("/")[2].removesuffix(".beholder") + ".beholder")
    format.check_place(path)
    with folder_atomic(path) as folder:
        try:
            hub.snapshot_download(name, revision=revision, local_dir=str(folder))
        except Exception as error:  # its errors share no base but Exception
            raise _refused(name, error) from error
        _tidy(folder)
        _check(folder)
    return path


def _check(path: Path) -> None:
    """Raise as `format.verified` and `Generator.load` do where no whole bundle lies at `path`, of a model or a generator."""
    if format.makes_pictures(path):
        Generator.load(path)
    else:
        format.verified(path)


def _tidy(folder: Path) -> None:
    """Remove the download's own records from a folder."""
    import shutil

    shutil.rmtree(folder / ".cache", ignore_errors=True)
    (folder / ".gitattributes").unlink(missing_ok=True)


def _hub(name: str) -> Any:
    if not NAME.fullmatch(name):
        raise UsageError(f"'{name}' is no name of a repository", code="bad-name", hint="OWNER/NAME")
    try:
        import huggingface_hub
    except ImportError as error:
        hint = "pip install 'beholder[hf]'"
        raise UsageError("huggingface_hub is not installed", code="needs-extra", hint=hint) from error
    return huggingface_hub


def _refused(name: str, error: Exception) -> MachineError:
    said = next(iter(str(error).splitlines()), "")
    hint = "is the name right, the network there, and `hf auth login` done?"
    return MachineError(f"the hub did not do it for {name}: {type(error).__name__}: {said}", code="hub", hint=hint)
