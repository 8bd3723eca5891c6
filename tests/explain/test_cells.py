"""Maps between the centres of their cells, and what lies beyond the outer ones."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import ndimage

from map_readings import upsampled
from mri_grids import grid_about, oriented
from napari_harm3.explain.agreement import agreement, field_of_view
from napari_harm3.explain.cells import (
    CellGrid,
    Centres,
    cell_grid,
    drawn,
)
from napari_harm3.explain.measures import energy
from napari_harm3.mri.volume import Geometry

SIZE, CELLS = (12, 32, 20), (3, 4, 3)
STRIDED = Centres(start=(0, 0, 0), step=(4, 8, 8))
POOLED = Centres(start=(1.5, 3.5, 3.5), step=(4, 8, 8))
VALID = Centres(start=(3, 6, 1), step=(3, 6, 8))
"""Of a network without padding, whose outer cells have more beyond their centres."""

VOXELS = np.array([[0, 0, -2, 30], [0, 2, 0, -12], [4, 0, 0, 5], [0, 0, 0, 1]], float)
"""From z, y, x of the model's grid to RAS mm: x runs to the left."""

NATIVE = Geometry(
    shape=SIZE[::-1],
    affine=VOXELS[:, [2, 1, 0, 3]],
)
"""A volume with the model's voxels, its axes as in a file."""

every_layout = pytest.mark.parametrize("centres", [STRIDED, POOLED, VALID])


def noise(seed=0):
    return np.random.default_rng(seed).random(CELLS)


@every_layout
def test_the_grid_of_cells_lies_where_their_centres_do(centres):
    grid = cell_grid(CELLS, SIZE, VOXELS, centres)

    for cell in np.ndindex(*CELLS):
        voxel = np.array(centres.start) + np.array(centres.step) * cell
        np.testing.assert_allclose(grid.affine @ [*cell, 1], VOXELS @ [*voxel, 1])
    np.testing.assert_allclose(grid.spacing_mm, np.array(centres.step) * [4, 2, 2])


@every_layout
def test_a_map_is_drawn_on_a_volume_as_on_the_models_grid(centres):
    cam, grid = noise(), cell_grid(CELLS, SIZE, VOXELS, centres)

    heat = drawn(cam, grid, NATIVE)

    np.testing.assert_allclose(heat.T, upsampled(cam, SIZE, centres), atol=1e-6)


@pytest.mark.parametrize("tilt", [(0, 0, 0), (5, -3, 8)])
@pytest.mark.parametrize("start", [0.0, 1.5, 4.0])
def test_a_map_is_drawn_as_a_plain_reading_has_it(tilt, start):
    native = oriented((0, 1, 2), (-1, -1, 1), (61, 63, 47), (1.0, 1.1, 3.0), tilt)
    grid = grid_about(native, (12, 16, 20), (6.0, 3.1, 2.3))
    centres = Centres(start=(start,) * 3, step=(4.0, 4.0, 4.0))
    cells = cell_grid((3, 4, 5), grid.shape, grid.affine, centres)
    cam = np.random.default_rng(0).random(cells.shape, dtype=np.float32)

    heat = drawn(cam, cells, native)

    matrix = np.linalg.inv(cells.affine) @ native.affine
    expected = ndimage.affine_transform(
        cam.astype(np.float64),
        matrix[:3, :3],
        matrix[:3, 3],
        output_shape=native.shape,
        order=1,
        mode="nearest",
    )
    place = np.einsum("ij,jxyz->ixyz", matrix[:3, :3], np.indices(native.shape))
    place += matrix[:3, 3, None, None, None]
    first, last = cells.view[:, :, None, None, None]
    depth = np.minimum(place - first, last - place).min(axis=0)
    assert 0.1 < (depth > 0).mean() < 0.9
    np.testing.assert_allclose(heat[depth > 1e-4], expected[depth > 1e-4], atol=1e-5)
    assert not heat[depth < -1e-4].any()


@every_layout
def test_the_model_sees_all_of_its_grid_and_nothing_beyond(centres):
    grid = cell_grid(CELLS, SIZE, VOXELS, centres)
    wide = oriented((0, 1, 2), (1, 1, 1), shape=(60, 90, 70), spacing=(1, 1, 1))
    affine = wide.affine.copy()
    affine[:3, 3] = (-20, -22, -1)
    wide = Geometry(shape=wide.shape, affine=affine)

    seen = field_of_view(wide, grid)

    indices = np.indices(wide.shape).reshape(3, -1)
    to_voxels = np.linalg.inv(VOXELS) @ affine
    voxel = to_voxels[:3, :3] @ indices + to_voxels[:3, 3:]
    ends = np.array(SIZE)[:, None] - 0.5
    inside = ((voxel >= -0.5) & (voxel <= ends)).all(axis=0).reshape(wide.shape)
    assert 0 < inside.mean() < 1
    np.testing.assert_array_equal(seen, inside)


@every_layout
@pytest.mark.parametrize("corner", [(0, 0, 0), (4, 10, 6), (9, 27, 15)])
def test_no_map_of_the_cells_beats_the_ceiling_of_their_centres(centres, corner):
    grid = cell_grid(CELLS, SIZE, VOXELS, centres)
    lesion = np.zeros(NATIVE.shape, np.uint8)
    z, y, x = corner
    lesion[x : x + 5, y : y + 5, z : z + 3] = 1
    tents = [np.zeros(CELLS) for _ in range(np.prod(CELLS))]
    for number, one in enumerate(tents):
        one.flat[number] = 1
    best = max(energy(drawn(one, grid, NATIVE), lesion > 0) for one in tents)

    found = agreement(drawn(noise(), grid, NATIVE), lesion, NATIVE, grid)

    assert found["energy"]["ceiling"] == pytest.approx(best, rel=1e-5)
    for name in ("dice", "auc", "ap", "pointing_game"):
        assert found[name]["value"] <= found[name]["ceiling"] + 1e-6


def test_the_ceiling_of_other_centres_is_another():
    lesion = np.zeros(NATIVE.shape, np.uint8)
    lesion[6:11, 14:19, 3:6] = 1  # about the voxel (4, 16, 8), a strided cell's centre
    heat = np.ones(NATIVE.shape, np.float32)

    strided, pooled = (
        agreement(heat, lesion, NATIVE, cell_grid(CELLS, SIZE, VOXELS, centres))
        for centres in (STRIDED, POOLED)
    )

    assert strided["energy"]["ceiling"] > 1.2 * pooled["energy"]["ceiling"]
    assert strided["best_dice"]["ceiling"] > pooled["best_dice"]["ceiling"]


def test_a_plain_grid_of_cells_ends_with_their_boxes():
    plain = cell_grid(CELLS, SIZE, VOXELS, POOLED)
    grid = Geometry(shape=plain.shape, affine=plain.affine)

    assert isinstance(plain, CellGrid)
    # The last cell along x would reach to voxel 23.5, but the model sees 20.
    np.testing.assert_array_equal(
        drawn(noise(), grid, NATIVE), drawn(noise(), plain, NATIVE)
    )


def test_no_torch_is_loaded():
    code = "import sys, napari_harm3.explain.cells; print('torch' in sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "False"
