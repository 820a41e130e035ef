from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.server.fakes import BLUE, GREEN, RED, Fake, Served, picture, served

import beholder
from beholder.bundle import ood
from beholder.server.guard import Access


@pytest.fixture(scope="module")
def at() -> Iterator[Served]:
    with served(access=Access(keys=("abc",))) as found:
        yield found


def test_a_client_says_what_the_recogniser_says(at: Served, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture(GREEN))
    array = np.full((6, 5, 3), BLUE, np.uint8)
    with beholder.Client(f"http://127.0.0.1:{at.port}/", key="abc", model="colours") as client:
        assert client.ready()
        assert client.models()[0]["classes"] == ["red", "green", "blue"]
        for given, label in (
            (tmp_path / "a.png", "green"),
            (str(tmp_path / "a.png"), "green"),
            (picture(RED), "red"),
            (array, "blue"),
        ):
            guess = client(given)
            local = at.recogniser(given)
            assert guess.label == label == local.label
            assert guess.probabilities == pytest.approx(local.probabilities)
        found = client.predict([picture(RED), b"hello", picture(BLUE)] * 9, batch=4)
        assert [answer.get("label") for answer in found] == ["red", None, "blue"] * 9
        with pytest.raises(beholder.PictureError, match="not a picture") as caught:
            client(b"hello")
        assert caught.value.code == "not-a-picture"
        assert client.predict([]) == []


def test_a_client_says_whether_a_picture_is_out_of_distribution() -> None:
    recogniser, own = Fake(), np.random.default_rng(0).integers(0, 40, (40, 3, 8, 8), dtype=np.uint8)
    ood.keep(recogniser, *recogniser.outputs(own + np.array([200, 0, 0], np.uint8).reshape(3, 1, 1)))
    with served(recogniser) as at, beholder.Client(f"http://127.0.0.1:{at.port}") as client:
        for given, is_ood in ((picture((220, 20, 20)), False), (picture(BLUE), True)):
            told, local = client(given), recogniser(given)
            assert told.ood is local.ood is is_ood
            assert told.ood_score == local.ood_score
            assert (told.ood_score >= 0.95) == is_ood


def test_what_is_wrong_is_said(at: Served) -> None:
    address = f"http://127.0.0.1:{at.port}"
    for client, code in (
        (beholder.Client(address), "no-key"),
        (beholder.Client(address, key="abc", model="nobody"), "unknown-model"),
    ):
        with client, pytest.raises(beholder.UsageError) as caught:
            client(picture())
        assert caught.value.code == code
    with pytest.raises(beholder.MachineError) as gone, beholder.Client("http://127.0.0.1:9", tries=2) as client:
        client(picture())
    assert gone.value.code == "no-server"
    assert not beholder.Client("http://127.0.0.1:9").ready()
    with pytest.raises(beholder.UsageError):
        beholder.Client("127.0.0.1:8000")


def test_an_idle_connection_that_the_server_closed_is_opened_again() -> None:
    with served(idle_seconds=1) as at, beholder.Client(f"http://127.0.0.1:{at.port}") as client:
        assert client(picture()).label == "red"
        threading.Event().wait(1.3)
        assert client(picture()).label == "red"


def test_a_busy_server_is_asked_again_as_it_wishes() -> None:
    fake = Fake()
    with served(fake, patience=0.05, batch=1) as at:
        fake.seconds = (0.3, 0.0)
        with beholder.Client(f"http://127.0.0.1:{at.port}") as client:
            assert client(picture()).label == "red"  # now the server knows what a picture takes
        labels: list[str] = []

        def ask() -> None:
            with beholder.Client(f"http://127.0.0.1:{at.port}", tries=9) as client:
                labels.append(client(picture(BLUE)).label)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        refused = at.ask("GET", "/metrics")[1].decode()
    assert labels == ["blue"] * 3
    assert 'status="503"' in refused
