"""Published weights: where they lie, whether they are already on this machine, and fetching them in bounded time.

Only safetensors files are taken; a pickle is never read. The cache is that of huggingface_hub, shared with timm.
"""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from beholder.base import events
from beholder.base.errors import MachineError


def place(config: Mapping[str, object]) -> tuple[str, str | None, str] | None:
    """Return (repository, revision, file) of the weights that a timm `pretrained_cfg` names, None if not safetensors."""
    repository = config.get("hf_hub_id")
    file = str(config.get("hf_hub_filename") or "model.safetensors")
    if not repository or not file.endswith(".safetensors"):
        return None
    name, _, revision = str(repository).partition("@")
    return name, revision or None, file


def cached(config: Mapping[str, object]) -> Path | None:
    """Return the weights' file in the hub cache, None if it is not there. Touches no network."""
    from huggingface_hub import try_to_load_from_cache

    where = place(config)
    if where is None:
        return None
    found = try_to_load_from_cache(where[0], where[2], revision=where[1])
    return Path(found) if isinstance(found, str) else None


def empty() -> bool:
    """Return whether the hub cache holds no model at all, which is known before any library is asked for one."""
    from huggingface_hub import constants

    return next(Path(constants.HF_HUB_CACHE).glob("models--*"), None) is None


def offline() -> bool:
    """Return whether the person asked to stay offline: nothing can be fetched then."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def reachable(*, timeout: float = 3.0) -> bool:
    """Return whether the hub answers within `timeout` seconds; False when the person asked to stay offline.

    Asked in a thread, because looking up a name has no time limit of its own.
    """
    from huggingface_hub import constants

    if offline():
        return False
    answers: list[bool] = []

    def ask() -> None:
        request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=timeout):
                answers.append(True)
        except urllib.error.HTTPError as error:
            error.close()
            answers.append(True)  # it refused, so it is there
        except OSError:
            pass

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout)
    return bool(answers)


def fetch(config: Mapping[str, object]) -> Path:
    """Return the weights' file, downloaded if need be; raise `MachineError` (no-weights) that says why it cannot be had."""
    from huggingface_hub import constants, hf_hub_download

    where = place(config)
    if where is None:
        raise MachineError("no safetensors weights are published for it", code="no-weights")
    found = cached(config)
    if found is not None:
        return found
    if not reachable():
        why = "HF_HUB_OFFLINE is set" if offline() else f"{constants.ENDPOINT} does not answer"
        raise MachineError(f"they are not in the cache and {why}", code="no-weights")
    events.note(f"downloading {where[2]} of {where[0]}")
    try:
        return Path(hf_hub_download(where[0], where[2], revision=where[1], etag_timeout=10.0))
    except Exception as error:  # each release of the client raises errors of another HTTP library
        raise MachineError(f"the download failed: {error}", code="no-weights") from error
