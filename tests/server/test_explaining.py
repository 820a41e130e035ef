"""Heat maps by HTTP: how far to trust one goes with it, and a recogniser without a net says that it has none."""

from __future__ import annotations

import time
from collections.abc import Callable
from io import BytesIO
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image
from tests.server.fakes import Fake, picture, served

from beholder.server.guard import Access


class Netted(Fake):
    """Has what stands for a net."""

    net = None


@pytest.fixture
def explained(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that has every heat map be of these probabilities: covered, and covered elsewhere."""
    import beholder.explanation as room

    def set_to(p: float, elsewhere: float, *, warm: bool = True, label: str = "猫 100 %", seconds: float = 0.0) -> None:
        def explain(_recogniser: Any, small: bytes, **_: Any) -> Any:
            time.sleep(seconds)
            image = np.asarray(Image.open(BytesIO(small)).convert("RGB"))
            heat = np.full(image.shape[:2], float(warm), np.float32)
            covered = {"share": 0.1, "p": p, "elsewhere": elsewhere}
            return room.Explanation(label, 0.9, label, "occlusion", "a test", heat, image, covered)

        monkeypatch.setattr(room, "explain", explain)

    return set_to


def test_a_recogniser_without_a_net_is_501_with_a_way_out() -> None:
    with served() as at:
        assert at.ask("GET", "/models")[1][0]["explains"] is False
        status, said, _ = at.ask("POST", "/explain", picture())
        assert (status, said["error"]["code"]) == (501, "needs-torch")
        assert "--explain" in said["error"]["hint"]


def test_how_far_to_trust_a_map_goes_with_it(explained: Callable[..., None]) -> None:
    with served(Netted(), access=Access(origins=("https://pets.example",))) as at:
        for p, elsewhere, warm, verdict, remark in (
            (0.2, 0.9, True, "sound", "with the warmest 10% covered p is 0.20, with as much covered elsewhere 0.90"),
            (0.88, 0.89, True, "doubtful", "elsewhere 0.89: do not trust this map"),
            (0.9, 0.9, False, "empty", "nothing in the picture speaks for 猫 100 %"),
        ):
            explained(p, elsewhere, warm=warm)
            status, data, headers = at.ask("POST", "/explain", picture(), {"Origin": "https://pets.example"})
            assert (status, headers["content-type"], headers["beholder-map"]) == (200, "image/png", verdict)
            assert headers["beholder-covered"] == f"share=0.1;p={p};elsewhere={elsewhere}"
            assert unquote(headers["beholder-remark"]).endswith(remark)
            assert "beholder-map" in headers["access-control-expose-headers"]
            assert Image.open(BytesIO(data)).size == (12, 10)


def test_a_map_that_takes_too_long_is_given_up_and_still_counts(explained: Callable[..., None]) -> None:
    explained(0.1, 0.9, seconds=0.8)
    with served(Netted(), seconds=0.2) as at:
        status, said, headers = at.ask("POST", "/explain", picture())
        assert (status, said["error"]["code"], headers["retry-after"]) == (503, "no-answer", "1")
        assert at.server.service.explainer.waiting == 1
        time.sleep(1)
        assert at.server.service.explainer.waiting == 0
