from __future__ import annotations

import json

import torch

from beholder.machine.chip import chip, name, settled
from beholder.machine.cpu import flags


def test_a_chip_has_a_name_and_is_json() -> None:
    cpu = torch.device("cpu")
    found = json.loads(json.dumps(chip(cpu)))
    assert found == {"device": "cpu", "name": name(cpu), "threads": torch.get_num_threads(), "torch": torch.__version__}
    assert name(cpu)
    assert all(flag == flag.strip() and flag for flag in flags())
    settled(cpu)
