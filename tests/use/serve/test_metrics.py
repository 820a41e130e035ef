from __future__ import annotations

import re

from tests.use.serve.fakes import picture, served

from beholder.use.serve.metrics import SLOT, Board, Requests, series, text

LINE = re.compile(r'^[a-z_]+(\{[a-z]+="([^"\\]|\\.)*"(,[a-z]+="([^"\\]|\\.)*")*\})? [-+.e0-9]+$')


def test_what_was_answered_is_counted() -> None:
    with served() as at:
        for body in (picture(), picture(), b"hello"):
            at.ask("POST", "/predict", body)
        at.form(picture(), b"hello", picture())
        at.ask("GET", "/../x")
        status, said, headers = at.ask("GET", "/metrics")
    lines = said.decode().splitlines()
    assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert all(LINE.match(line) for line in lines if not line.startswith("# "))
    for line in (
        'beholder_requests_total{path="/predict",status="200"} 3',
        'beholder_requests_total{path="/predict",status="422"} 1',
        'beholder_requests_total{path="other",status="404"} 1',
        'beholder_request_seconds_count{path="/predict"} 4',
        'beholder_request_seconds_bucket{path="/predict",le="+Inf"} 4',
        'beholder_pictures_total{model="colours",outcome="answered"} 4',
        'beholder_pictures_total{model="colours",outcome="unreadable"} 2',
        'beholder_pending{model="colours"} 0',
        "beholder_held_bytes 0",
        "beholder_workers 1",
    ):
        assert line in lines


def test_buckets_are_cumulative() -> None:
    requests = Requests()
    for seconds in (0.001, 0.005, 0.3, 100):
        requests.tell("/", 200, seconds)
    values = requests.values()
    edges = {"0.005": 2, "0.25": 2, "0.5": 3, "30.0": 3, "+Inf": 4}
    assert {edge: values[series("beholder_request_seconds_bucket", path="/", le=edge)] for edge in edges} == edges


def test_workers_are_added_up_and_what_does_not_fit_is_left_out() -> None:
    board = Board(3)
    board.leave(0, {"beholder_workers": 1, "beholder_held_bytes": 5})
    board.leave(1, {"beholder_workers": 1})
    board.leave(2, {"x" * SLOT: 1})
    assert sorted(map(len, board.others(0))) == [1]
    said = text([{"beholder_workers": 1.0}, *board.others(1)])
    assert "beholder_workers 2\n" in said
    assert "beholder_held_bytes 5\n" in said
