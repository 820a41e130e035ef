"""What a bundle of any kind keeps of its run: the recipe, the part of each picture, and the readings of the test part."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from beholder.base import events
from beholder.base.errors import MachineError
from beholder.base.recipe import Recipe
from beholder.bundle import format


class Kept:
    """A bundle that knows its split. recipe, splits, readings, path: as in `Bundle`."""

    recipe: Recipe
    splits: list[tuple[str, str]]
    readings: list[dict[str, Any]]
    path: Path | None

    def count_reading(self, n: int, when: str) -> None:
        """Record that `n` pictures of the test part were read at `when` (ISO 8601), on disk too where the bundle is saved."""
        self.set_readings([*self.readings, {"n": n, "when": when}])

    def set_readings(self, readings: list[dict[str, Any]]) -> None:
        """Record which readings of the test part there were, on disk too where the bundle is saved."""
        if readings == self.readings:
            return
        self.readings = readings
        if self.path is not None and self.path.is_dir():
            try:
                format.add_file(self.path, "readings.json", plain(self.readings))
            except MachineError as error:
                events.warn(f"this reading of the test part is not counted on disk: {error.message}")

    def part_of(self, digests: Sequence[str]) -> list[str]:
        """Return the part ("train", "valid", "test" or "") that each SHA-256 was in when this bundle was trained.

        A picture that a given split has in several parts counts as of the last of them.
        """
        known = dict(self.splits)
        return [known.get(digest, "") for digest in digests]

    def used(self, digests: Sequence[str]) -> list[bool]:
        """Return whether each SHA-256 is that of a picture which was trained on, or which weights were chosen by."""
        seen = {digest for digest, part in self.splits if part != "test"}
        return [digest in seen for digest in digests]


def plain(value: object) -> bytes:
    """Return plain JSON values as a file of a bundle holds them."""
    return json.dumps(value, indent=1, allow_nan=False).encode()
