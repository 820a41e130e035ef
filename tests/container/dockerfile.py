"""A Dockerfile as instructions, by stage."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass
class Stage:
    """One stage. base: what it is FROM; name: after AS; steps: (INSTRUCTION, the rest of its line)."""

    base: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, what: str) -> list[str]:
        """What stands after each `what`."""
        return [rest for instruction, rest in self.steps if instruction == what]

    def one(self, what: str) -> str:
        """What stands after the only `what`."""
        (found,) = self.all(what)
        return found

    def command(self, what: str) -> list[str]:
        """The words of an instruction in exec form."""
        words = json.loads(self.one(what).partition("[")[1] + self.one(what).partition("[")[2])
        assert all(isinstance(word, str) for word in words)
        return list(words)


def stages(text: str) -> list[Stage]:
    """The stages of a Dockerfile."""
    found: list[Stage] = []
    for line in text.replace("\\\n", " ").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"([A-Z]+)\s+(.*\S)\s*", line)
        assert match, line
        if match[1] == "FROM":
            base, _, name = match[2].partition(" AS ")
            found.append(Stage(base, name))
        else:
            assert found, "FROM comes first"
            found[-1].steps.append((match[1], match[2]))
    return found
