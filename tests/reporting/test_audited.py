"""The report's section on the audit."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from beholder.base.records import Finding
from beholder.quality.audit import Findings
from beholder.reporting import audited
from beholder.sources import scan


def test_what_the_audits_pictures_will_take_is_told_beforehand(leaves: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = scan(leaves)
    rows = [Finding(key, "dark", 0.9, "w", "keep") for key in pictures.keys[:20]] + [Finding("", "few", 0.5, "w")]
    rows += [Finding(key, "grey", 0.9, "w", "keep") for key in pictures.keys[:2]]
    monkeypatch.setattr(audited, "decode", lambda *_, **__: time.sleep(0.02) or np.zeros((160, 160, 3), np.uint8))
    assert 8 * 0.02 <= audited.seconds(Findings(pictures, tuple(rows), {})) < 8 * 0.2
    assert audited.seconds(Findings(pictures, (), {})) == audited.seconds(None) == 0.0
