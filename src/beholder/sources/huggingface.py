"""`hf:NAME`: data sets of the Hugging Face Hub, as files. None of their code is run.

Parquet is preferred; a set that has neither Parquet nor pictures is taken from the Parquet that the Hub makes of it by itself.
Copies lie in the Hub's own cache, shared with other programs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from beholder.base import events
from beholder.base.errors import DataError, MachineError, UsageError
from beholder.base.limits import LIMITS, Limits
from beholder.base.records import Pictures
from beholder.sources import archive, parquet
from beholder.sources.listing import is_picture, is_table, some
from beholder.sources.remote import not_allowed

CONVERTED = "refs/convert/parquet"
"""The branch into which the Hub writes Parquet made of any set."""


def parsed(name: str) -> tuple[str, str | None, str]:
    """Return repository, revision and configuration of OWNER/NAME[@REVISION][:CONFIGURATION]; "" where there is none.

    Raises `UsageError` (unknown-source).
    """
    whole, _, configuration = name.partition(":")
    repository, _, revision = whole.partition("@")
    if not repository or repository.count("/") > 1 or repository.startswith(("/", ".")):
        raise UsageError(
            f"hf:{name} names no data set", code="unknown-source", hint="write hf:OWNER/NAME, as in the address of its page"
        )
    return repository, revision or None, configuration


def fetched(name: str, *, limits: Limits = LIMITS, allow_download: bool = False) -> Path:
    """Return the folder of a set's files in the Hub's cache, brought up to date or completed if downloads are allowed.

    Raises `UsageError` (unknown-source, download-not-allowed), `DataError` (too-many-bytes),
    `MachineError` (missing-library, download-failed).
    """
    repository, revision, _ = parsed(name)
    hub = _library(name)
    if not allow_download:
        for branch in (revision, CONVERTED) if revision is None else (revision,):
            if (here := _kept(hub, repository, branch)) is not None:
                return here
        raise not_allowed(f"hf:{name}")
    try:
        return _downloaded(hub, repository, revision, limits)
    except (DataError, UsageError, MachineError):
        raise
    except Exception as error:  # each release of the client raises errors of another HTTP library
        raise MachineError(
            f"hf:{name} could not be fetched: {error}", code="download-failed", hint="check the name and the network"
        ) from error


def _kept(hub: Any, repository: str, branch: str | None) -> Path | None:
    """Return the folder of a set in the Hub's cache: its Parquet where it has some, for nothing else was fetched; else all."""
    for patterns in (["*.parquet"], None):
        wanted: dict[str, Any] = {"repo_type": "dataset", "revision": branch, "allow_patterns": patterns}
        try:
            folder = Path(hub.snapshot_download(repository, local_files_only=True, **wanted))
        except (OSError, ValueError):  # LocalEntryNotFoundError is both
            continue
        if patterns is None or next(folder.rglob("*.parquet"), None) is not None:
            return folder
    return None


def _library(name: str) -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        text = f"hf:{name} takes huggingface_hub, which is not installed"
        hint = "pip install 'beholder[hf]'"
        raise MachineError(text, code="missing-library", hint=hint) from error
    return huggingface_hub


def _downloaded(hub: Any, repository: str, revision: str | None, limits: Limits) -> Path:
    files = _files(hub, repository, revision)
    if revision is None and not any(_is_data(file) for file, _ in files):
        events.note(f"{repository} has no Parquet and no pictures: the Hub's own Parquet of it is taken")
        revision = CONVERTED
        files = _files(hub, repository, revision)
    if any(file.endswith(".parquet") for file, _ in files):
        files = [(file, size) for file, size in files if file.endswith(".parquet")]
    total = sum(size for _, size in files)
    if total > limits.download:
        text = f"{repository} has {total:,} bytes, more than the limit of {limits.download:,} for a download"
        hint = "fetch it yourself if you want it, or raise Limits.download"
        raise DataError(text, code="too-many-bytes", hint=hint)
    events.note(f"downloading {len(files):,} files, {total:,} bytes, of {repository}; what is here already is kept")
    wanted = [file.replace("[", "[[]") for file, _ in files]
    return Path(hub.snapshot_download(repository, repo_type="dataset", revision=revision, allow_patterns=wanted))


def _files(hub: Any, repository: str, revision: str | None) -> list[tuple[str, int]]:
    found = hub.HfApi().repo_info(repository, repo_type="dataset", revision=revision, files_metadata=True)
    return [(file.rfilename, file.size or 0) for file in found.siblings or []]


def _is_data(file: str) -> bool:
    return file.endswith(".parquet") or is_picture(file) or is_table(file) or archive.is_archive(Path(file))


def pictures(name: str, folder: Path, *, limits: Limits = LIMITS) -> Pictures | None:
    """Return the pictures of the Parquet files in a set's folder, None where it has none.

    Raises `DataError` (several-configurations, and what `parquet.pictures_of` raises), `UsageError` (unknown-configuration).
    """
    files = sorted(folder.rglob("*.parquet"))
    if not files:
        return None
    asked = parsed(name)[2]
    several: dict[str, list[Path]] = {}
    for file in files:
        several.setdefault(_configuration(file.relative_to(folder)), []).append(file)
    if asked and asked not in several:
        raise UsageError(
            f"{name} has no configuration '{asked}'", code="unknown-configuration", hint=f"it has {some(sorted(several))}"
        )
    if not asked and len(several) > 1:
        first = sorted(several)[0]
        text = f"hf:{name} has several configurations: {some(sorted(several))}"
        hint = f"name one, such as hf:{name}:{first}"
        raise DataError(text, code="several-configurations", hint=hint)
    chosen: Sequence[Path] = several[asked] if asked else files
    return parquet.pictures_of(chosen, name=f"hf:{name}", root=folder, limits=limits)


def _configuration(file: Path) -> str:
    """Return the folder at the top, which is the configuration's name by the Hub's custom; "data" is none."""
    top = file.parts[0] if len(file.parts) > 1 else ""
    return "" if top == "data" else top
