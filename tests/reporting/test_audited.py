"""The report's section on the audit."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

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
    now = [100.0]
    monkeypatch.setattr(audited, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(audited, "decode", lambda *_, **__: now.append(now.pop() + 0.25) or np.zeros((160, 160, 3), np.uint8))
    assert audited.seconds(Findings(pictures, tuple(rows), {})) == 8 * 0.25
    assert audited.seconds(Findings(pictures, (), {})) == audited.seconds(None) == 0.0
