from __future__ import annotations

import pytest

from beholder.base.errors import UsageError
from beholder.machine.launch import Launch, launched


def test_what_a_launch_asks_for() -> None:
    assert launched("") == Launch("", 0)
    assert launched("local:3") == Launch("local", 3)
    assert launched("ray") == Launch("ray", 0)
    assert launched("ray:200") == Launch("ray", 200)


@pytest.mark.parametrize("text", ["local", "local:", "local:0", "local:65", "ray:", "ray:0", "ray:x", "8", ":2", "cloud:2"])
def test_what_is_no_launch(text: str) -> None:
    with pytest.raises(UsageError) as error:
        launched(text)
    assert error.value.code == "bad-launch"
