"""AUC, AP and best Dice of a map against scikit-learn."""

import numpy as np
import pytest
from scipy.ndimage import zoom
from sklearn import metrics as sk

from napari_harm3.explain.ranking import BINS, TOLERANCE, ranking

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


def test_the_map_itself_is_not_changed():
    heat = np.random.default_rng(0).random(1000)
    before = heat.copy()

    ranking(heat, heat > 0.9, tolerance=0)

    np.testing.assert_array_equal(heat, before)
