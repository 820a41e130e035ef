from __future__ import annotations

import json

from beholder.machine.info import info, machine


def test_the_facts_are_json_and_give_the_precision_with_its_reason() -> None:
    facts = json.loads(json.dumps(info()))
    assert {"device", "precision", "precision_reason", "threads", "memory_free", "torch", "cache"} <= facts.keys()
    assert facts["cores"] >= 1
    assert "bit for bit" in facts["repeats"] or facts["device"] != "cpu"
    assert facts["disk_free"] > 0


def test_a_bundle_keeps_no_path_of_the_machine() -> None:
    assert not any("/" in value for name, value in machine().items() if name not in ("device_name",))
