"""Section 2.3: a patch is valid if one of its four corner points lies in tissue."""

import numpy as np
import pytest

from napari_harm3.wsi.patches import taken
from napari_harm3.wsi.tissue import Tissue


def tissue_of(mask, scale):
    return Tissue(mask=mask, level0_per_pixel=scale, contours=())


def corners(x, y, side):
    end_x, end_y = x + side - 1, y + side - 1
    return [(x, y), (end_x, y), (x, end_y), (end_x, end_y)]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("rule", "least"), [("corners_any", 1), ("corners_all", 4)])
def test_agrees_with_a_plain_reading(seed, rule, least):
    rng = np.random.default_rng(seed)
    mask = rng.random((40, 50)) < (0.2 if least == 1 else 0.8)
    side = 48
    coords = rng.integers(0, 500, (200, 2))

    valid = taken(tissue_of(mask, (16.0, 16.0)), coords, (side, side), rule)

    for (x, y), said in zip(coords, valid, strict=True):
        hits = sum(
            mask[int((b + 0.5) // 16), int((a + 0.5) // 16)]
            for a, b in corners(x, y, side)
        )
        assert said == (hits >= least)


def test_one_pixel_of_tissue_under_a_corner_is_enough_and_under_the_centre_is_not():
    tissue = tissue_of(np.zeros((224, 224), bool), (1, 1))
    origin = np.array([[0, 0]])

    tissue.mask[111, 111] = True
    assert not taken(tissue, origin, (224, 224), "corners_any")[0]
    assert taken(tissue, origin, (224, 224), "center")[0]

    tissue.mask[223, 223] = True
    assert taken(tissue, origin, (224, 224), "corners_any")[0]
    assert not taken(tissue, origin, (224, 224), "corners_all")[0]
    assert not taken(tissue, origin, (224, 224), "top_left")[0]
