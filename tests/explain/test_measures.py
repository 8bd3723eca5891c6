"""The figures of a map against scikit-learn, brute force and the hand."""

import numpy as np
import pytest
from scipy.ndimage import zoom
from scipy.spatial import cKDTree
from sklearn import metrics as sk

from napari_harm3.explain.measures import (
    BINS,
    TOLERANCE,
    Places,
    dice,
    energy,
    iou_of,
    pointing_game,
    ranking,
    widened,
)

SHAPE = (24, 20, 16)


def upsampled(rng):
    return zoom(rng.normal(size=(6, 5, 4)), 4, order=1, mode="nearest", grid_mode=True)


MAPS = {
    "upsampled": upsampled,
    "rectified": lambda rng: upsampled(rng).clip(0.2) - 0.2,
    "noise": lambda rng: rng.random(SHAPE),
    "ten values": lambda rng: rng.integers(0, 10, SHAPE).astype(float),
    "two values": lambda rng: rng.integers(0, 2, SHAPE).astype(float),
    "constant": lambda rng: np.full(SHAPE, 3.0),
    "heavy tail": lambda rng: rng.random(SHAPE) ** 30,
    "huge and tiny": lambda rng: 10.0 ** rng.uniform(-30, 30, SHAPE),
    "signed": lambda rng: rng.normal(size=SHAPE) * 1e-12,
    "one outlier": lambda rng: np.append(rng.random(np.prod(SHAPE) - 1), 1e9),
}


def by_scikit_learn(heat, mask):
    precision, recall, _ = sk.precision_recall_curve(mask, heat)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    auc = sk.roc_auc_score(mask, heat)
    return auc, sk.average_precision_score(mask, heat), f1.max()


def figures(found):
    return found.auc, found.ap, found.best_dice


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("share", [0.001, 0.03, 0.6])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_order_says_what_scikit_learn_says(name, share, kind):
    rng = np.random.default_rng(3)
    heat = MAPS[name](rng).ravel().astype(kind)
    mask = rng.random(heat.size) < share * (0.2 + heat.argsort().argsort() / heat.size)
    expected = by_scikit_learn(heat, mask)

    close, exact = ranking(heat, mask), ranking(heat, mask, tolerance=0)

    np.testing.assert_allclose(figures(close), expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(figures(exact), expected, rtol=0, atol=1e-12)


def test_the_bound_holds_where_levels_are_fewest():
    """A hundred thousand voxels within one level, in the worst order."""
    rng = np.random.default_rng(0)
    crowd = np.sort(rng.random(100_000)) / BINS / 2
    heat = np.append(crowd + 1, [0, 2]).astype(np.float64)
    mask = np.zeros(heat.size, bool)
    mask[50_000:50_400] = True

    found = ranking(heat, mask)

    expected = by_scikit_learn(heat, mask)
    np.testing.assert_allclose(figures(found), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["upsampled", "noise", "ten values", "heavy tail"])
def test_the_threshold_reaches_the_best_dice(name):
    rng = np.random.default_rng(5)
    heat = MAPS[name](rng)
    mask = rng.random(heat.shape) < 0.1

    found = ranking(heat.ravel(), mask.ravel())

    reached = dice(heat >= found.threshold, mask)
    assert reached == pytest.approx(found.best_dice, abs=TOLERANCE)


def test_the_map_itself_is_not_changed():
    heat = np.random.default_rng(0).random(1000)
    before = heat.copy()

    ranking(heat, heat > 0.9, tolerance=0)

    np.testing.assert_array_equal(heat, before)


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


def test_on_a_tilted_grid_the_box_is_followed_to_a_voxel():
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
    assert grown[(inside <= 0.85).all(axis=0)].all()
    assert not grown[(inside > 1.2).any(axis=0)].any()


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
