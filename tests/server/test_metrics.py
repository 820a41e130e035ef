from __future__ import annotations

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from tests.server.fakes import picture, served

from beholder.server.metrics import ROOM, SILENT, Board, Counts, Families, Tally, Together


def values(families: Families) -> dict[str, float]:
    """Return values by series, such as `beholder_pending{model=colours}`."""
    return {
        sample.name + "".join(f"{{{name}={value}}}" for name, value in sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def counted(*, requests: int, workers: int = 1) -> Families:
    total = CounterMetricFamily("beholder_requests_total", "Requests.", labels=("path",))
    total.add_metric(('a"b\\\n',), requests)
    return Families([total, GaugeMetricFamily("beholder_workers", "Processes.", workers)])


def test_what_was_answered_is_counted() -> None:
    with served() as at:
        for body in (picture(), picture(), b"hello"):
            at.ask("POST", "/predict", body)
        at.form(picture(), b"hello", picture())
        at.ask("GET", "/../x")
        status, said, headers = at.ask("GET", "/metrics")
    assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    found = values(Families(text_string_to_metric_families(said.decode())))
    for series, value in {
        "beholder_requests_total{path=/predict}{status=200}": 3,
        "beholder_requests_total{path=/predict}{status=422}": 1,
        "beholder_requests_total{path=other}{status=404}": 1,
        "beholder_request_seconds_count{path=/predict}": 4,
        "beholder_request_seconds_bucket{le=+Inf}{path=/predict}": 4,
        "beholder_pictures_total{model=colours}{outcome=answered}": 4,
        "beholder_pictures_total{model=colours}{outcome=unreadable}": 2,
        "beholder_pending{model=colours}": 0,
        "beholder_held_bytes": 0,
        "beholder_connections": 1,
        "beholder_workers": 1,
    }.items():
        assert found[series] == value, series
    assert sum(value for series, value in found.items() if series.startswith("beholder_batches_total")) >= 3
    assert found["process_resident_memory_bytes"] > 1e6
    assert not [series for series in found if "_created" in series]


def test_buckets_are_cumulative() -> None:
    counts = Counts({}, lambda: 0, lambda: 0)
    for seconds in (0.001, 0.005, 0.3, 100):
        counts.tell("/", 200, seconds)
    found = values(Together(counts).collect())
    edges = {"0.005": 2, "0.25": 2, "0.5": 3, "30.0": 3, "+Inf": 4}
    assert {edge: found[f"beholder_request_seconds_bucket{{le={edge}}}{{path=/}}"] for edge in edges} == edges


def test_workers_are_added_up_whatever_their_labels_hold() -> None:
    board = Board(3)
    Together(counted(requests=5), board, 0).leave()
    Together(counted(requests=7), board, 2).leave()
    found = values(Together(counted(requests=100), board, 1).collect())
    assert found == {'beholder_requests_total{path=a"b\\\n}': 112, "beholder_workers": 3}


def test_no_total_falls_when_a_worker_dies() -> None:
    board, series = Board(2), 'beholder_requests_total{path=a"b\\\n}'
    for _ in range(3):
        Together(counted(requests=5), board, 0).leave()
        board.bury(0)
    first = Together(counted(requests=100), board, 1)
    assert values(first.collect()) == {series: 115, "beholder_workers": 1}  # the dead one is no worker
    Together(counted(requests=1), board, 0).leave()
    assert values(first.collect()) == {series: 116, "beholder_workers": 2}


def test_what_does_not_fit_leaves_what_was_there() -> None:
    board = Board(1)
    board.leave(0, counted(requests=5))
    board.leave(0, Families([GaugeMetricFamily("x", "a" * ROOM, 1)]))
    assert values(Families(board.left(0)))["beholder_workers"] == 1
    assert board.left(0)[0].samples[0].value == 5


def test_a_tally_adds_up_what_servers_left_and_keeps_the_totals_of_those_that_ended() -> None:
    now = [0.0]
    tally = Tally(lambda: now[0])
    text = "# TYPE beholder_requests_total counter\nbeholder_requests_total {}\n"
    text += "# TYPE beholder_pending gauge\nbeholder_pending {}\n"
    tally.leave("a", text.format(3, 1))
    tally.leave("b", text.format(5, 2))
    tally.leave("b", text.format(6, 4))

    def others(who: str) -> dict[str, float]:
        families = text_string_to_metric_families(tally.others(who))
        return {sample.name: sample.value for family in families for sample in family.samples}

    assert others("c") == {"beholder_requests_total": 9, "beholder_pending": 5}
    assert others("a") == {"beholder_requests_total": 6, "beholder_pending": 4}
    now[0] = SILENT + 1
    tally.leave("a", text.format(4, 0))
    assert others("c") == {"beholder_requests_total": 10, "beholder_pending": 0}
    assert others("b") == {"beholder_requests_total": 4, "beholder_pending": 0}
    assert Tally().others("a") == ""
