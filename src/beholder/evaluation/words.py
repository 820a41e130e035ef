"""The words of the report in one language, from one table that holds every language side by side (strings.toml)."""

from __future__ import annotations

import re
import string
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from beholder.base.errors import UsageError, did_you_mean
from beholder.base.records import Score

LANGUAGES = ("en", "zh")
"""English and Simplified Chinese."""

Entry = Mapping[str, str]


@dataclass(frozen=True)
class Words:
    """The words of one language: `words("next.unreadable", n=3)`.

    An entry of the table has a text per language, and where English differs for n = 1 also "one".
    """

    lang: str = "en"

    def __post_init__(self) -> None:
        """Raise `UsageError` for a language that the table does not have."""
        if self.lang not in LANGUAGES:
            hint = did_you_mean(self.lang, LANGUAGES)
            raise UsageError(f"there is no language '{self.lang}'", code="unknown-language", hint=hint)

    def __call__(self, key: str, **values: object) -> str:
        """Return the text of `key` ("group.name") with its placeholders filled; raise `KeyError` for an unknown key."""
        entry = entries()[key]
        text = entry["one"] if self.lang == "en" and "one" in entry and values.get("n") == 1 else entry[self.lang]
        return text.format_map(values)

    def has(self, key: str) -> bool:
        """Return whether the table has the key."""
        return key in entries()

    def named(self, group: str, name: str) -> str:
        """Return the text of "group.name", or the name itself, spaces for underscores, where the table does not have it."""
        return self(f"{group}.{name}") if self.has(f"{group}.{name}") else name.replace("_", " ")

    def said(self, sentence: str) -> str:
        """Return a sentence that another room said in English; it stays English where group "said" has no such form."""
        if self.lang == "en":
            return sentence
        for form, text in _forms(self.lang):
            if found := form.fullmatch(sentence):
                return text.format_map(found.groupdict())
        return sentence

    def percent(self, value: float) -> str:
        """Return a share as text: "96.2 %", never rounded up to a hundred or down to nothing; "–" for NaN."""
        if value != value:
            return "–"
        shown = f"{100 * value:.1f}"
        if (shown == "100.0" and value < 1) or (shown == "0.0" and value > 0):
            shown = "> 99.9" if value > 0.5 else "< 0.1"
        return self("form.percent", x=shown)

    def figure(self, value: float, range: tuple[float, float] | None = None) -> str:
        """Return a share as `percent` does, or what lies in another range as a number: "0.812"; "–" for NaN."""
        return self.percent(value) if range is None or value != value else f"{value:.3f}"

    def between(self, score: Score, range: tuple[float, float] | None = None) -> str:
        """Return the interval of a share as text: "94.1 to 97.6 %"; "–" where there is no score, words where no interval.

        range: in which the score lies where it is no share
        """
        if score.low != score.low:
            return "–" if score.value != score.value else self("form.not_estimable")
        if range is not None:
            return self("form.range", low=f"{score.low:.3f}", high=f"{score.high:.3f}")
        return self("form.between", low=f"{100 * score.low:.1f}", high=f"{100 * score.high:.1f}")


@cache
def entries() -> dict[str, Entry]:
    """Return the table: "group.name" → {"en", "zh"} and perhaps "one"."""
    table = tomllib.loads(files("beholder.evaluation").joinpath("strings.toml").read_text("utf-8"))
    return {f"{group}.{name}": entry for group, rows in table.items() for name, entry in rows.items()}


def placeholders(text: str) -> set[str]:
    """Return the names of what is filled into a text.

    >>> sorted(placeholders("{n} of {total:,}"))
    ['n', 'total']
    """
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@cache
def _forms(lang: str) -> list[tuple[re.Pattern[str], str]]:
    """Return (what matches the English sentence, the sentence in `lang`) of each entry of group "said"."""
    rows = [entry for key, entry in entries().items() if key.startswith("said.")]
    return [(re.compile("".join(_parts(entry["en"])), re.DOTALL), entry[lang]) for entry in rows]


def _parts(text: str) -> Iterator[str]:
    for literal, name, _, _ in string.Formatter().parse(text):
        yield re.escape(literal)
        if name:
            yield f"(?P<{name}>.+?)"
