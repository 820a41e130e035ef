"""Boxes move as their pixels do: a box that is drawn and moved lies where the moved box says."""

import numpy as np
import pytest
import torch

from beholder.base.boxes import BOX, CROWD, NONE, Boxes, Drawn
from beholder.base.records import Pictures, PixelPolicy
from beholder.data import geometry
from beholder.data.augment import Augment, matrices
from beholder.data.boxed import BoxedBatches, cut_off, fitted, sized, targets_of, unfitted, varied
from beholder.data.lost import without_classes
from beholder.image.fit import fitted as fitted_pixels
from beholder.machine.draws import Draws

PLAN = Augment(scale=0.3, crop=0.3, aspect=0.2, translate=0.1, horizontal=0.5, vertical=0.5)


def boxes_of(*rows: list[tuple[float, float, float, float]]) -> Boxes:
    """Return boxes of one class each."""
    return Boxes.of([Drawn(np.array(r, float).reshape(-1, 4), np.arange(len(r)), np.zeros(len(r), bool)) for r in rows])


@pytest.mark.parametrize("seed", range(8))
def test_a_drawn_box_that_is_moved_lies_where_the_moved_box_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = 96, 128
    low = rng.uniform((20, 16), (70, 50), (6, 2)).round()
    corners = np.concatenate([low, low + rng.uniform(12, 36, (6, 2)).round()], 1)
    images = torch.zeros(6, 1, height, width)
    for image, (left, top, right, bottom) in zip(images, corners.astype(int), strict=True):
        image[:, top:bottom, left:right] = 1
    targets = targets_of(boxes_of(*[[tuple(row)] for row in corners]), range(6))
    moved, found = varied(images, targets, Draws(seed, 0, torch.arange(6)), PLAN, outside=0.0)
    for image, row in zip(moved, found[:, 0], strict=True):
        if row[5] == NONE:
            assert image.max() < 0.6
            continue
        ys, xs = (image[0] > 0.5).nonzero(as_tuple=True)
        assert len(xs)
        seen = torch.tensor([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
        assert (seen - row[:4]).abs().max() <= 1.01, (seen, row)


def test_a_turned_box_is_the_smallest_upright_one_around_it() -> None:
    corners = torch.tensor([[[30.0, 40.0, 50.0, 60.0]]])
    turned = geometry.moved(corners, geometry.rotation(torch.tensor([90.0])), height=100, width=80)
    # anticlockwise about (40, 50): the middle of the box stays, and its sides change places
    assert torch.allclose(turned, corners, atol=1e-3)
    aslant = geometry.moved(corners, geometry.rotation(torch.tensor([45.0])), height=100, width=80)[0, 0]
    assert torch.allclose(aslant[2:] - aslant[:2], torch.full((2,), 20 * 2**0.5), atol=1e-3)


def test_pictures_move_as_they_do_for_labels() -> None:
    images, draws = torch.rand(4, 3, 32, 40), Draws(3, 1, torch.arange(4))
    plan = Augment(scale=0.2, translate=0.1, alternate=True)
    whole = geometry.composed(*matrices(draws, plan, 32, 40))
    assert torch.equal(geometry.sampled(images, whole), geometry.warp(images, *matrices(draws, plan, 32, 40)))


def test_what_is_cut_off_is_learnt_only_where_enough_is_left() -> None:
    rows = torch.tensor(
        [[[-10.0, 0, 10, 10, 0, BOX], [-90, 0, 10, 10, 0, BOX], [50, 50, 60, 60, 0, BOX], [3, 3, 4, 9, 0, BOX], [0] * 6]]
    )
    found = cut_off(rows, 40, 40)[0]
    assert found[:, 5].tolist() == [BOX, CROWD, NONE, CROWD, NONE]
    assert found[0, :4].tolist() == [0, 0, 10, 10]


@pytest.mark.parametrize("fit", ["squash", "pad", "crop"])
def test_boxes_fit_the_net_as_pixels_do(fit: str) -> None:
    pixels = np.zeros((60, 90, 3), np.uint8)
    pixels[20:40, 30:66] = 255
    policy = PixelPolicy(64, 64, 3, fit, (0, 0, 0))
    boxes, right = sized(boxes_of([(30, 20, 66, 40)]), np.array([[90, 60]]))
    assert right.all()
    ours = fitted(boxes, policy)[0].corners[0]
    ys, xs = (fitted_pixels(pixels, policy)[:, :, 0] > 127).nonzero()
    seen = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
    assert np.abs(seen - np.clip(ours, 0, 64)).max() <= 1.01
    back = unfitted(ours[None].astype(np.float32), (90, 60), policy)
    assert np.abs(back - [[30, 20, 66, 40]]).max() < 1e-3


def test_boxes_drawn_at_another_size_are_scaled_and_those_of_another_shape_are_told() -> None:
    boxes = Boxes.of([Drawn(np.array([[10.0, 10, 20, 20]]), np.zeros(1, int), np.zeros(1, bool))] * 2, [(100, 50), (100, 50)])
    found, right = sized(boxes, np.array([[200, 100], [50, 100]]))
    assert found[0].corners.tolist() == [[20, 20, 40, 40]]
    assert right.tolist() == [True, False]


class Plain:
    """Pictures in memory."""

    shape = (3, 16, 24)

    def __len__(self) -> int:
        return 5

    def take(self, positions: np.ndarray) -> np.ndarray:
        """Return grey pictures, each of its own shade."""
        return np.stack([np.full(self.shape, 40 * int(k), np.uint8) for k in positions])


def test_batches_carry_the_boxes_of_their_pictures() -> None:
    boxes = boxes_of([(1, 1, 9, 9)], [], [(2, 2, 12, 12), (3, 3, 13, 13)], [(4, 4, 14, 14)], [])
    how = {"batch": 2, "seed": 0, "device": "cpu", "mean": (0.0,) * 3, "std": (1.0,) * 3}
    batches = BoxedBatches(Plain(), boxes, outside=0.0, plan=Augment(), **how)
    seen = list(batches.epoch(0))
    assert len(seen) == len(batches) == 2
    for batch in seen:
        for row, image, target in zip(batch.indices.tolist(), batch.images, batch.targets, strict=True):
            assert torch.allclose(image, torch.full_like(image, 40 * row / 255))
            assert int((target[:, 5] == BOX).sum()) == len(boxes[row].classes)
    one, same = (torch.cat([b.targets.flatten() for b in batches.epoch(3)]) for _ in range(2))
    assert torch.equal(one, same)


def test_boxes_over_the_edge_are_cut_and_those_outside_left_out_where_no_size_was_drawn() -> None:
    found, right = sized(boxes_of([(-5, 2, 8, 30)], [(50, 2, 60, 9), (1, 1, 4, 4)]), np.array([[20, 10], [20, 10]]))
    assert right.all()
    assert found[0].corners.tolist() == [[0, 2, 8, 10]]
    assert found[1].corners.tolist() == [[1, 1, 4, 4]]
    assert found[1].classes.tolist() == [1]


def test_boxes_keep_their_classes_where_a_class_is_gone() -> None:
    boxes = boxes_of([(0, 0, 4, 4)], [(0, 0, 4, 4), (1, 1, 5, 5), (2, 2, 6, 6)])
    boxes = Boxes(boxes.corners, np.array([2, 0, 2, 2]), boxes.crowd, boxes.starts, boxes.sizes)
    targets = np.array([[0, 0, 1], [1, 0, 1]], np.uint8)
    none = np.full(2, -1, np.int64)
    pictures = Pictures(Memory(), ["a", "b"], targets, ("x", "y", "z"), none.astype(np.int8), none, boxes=boxes)
    left = without_classes(pictures, np.array([False, True, False]))
    assert left.classes == ("x", "z")
    assert left.boxes is not None
    assert left.boxes.classes.tolist() == [1, 0, 1, 1]


class Memory:
    """A store of nothing."""

    name = "memory"

    def read(self, key: str) -> bytes:
        """Return no bytes."""
        return key.encode()

    def stamp(self, key: str) -> str:
        """Return no stamp."""
        return ""
