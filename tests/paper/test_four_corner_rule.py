"""Section 2.3: a patch is valid if one of its four corner points lies in tissue."""

import numpy as np
import pytest

from napari_harm3.wsi.patches import any_corner_in
from napari_harm3.wsi.tissue import Tissue


@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_a_plain_reading(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((40, 50)) < 0.2
    scale = (16.0, 16.0)
    tissue = Tissue(mask=mask, level0_per_pixel=scale, polygons={})
    side = 48
    coords = rng.integers(0, 500, (200, 2))

    valid = any_corner_in(tissue, coords, (side, side))

    for (x, y), said in zip(coords, valid, strict=True):
        corners = [
            (x, y), (x + side - 1, y), (x, y + side - 1), (x + side - 1, y + side - 1)
        ]  # fmt: skip
        assert said == any(
            mask[int((b + 0.5) // 16), int((a + 0.5) // 16)] for a, b in corners
        )


def test_one_pixel_of_tissue_under_a_corner_is_enough_and_under_the_centre_is_not():
    tissue = Tissue(
        mask=np.zeros((224, 224), bool), level0_per_pixel=(1, 1), polygons={}
    )
    origin = np.array([[0, 0]])

    tissue.mask[112, 112] = True
    assert not any_corner_in(tissue, origin, (224, 224))[0]

    tissue.mask[223, 223] = True
    assert any_corner_in(tissue, origin, (224, 224))[0]
