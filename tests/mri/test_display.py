"""A marked voxel is drawn where it lies in the patient."""

import numpy as np
import pytest

from mri_grids import ORIENTATIONS, oriented
from napari_harm3.mri.display import display_grid, oblique_degrees, window_of

MARK = (8, 2, 5)


def drawn_at(grid, array):
    """Return the LPS position, in the order Z, Y, X, of the brightest drawn voxel."""
    shown = display_grid(grid)
    drawn = shown.show(array, order=1)
    index = np.unravel_index(drawn.argmax(), drawn.shape)
    return np.array(shown.translate) + np.array(index) * shown.scale


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS)
@pytest.mark.parametrize("tilt", [(0, 0, 0), (7, -11, 14)])
def test_a_marked_voxel_keeps_its_place_in_every_orientation(axes, signs, tilt):
    grid = oriented(axes, signs, tilt=tilt)
    array = np.zeros(grid.shape, dtype=np.float32)
    array[MARK] = 1

    x, y, z = (grid.affine @ [*MARK, 1])[:3]

    error = np.abs(drawn_at(grid, array) - (z, -y, -x))
    allowed = 1e-6 if tilt == (0, 0, 0) else grid.spacing_mm.max()
    assert (error <= allowed).all()


def test_a_straight_volume_is_not_resampled(rng):
    grid = oriented((2, 0, 1), (-1, 1, -1))
    array = rng.random(grid.shape)

    shown = display_grid(grid)

    assert shown.oblique_degrees == 0
    np.testing.assert_array_equal(
        np.sort(shown.show(array).ravel()), np.sort(array.ravel())
    )


def test_the_tilt_is_told_in_degrees():
    assert oblique_degrees(
        oriented((0, 1, 2), (1, 1, 1), tilt=(10, 0, 0))
    ) == pytest.approx(10)


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("tilt", [(12, 5, -8), (7, -11, 14), (3, 2, 1)])
def test_an_oblique_array_is_drawn_wherever_its_field_of_view_is(tilt, order):
    grid = oriented((0, 1, 2), (1, 1, 1), tilt=tilt)
    shown = display_grid(grid)

    array = np.full(grid.shape, 2, np.uint8)
    array[MARK] = 1  # the least, which stands outside where intensities are drawn
    drawn = shown.show(array, order=order)

    scale, translate = np.array(shown.scale), np.array(shown.translate)
    z, y, x = (np.indices(shown.shape).T * scale + translate).T  # LPS mm
    inverse = np.linalg.inv(grid.affine)
    index = np.tensordot(inverse[:3, :3], [-x, -y, z], axes=1).T + inverse[:3, 3]
    inside = (index >= -0.5) & (index <= np.array(grid.shape) - 0.5)
    np.testing.assert_array_equal(drawn > order, inside.all(axis=-1).T)


@pytest.mark.parametrize("tilt", [(0, 0, 0), (0, 0, 20)])
def test_the_grids_affine_leads_where_its_volume_lies(tilt):
    native = oriented((0, 1, 2), (-1, 1, 1), tilt=tilt)
    grid = display_grid(native)
    ends = np.array(np.meshgrid(*[(0, n - 1) for n in native.shape], [1]))
    left, back, up, _ = native.affine @ ends.reshape(4, -1) * [[-1], [-1], [1], [1]]

    first, last = (
        (grid.affine @ [*index, 1])[:3]
        for index in ((0, 0, 0), np.array(grid.shape) - 1)
    )

    low, high = ([end(lps) for lps in (up, back, left)] for end in (min, max))
    np.testing.assert_allclose(first, low)
    assert (last >= np.array(high) - 1e-6).all()
    assert (last < np.array(high) + grid.scale).all()


def test_a_small_lesion_brighter_than_all_around_is_not_blown_out():
    head = np.zeros((96, 96, 24))
    head[24:72, 24:72] = np.random.default_rng(0).normal(300, 20, (48, 48, 24))
    lesion = np.s_[30:42, 30:42, 6:12]
    head[lesion] = np.random.default_rng(1).normal(900, 60, (12, 12, 6))

    low, high = window_of(head)

    assert low == 0
    assert np.mean(head[lesion] >= high) < 0.2
    assert (300 - low) / (high - low) > 0.2


@pytest.mark.parametrize("value", [0.0, 0.1, -1000.0])
def test_a_volume_of_one_value_has_a_window(value):
    low, high = window_of(np.full((9, 9, 9), value, np.float32))

    assert low < high
