"""From grid to grid: what a plain reading in double precision gives."""

import numpy as np
import pytest
from scipy import ndimage

from mri_grids import ORIENTATIONS, grid_about, oriented
from napari_harm3.mri.resampling import resample
from napari_harm3.mri.volume import Geometry


@pytest.mark.parametrize("tilt", [(0, 0, 0), (4, -3, 6)])
def test_only_what_the_target_shows_is_read(rng, tilt):
    source = oriented(
        (0, 2, 1), (1, -1, 1), shape=(50, 44, 36), spacing=(1, 1, 1), tilt=tilt
    )
    array = rng.random(source.shape, dtype=np.float32)
    target = grid_about(source, (6, 7, 8), (2.3, 2.0, 1.0))
    middle = tuple(slice(9, n - 9) for n in source.shape)
    hidden = np.full(source.shape, np.nan, np.float32)
    hidden[middle] = array[middle]

    np.testing.assert_array_equal(
        resample(hidden, source, target), resample(array, source, target)
    )


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS[::3])
def test_straight_and_oblique_grids_are_interpolated_alike(rng, axes, signs):
    source = oriented(axes, signs, shape=(20, 24, 18), spacing=(1.1, 0.9, 1.7))
    array = rng.random(source.shape, dtype=np.float32)
    target = grid_about(source, (9, 12, 11), (1.3, 1.4, 1.2))
    turned = Geometry(shape=source.shape, affine=source.affine.copy())
    turned.affine[:3, :3] = turned.affine[:3, :3] @ (np.eye(3) + 3e-6)

    np.testing.assert_allclose(
        resample(array, source, target), resample(array, turned, target), atol=2e-3
    )


def plain_reading(array, source, target, factors, most):
    """Boxes, then trilinear, in double precision and with no thought of speed."""
    array = np.minimum(array.astype(np.float64), most)
    missing = [-n % f for n, f in zip(array.shape, factors, strict=True)]
    array = np.pad(array, [(0, n) for n in missing], mode="edge")
    for axis, factor in enumerate(factors):
        shape = (*array.shape[:axis], -1, factor, *array.shape[axis + 1 :])
        array = array.reshape(shape).mean(axis=axis + 1)
    boxes = source.affine.copy()
    boxes[:3, 3] += source.affine[:3, :3] @ ((np.array(factors) - 1) / 2)
    boxes[:3, :3] *= factors
    matrix = np.linalg.inv(boxes) @ target.affine
    return ndimage.affine_transform(
        array,
        matrix[:3, :3],
        matrix[:3, 3],
        output_shape=target.shape,
        order=1,
        cval=np.nan,
    )


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.float32])
@pytest.mark.parametrize("tilt", [(0, 0, 0), (5, -3, 8)])
@pytest.mark.parametrize("spacing", [(1.0, 1.1, 3.0), (0.8, 0.7, 1.0)])
def test_a_volume_is_resampled_as_a_plain_reading_has_it(rng, kind, tilt, spacing):
    source = oriented((0, 1, 2), (-1, -1, 1), (61, 63, 47), spacing, tilt)
    array = rng.integers(0, 250, source.shape).astype(kind, order="F")
    if kind == np.int16:
        array -= 120
    target = grid_about(source, (9, 18, 17), (4.0, 1.75, 1.75))
    steps = np.abs(np.linalg.inv(source.affine)[:3, :3] @ target.affine[:3, :3])
    factors = np.maximum(np.floor(steps.max(axis=1) + 1e-6), 1).astype(int)

    sampled = resample(array, source, target, most=100.5)

    expected = plain_reading(array, source, target, factors, 100.5)
    inside = np.isfinite(expected)
    assert inside.mean() > 0.5
    np.testing.assert_allclose(sampled[inside], expected[inside], atol=1e-3)
