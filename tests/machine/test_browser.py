"""A browser is opened only where somebody would see it."""

from __future__ import annotations

import sys

import pytest

from beholder.machine import browser


@pytest.mark.parametrize(
    ("system", "variables", "seen"),
    [
        ("linux", {}, False),
        ("linux", {"DISPLAY": ":0"}, True),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, True),
        ("linux", {"DISPLAY": ""}, False),
        ("darwin", {}, True),
        ("darwin", {"SSH_CONNECTION": "10.0.0.1 5 10.0.0.2 22"}, False),
        ("win32", {}, True),
    ],
)
def test_there_has_to_be_a_screen(system: str, variables: dict[str, str], seen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", system)
    asked: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: not asked.append(address))
    assert browser.opened("file:///x.html") is seen
    assert asked == ["file:///x.html"] * seen
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert (browser.opener(True) is not None) is seen
    assert browser.opener(False) is None
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert browser.opener(True) is None
