"""What a process that somebody else starts is told by its environment: numbers by name, and where the cache is."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from beholder.machine.folders import VARIABLE as CACHE

VARIABLE = "BEHOLDER_BOUNDS"


def telling(numbers: Mapping[str, float]) -> dict[str, str]:
    """Return the variables that tell these numbers, and the folder of the cache where one is named."""
    cache = os.environ.get(CACHE, "")
    return {VARIABLE: json.dumps(dict(numbers)), **({CACHE: cache} if cache else {})}


def told() -> dict[str, Any]:
    """Return the numbers that this process was told; none where it was told nothing."""
    found: dict[str, Any] = json.loads(os.environ.get(VARIABLE, "{}"))
    return found
