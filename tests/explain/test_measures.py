"""The figures of a map against brute force and the hand."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from napari_harm3.explain.measures import (
    Places,
    dice,
    energy,
    iou_of,
    pointing_game,
    widened,
)


def test_pointing_energy_and_dice_by_hand():
    heat = np.array([[[0.0, 1.0, 3.0, 3.0]]])
    mask = np.array([[[False, True, True, False]]])
    assert pointing_game(heat, mask) == 0.5
    assert energy(heat, mask) == pytest.approx(4 / 7)
    assert dice(heat >= 1.5, mask) == pytest.approx(0.5)
    assert iou_of(0.5) == pytest.approx(1 / 3)


@pytest.mark.parametrize("half", [(2.0, 1.0, 3.0), (0.4, 2.5, 1.9), (30, 30, 30)])
def test_a_mask_grows_by_the_box_around_each_voxel(half):
    rng = np.random.default_rng(1)
    mask = rng.random((15, 12, 10)) < 0.004
    mask[0, 0, 0] = True

    grown = widened(mask, np.diag(np.array(half, dtype=float)))

    everyone = np.argwhere(np.ones_like(mask)) / half
    distance, _ = cKDTree(np.argwhere(mask) / half).query(everyone, p=np.inf)
    np.testing.assert_array_equal(grown.ravel(), distance <= 1 + 1e-9)


def test_on_a_tilted_grid_the_box_is_as_exact():
    mask = np.zeros((41, 41, 5), bool)
    mask[20, 20, 2] = True
    angle = np.deg2rad(30)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    edges = np.zeros((3, 3))
    edges[:2, :2] = turn * [12, 6]
    edges[2, 2] = 1

    grown = widened(mask, edges)

    place = np.argwhere(np.ones_like(mask)) - [20, 20, 2]
    inside = np.abs(np.linalg.solve(edges, place.T)).reshape(3, *mask.shape)
    np.testing.assert_array_equal(grown, (inside <= 1 + 1e-6).all(axis=0))


def test_distances_are_in_mm_of_the_patient():
    mask = np.zeros((10, 10, 10), bool)
    mask[2:5, 2:5, 2:5] = True
    affine = np.array([[0, 2.0, 0, 7], [1.0, 0, 0, -3], [0, 0, 4.0, 1], [0, 0, 0, 1]])
    places = Places(mask, affine)
    peak = np.zeros_like(mask)
    peak[4, 4, 6] = True

    assert places.distance(peak) == pytest.approx(8)
    assert places.distance(mask) == 0
    peak[4, 4, 6], peak[4, 7, 8] = False, True
    assert places.distance(peak) == pytest.approx(np.hypot(6, 16))
    assert places.centre_distance(peak.astype(float)) == pytest.approx(
        np.sqrt(1 + 8**2 + 20**2)
    )
