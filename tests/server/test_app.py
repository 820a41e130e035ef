from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.server.fakes import BLUE, GREEN, RED, Fake, Served, form, picture, served


@pytest.fixture(scope="module")
def at() -> Iterator[Served]:
    with served(parts=4, body=100_000) as found:
        yield found


def test_a_picture_as_the_body_is_recognised(at: Served) -> None:
    status, said, headers = at.ask("POST", "/predict", picture(GREEN), {"Content-Type": "image/png"})
    assert status == 200
    assert said["model"] == "colours"
    assert said["answers"][0]["label"] == "green"
    assert sum(said["answers"][0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert set(said["timing"]) == {"queue_ms", "decode_ms", "infer_ms"}
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"


def test_pictures_of_a_form_are_answered_in_order_and_a_bad_one_stops_nothing(at: Served) -> None:
    status, said, _ = at.form(picture(RED), b"hello", picture(BLUE, kind="JPEG"), picture(GREEN, kind="WEBP"))
    assert status == 200
    assert [answer.get("label") for answer in said["answers"]] == ["red", None, "blue", "green"]
    assert said["answers"][1]["error"]["code"] == "not-a-picture"


def test_one_bad_picture_is_422_and_says_why(at: Served) -> None:
    status, said, _ = at.ask("POST", "/predict", b"hello")
    assert (status, said["error"]["code"], said["answers"][0]["error"]["code"]) == (422, "not-a-picture", "not-a-picture")


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"", {}, 400, "no-pictures"),
        (b"x" * 100_001, {}, 413, "body-too-large"),
        (form(*[b"x"] * 5), {"Content-Type": "multipart/form-data; boundary=xyz"}, 413, "too-many-parts"),
        (form(b"x", name="other"), {"Content-Type": "multipart/form-data; boundary=xyz"}, 400, "no-pictures"),
        (form(b"x")[:-4], {"Content-Type": "multipart/form-data; boundary=xyz"}, 400, "bad-form"),
        (b"nonsense", {"Content-Type": "multipart/form-data; boundary=xyz"}, 400, "bad-form"),
        (b"nonsense", {"Content-Type": "multipart/form-data"}, 400, "bad-form"),
        (b"--xyz\r\nA: " + b"b" * 9000 + b"\r\n\r\n", {"Content-Type": "multipart/form-data; boundary=xyz"}, 400, "bad-form"),
        (b"x", {"Content-Encoding": "gzip"}, 415, "encoded-body"),
    ],
)
def test_what_cannot_be_a_request_is_refused(at: Served, body: bytes, headers: dict[str, str], status: int, code: str) -> None:
    found, said, _ = at.ask("POST", "/predict", body, headers)
    assert (found, said["error"]["code"]) == (status, code)


def test_a_body_of_unknown_length_is_bounded_too(at: Served) -> None:
    status, said, _ = at.ask("POST", "/predict", iter([b"x" * 50_000] * 40))
    assert (status, said["error"]["code"]) == (413, "body-too-large")
    status, said, _ = at.ask("POST", "/predict", iter([picture(BLUE)[:20], picture(BLUE)[20:]]))
    assert said["answers"][0]["label"] == "blue"


def test_a_net_that_answers_no_numbers_is_500_and_other_pictures_get_their_answer(at: Served) -> None:
    at.recogniser.nan_for = 1
    try:
        status, said, _ = at.ask("POST", "/predict", picture(GREEN))
        assert (status, said["error"]["code"]) == (500, "not-finite")
        assert said["error"]["hint"]
        status, said, _ = at.form(picture(RED), picture(GREEN))
        assert status == 200
        assert [answer.get("label") for answer in said["answers"]] == ["red", None]
        assert said["answers"][1]["error"]["code"] == "not-finite"
        assert at.form(picture(GREEN), picture(GREEN))[0] == 500
    finally:
        at.recogniser.nan_for = None
    assert at.ask("POST", "/predict", picture(GREEN))[1]["answers"][0]["label"] == "green"


def test_paths_say_what_they_are(at: Served) -> None:
    assert at.ask("GET", "/healthz")[:2] == (200, {"status": "ok"})
    assert at.ask("GET", "/readyz")[:2] == (200, {"status": "ready"})
    assert at.ask("GET", "/models")[1][0]["classes"] == ["red", "green", "blue"]
    assert at.ask("GET", "/openapi.json")[1]["paths"]["/predict"]["post"]["requestBody"]["required"]
    for method, path, status, code in (
        ("GET", "/predict", 405, "wrong-method"),
        ("GET", "/../../etc/passwd", 404, "no-such-path"),
        ("POST", "/predict?model=nobody", 404, "unknown-model"),
    ):
        found, said, _ = at.ask(method, path, b"x" if method == "POST" else None)
        assert (found, said["error"]["code"]) == (status, code)


def test_several_models_are_asked_by_name() -> None:
    second = Fake()
    second.config = replace(second.config, classes=("r", "g", "b"))
    with served({"first": Fake(), "second": second}) as at:
        assert at.ask("POST", "/predict", picture(RED))[1]["answers"][0]["label"] == "red"
        assert at.ask("POST", "/predict?model=second", picture(RED))[1]["answers"][0]["label"] == "r"


def test_requests_at_once_share_runs_and_each_gets_its_own_answer() -> None:
    fake = Fake(run=0.05)
    with served(fake, patience=10) as at:
        found: dict[int, str] = {}

        def ask(number: int) -> None:
            found[number] = at.ask("POST", "/predict", picture((RED, GREEN, BLUE)[number % 3]))[1]["answers"][0]["label"]

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [found[number] for number in range(24)] == ["red", "green", "blue"] * 8
    assert sum(fake.runs) == 24 + 2  # two to warm up
    assert len(fake.runs) < 20


def test_a_net_that_fails_is_500_and_the_server_goes_on() -> None:
    fake = Fake()
    with served(fake) as at:
        fake.broken = True
        status, said, _ = at.ask("POST", "/predict", picture())
        assert (status, said["error"]["code"]) == (500, "internal")
        fake.broken = False
        assert at.ask("POST", "/predict", picture())[0] == 200


def test_what_would_wait_too_long_is_refused_at_once() -> None:
    with served(Fake(each=0.1), patience=0.1, batch=1) as at:
        assert at.ask("POST", "/predict", picture())[0] == 200  # now it knows what a picture takes
        statuses: list[tuple[int, float, dict[str, str]]] = []

        def ask() -> None:
            start = time.perf_counter()
            status, _, headers = at.ask("POST", "/predict", picture())
            statuses.append((status, time.perf_counter() - start, headers))

        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
            time.sleep(0.005)
        for thread in threads:
            thread.join()
    refused = [found for found in statuses if found[0] == 503]
    assert {found[0] for found in statuses} == {200, 503}
    assert len(refused) >= 10
    assert all(int(headers["retry-after"]) >= 1 for _, _, headers in refused)
    assert max(seconds for _, seconds, _ in refused) < 0.5


def test_a_request_that_takes_too_long_is_given_up() -> None:
    with served(Fake(run=0.6), seconds=0.1) as at:
        status, said, headers = at.ask("POST", "/predict", picture())
        assert (status, said["error"]["code"], headers["retry-after"]) == (503, "no-answer", "1")
        assert all(model.pending == 0 for model in at.server.service.models.values())
