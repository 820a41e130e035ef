"""The YAML at the top of a model card, which the Hugging Face Hub reads and lists the model by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from beholder.base.brief import without_secrets
from beholder.base.errors import UsageError
from beholder.nets.licences import UNKNOWN, permissive
from beholder.nets.spec import Initial
from beholder.sources.huggingface import parsed

KINDS = {"macro_f1": "f1", "micro_f1": "f1"}
"""Score → what the Hub calls such a metric; others go by their own name."""


def front(
    pipeline: str,
    name: str,
    scores: Mapping[str, Any],
    *,
    tags: tuple[str, ...] = (),
    initial: Initial | None = None,
    classes: int = 0,
) -> list[str]:
    """Return the lines of the block, with those that enclose it.

    pipeline: the Hub's name of the task; name: of the net; scores: what scores.json holds, whose values are repeated exactly
    initial: the weights that training began with: their licence is stated, as it may bind; from random weights none is claimed
    """
    import yaml

    data: dict[str, Any] = {"library_name": "beholder", "pipeline_tag": pipeline}
    data |= _licence(initial)
    data["tags"] = list(dict.fromkeys(("beholder", *tags)))
    source = str(scores.get("source", "")).encode("utf-8", "replace").decode()
    where = _data_set(source)
    if source.startswith("hf:") and where["type"] != "imagefolder":
        data["datasets"] = [where["type"]]
    if metrics := _metrics(scores):
        task = {"type": pipeline, **({"name": f"{classes} classes"} if classes else {})}
        data["model-index"] = [{"name": name, "results": [{"task": task, "dataset": where, "metrics": metrics}]}]
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=10_000)
    return ["---", *text.splitlines(), "---"]


def _licence(initial: Initial | None) -> dict[str, str]:
    """Return `license` as the Hub spells it: an identifier that it knows, else "other" with the name that was stated."""
    stated = "" if initial is None else initial.licence.strip()
    if stated.lower() in UNKNOWN:
        return {}
    known = permissive(stated) or stated.lower().startswith("cc-")
    return {"license": stated.lower()} if known else {"license": "other", "license_name": stated}


def _data_set(source: str) -> dict[str, str]:
    """Return what was tested, as an entry of the index: a data set of the Hub, else a folder or file by its last name."""
    if source.startswith("hf:"):
        try:
            repository, revision, configuration = parsed(source.removeprefix("hf:"))
        except UsageError:
            return {"type": "imagefolder", "name": source}
        more = {"config": configuration, "revision": revision or ""}
        return {"type": repository, "name": repository, "split": "test", **{k: v for k, v in more.items() if v}}
    source = without_secrets(source)
    last = next((part for part in reversed(source.replace("\\", "/").split("/")) if part), "pictures")
    return {"type": "imagefolder", "name": last, "split": "test"}


def _metrics(scores: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = []
    for name, score in scores.get("scores", {}).items():
        value = score.get("value") if isinstance(score, Mapping) else None
        if value is not None:
            found.append({"type": KINDS.get(name, name), "value": value, "name": name})
    return found
