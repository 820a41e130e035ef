"""What tests of training share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file


@pytest.fixture(scope="module", autouse=True)
def _same_bits(one_thread: None) -> None:
    """Runs that are compared with others have the same bits, however busy the machine is."""


@pytest.fixture
def weights(tmp_path: Path) -> str:
    """A tiny pretrained net in timm's local-dir form, for pictures of 128 pixels."""
    torch.manual_seed(3)
    folder = tmp_path / "weights"
    folder.mkdir()
    save_file(timm.create_model("test_resnet", num_classes=2).state_dict(), folder / "model.safetensors")
    config = {
        "architecture": "test_resnet",
        "num_classes": 2,
        "pretrained_cfg": {"input_size": [3, 128, 128], "num_classes": 2, "first_conv": "conv1.0", "classifier": "fc"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)
