"""Boxes keep with their pictures, whatever is taken of them."""

import numpy as np

from beholder.base.boxes import Boxes, Drawn, nothing


def drawn(*rows: tuple[float, float, float, float], label: int = 0) -> Drawn:
    """Return boxes of one class."""
    return Drawn(np.array(rows, float).reshape(-1, 4), np.full(len(rows), label), np.zeros(len(rows), bool))


def some() -> Boxes:
    """Return the boxes of four pictures, of which the second has none."""
    return Boxes.of(
        [drawn((0, 0, 2, 2)), nothing(), drawn((1, 1, 3, 3), (2, 2, 4, 4), label=1), drawn((5, 5, 6, 6), label=2)],
        [(10, 8), (0, 0), (20, 16), (30, 24)],
    )


def test_each_picture_has_its_own() -> None:
    boxes = some()
    assert [len(boxes[k].classes) for k in range(4)] == [1, 0, 2, 1]
    assert boxes.pictures.tolist() == [0, 2, 2, 3]
    assert boxes.counts(4).tolist() == [1, 2, 1, 0]


def test_taking_moves_boxes_and_sizes_with_their_pictures() -> None:
    taken = some().take(np.array([3, 1, 2, 2]))
    assert [row.corners[:, 0].tolist() for row in map(taken.__getitem__, range(4))] == [[5], [], [1, 2], [1, 2]]
    assert taken.sizes.tolist() == [[30, 24], [0, 0], [20, 16], [20, 16]]
    assert taken.classes.tolist() == [2, 1, 1, 1, 1]


def test_no_pictures_have_no_boxes() -> None:
    assert len(some().take(np.zeros(0, np.int64))) == 0
    assert len(Boxes.of([])) == 0


def test_crowds_are_not_counted() -> None:
    row = drawn((0, 0, 1, 1), (0, 0, 2, 2))._replace(crowd=np.array([True, False]))
    assert Boxes.of([row]).counts(1).tolist() == [1]
