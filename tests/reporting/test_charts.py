"""Figures of the report: round ticks, curves within their frame, heat maps cell by cell."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from beholder.reporting import charts

EPOCHS, LOSS = charts.Axis("epoch", whole=True), charts.Axis("")


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 8))
def test_ticks_are_even_few_and_span_the_values(low: float, span: float, most: int) -> None:
    found = charts.ticks(low, low + span, most)
    steps = np.diff(found)
    assert 2 <= len(found) <= most + 3
    assert np.allclose(steps, steps[0], rtol=1e-6)
    assert found[0] <= low + steps[0] * 1e-6
    assert found[-1] >= low + span - steps[0] * 1e-6


@given(st.lists(st.floats(-1e5, 1e5), min_size=2, max_size=30))
def test_curves_stay_within_their_frame(values: list[float]) -> None:
    history = [{"epoch": e, "loss": v} for e, v in enumerate(values, start=1)]
    svg = charts.chart("Loss", [charts.series(history, "loss", "training", "first")], EPOCHS, LOSS)
    points = re.search(r'points="([^"]+)"', str(svg))
    assert points is not None
    xy = np.array([[float(v) for v in pair.split(",")] for pair in points[1].split()])
    assert len(xy) == len(values)
    assert xy[:, 0].min() >= charts.LEFT
    assert xy[:, 0].max() <= charts.WIDTH - charts.RIGHT
    assert xy[:, 1].min() >= charts.TOP - 0.1
    assert xy[:, 1].max() <= charts.HEIGHT - charts.BOTTOM + 0.1


def test_long_histories_are_thinned_and_names_escaped() -> None:
    curve = charts.series([{"epoch": e, "loss": 1 / e} for e in range(1, 5001)], "loss", "<b>", "first")
    assert len(curve.points) <= 400
    drawn = str(charts.chart("<b>", [curve], charts.Axis("<b>"), charts.Axis("<b>")))
    assert drawn.count("&lt;b&gt;") == 3
    assert "<b>" not in drawn


def read(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_a_heat_map_has_one_pixel_a_cell() -> None:
    table = np.zeros((50, 50), np.int64)
    np.fill_diagonal(table, 8)
    table[3, 7], table[3, 3] = 1, 7
    pixels = read(charts.heat_map(table))
    assert pixels.shape == (50, 50, 4)
    assert pixels[0, 0].tolist() == [*charts.GOOD, 255]
    assert pixels[3, 7].tolist() == [*charts.WRONG, 128]
    assert pixels[7, 3, 3] == 0


def test_a_huge_heat_map_is_drawn_in_blocks_and_loses_no_confusion() -> None:
    table = np.eye(2001, dtype=np.int64)
    table[2000, 0] = 1
    pixels = read(charts.heat_map(table, largest=800))
    assert pixels.shape == (667, 667, 4)
    assert pixels[-1, 0, 3] > 0


def test_axes_show_what_they_must_and_the_diagonal_joins_equal_values() -> None:
    curve = charts.Series("x", "first", [(0.4, 0.5), (0.6, 0.7)], spans=[(0.5, 0.2, 0.9)], dots=True)
    share = charts.Axis("p", 0, 1, percent=True)
    drawn = str(charts.chart("Reliability", [curve], share, share, diagonal=True))
    assert ">100%<" in drawn
    assert ">0%<" in drawn
    ends = re.search(r'class="ideal" x1="([\d.]+)" y1="([\d.]+)" x2="([\d.]+)" y2="([\d.]+)"', drawn)
    assert ends is not None
    assert [float(v) for v in ends.groups()] == [
        charts.LEFT,
        charts.HEIGHT - charts.BOTTOM,
        charts.WIDTH - charts.RIGHT,
        charts.TOP,
    ]
    assert "polyline" not in drawn
    assert drawn.count("<circle") == 2
    assert 'class="span first"' in drawn


def test_an_overlay_is_clear_where_nothing_spoke() -> None:
    pixels = read(charts.overlay(np.array([[0.0, 1.0], [np.nan, 0.5]], np.float32)))
    assert pixels[..., 3].tolist() == [[0, 190], [0, 95]]
    assert pixels[0, 1, :3].tolist() == [255, 0, 0]
