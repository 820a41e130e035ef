from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from beholder.base.bidi import isolated, isolating, turns

HEBREW, OVERRIDE = "\u05d7\u05ea\u05d5\u05dc", "\u202egnp.exe"


def depth(text: str) -> list[int]:
    """How many isolates are open after each character; what an unmatched end would do is forbidden."""
    found, now = [], 0
    for letter in text:
        now += unicodedata.bidirectional(letter) in ("LRI", "RLI", "FSI")
        now -= unicodedata.bidirectional(letter) == "PDI"
        assert now >= 0
        found.append(now)
    return found


def test_names_that_turn_nothing_stay_as_they_are() -> None:
    for name in ("", "cat", "café", "猫", "Ω-3 (%)"):
        assert isolated(name) == isolating([name])(f"a {name} b").removeprefix("a ").removesuffix(" b") == name


def test_a_sentence_isolates_each_name_and_nothing_else() -> None:
    isolate = isolating(["cat", HEBREW, OVERRIDE, HEBREW + "2"])
    assert isolate(f"{HEBREW} (1), cat (2)") == f"\u2068{HEBREW}\u2069 (1), cat (2)"
    assert isolate(f"given '{OVERRIDE}', looks like '{HEBREW}2'") == (
        f"given '\u2068{OVERRIDE}\u2069', looks like '\u2068{HEBREW}2\u2069'"
    )
    assert isolate(f"{OVERRIDE[:4]}…") == f"\u2068{OVERRIDE[:4]}…\u2069"


@given(
    st.lists(
        st.text(st.sampled_from("ab \u05d0\u0627\u202a\u202b\u202d\u202e\u202c\u2066\u2067\u2068\u2069"), max_size=6),
        max_size=4,
    )
)
def test_outside_of_isolates_no_text_turns(names: list[str]) -> None:
    sentence = isolating(names)(", ".join(names) + ".")
    levels = depth(sentence)
    outside = "".join(letter for letter, level in zip(sentence, levels, strict=True) if not level and letter != "\u2069")
    assert not turns(outside)
    assert not levels or levels[-1] == 0
