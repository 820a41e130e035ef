from __future__ import annotations

from typing import Any

import pytest
import yaml

from beholder.bundle.metadata import front
from beholder.nets.spec import Initial


def read(lines: list[str]) -> dict[str, Any]:
    assert lines[0] == lines[-1] == "---"
    found: dict[str, Any] = yaml.safe_load("\n".join(lines[1:-1]))
    return found


def scores(source: str, **values: float | None) -> dict[str, Any]:
    return {
        "source": source,
        "scores": {name: {"value": value, "low": 0.0, "high": 1.0, "n": 9} for name, value in values.items()},
    }


def test_values_are_those_of_the_scores_to_the_last_digit() -> None:
    value = 0.1 + 0.2
    found = read(
        front("image-classification", "cnn", scores("/data/leaves", accuracy=value, macro_f1=1e-7, auroc=None), classes=3)
    )
    (result,) = found["model-index"][0]["results"]
    assert result["task"] == {"type": "image-classification", "name": "3 classes"}
    assert result["dataset"] == {"type": "imagefolder", "name": "leaves", "split": "test"}
    rows = [("accuracy", "accuracy", value), ("f1", "macro_f1", 1e-7)]
    assert [(row["type"], row["name"], row["value"]) for row in result["metrics"]] == rows
    assert "datasets" not in found


@pytest.mark.parametrize(
    ("source", "where"),
    [
        (
            "hf:someone/pets@v1:large",
            {"type": "someone/pets", "name": "someone/pets", "split": "test", "config": "large", "revision": "v1"},
        ),
        ("hf:", {"type": "imagefolder", "name": "hf:"}),
        ("C:\\data\\leaves\\", {"type": "imagefolder", "name": "leaves", "split": "test"}),
        ("", {"type": "imagefolder", "name": "pictures", "split": "test"}),
        ("https://me:SECRET@h.org/x.zip?X-Amz-Signature=SEC/RET", {"type": "imagefolder", "name": "x.zip", "split": "test"}),
        ("a: b\n- 'c' # \udc80 חתול", {"type": "imagefolder", "name": "a: b\n- 'c' # ? חתול", "split": "test"}),
    ],
)
def test_what_was_tested_is_named_without_the_folders_above_it(source: str, where: dict[str, str]) -> None:
    found = read(front("image-classification", "cnn", scores(source, accuracy=0.5)))
    assert found["model-index"][0]["results"][0]["dataset"] == where
    assert found.get("datasets") == (["someone/pets"] if "pets" in source else None)


@pytest.mark.parametrize(
    ("stated", "licence"),
    [
        ("Apache-2.0", {"license": "apache-2.0"}),
        ("CC-BY-NC-4.0", {"license": "cc-by-nc-4.0"}),
        ("DINOv3 License", {"license": "other", "license_name": "DINOv3 License"}),
        ("unknown", {}),
        ("", {}),
    ],
)
def test_the_licence_is_that_of_the_weights_it_began_with(stated: str, licence: dict[str, str]) -> None:
    found = read(front("object-detection", "n", {}, initial=Initial("package==1", stated, "ab" * 32)))
    assert {key: value for key, value in found.items() if key.startswith("license")} == licence
    assert "license" not in read(front("object-detection", "n", {}))
    assert "model-index" not in found


def test_the_hubs_own_values_come_back_from_a_card_as_they_were() -> None:
    hub = pytest.importorskip("huggingface_hub")
    began = Initial("package==1", "DINOv3 License", "ab" * 32)
    held = scores("hf:someone/pets", ap=1 / 3, macro_f1=1e-7)
    lines = front("object-detection", "n: #1", held, tags=("n: #1", "yes", "1"), initial=began, classes=2)
    card = hub.ModelCard("\n".join([*lines, "# Title", "", "---", ""]))
    again = hub.ModelCardData(**hub.ModelCard(f"---\n{card.data.to_yaml()}\n---\n").data.to_dict())
    assert card.data.to_dict() == again.to_dict() == read(lines)
    assert card.data.tags == ["beholder", "n: #1", "yes", "1"]
    results = {row.metric_name: (row.metric_value, row.dataset_type) for row in card.data.eval_results}
    assert results == {"ap": (1 / 3, "someone/pets"), "macro_f1": (1e-7, "someone/pets")}
    assert card.text.startswith("# Title")
