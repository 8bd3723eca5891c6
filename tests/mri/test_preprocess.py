"""The common grid: geometry exact, intensities comparable, nothing invented."""

import numpy as np
import pytest

from mri_grids import ORIENTATIONS, oriented, volume_on
from napari_harm3.errors import VolumeError
from napari_harm3.mri.config import MriConfig
from napari_harm3.mri.preprocess import (
    common_grid,
    normalised,
    prepare_volumes,
    resample,
    to_native,
)
from napari_harm3.mri.volume import Geometry

CONFIG = MriConfig(size=(16, 24, 20), spacing_mm=(2.0, 2.0, 2.0), crop="none")


def ramp(grid, weights=(0.3, -0.7, 1.1)):
    """Return a field that is linear in world coordinates."""
    indices = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"))
    world = np.einsum("ij,jxyz->ixyz", grid.affine[:3, :3], indices)
    world += grid.affine[:3, 3][:, None, None, None]
    return np.einsum("i,ixyz->xyz", weights, world).astype(np.float32)


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS[::5])
def test_a_linear_field_is_reproduced_exactly_where_the_grids_overlap(axes, signs):
    source = oriented(axes, signs, shape=(40, 36, 30), tilt=(9, -6, 12))
    target = Geometry(
        shape=CONFIG.size, affine=common_grid(volume_on(source, ramp(source)), CONFIG)
    )

    sampled = resample(ramp(source), source, target)

    core = (slice(6, 10), slice(9, 15), slice(7, 13))
    np.testing.assert_allclose(sampled[core], ramp(target)[core], atol=1e-3)


def test_box_averages_keep_a_linear_field_exact():
    source = oriented(
        (0, 1, 2), (1, -1, 1), shape=(80, 60, 40), spacing=(0.5, 0.5, 0.7)
    )
    coarse = MriConfig(size=(4, 6, 6), spacing_mm=(4.0, 3.0, 3.0), crop="none")
    target = Geometry(
        shape=coarse.size, affine=common_grid(volume_on(source, ramp(source)), coarse)
    )

    sampled = resample(ramp(source), source, target)

    np.testing.assert_allclose(
        sampled[1:3, 1:5, 1:5], ramp(target)[1:3, 1:5, 1:5], atol=1e-3
    )


@pytest.mark.parametrize("seed", range(30))
def test_a_marked_spot_keeps_its_place_within_half_a_coarse_voxel(seed):
    rng = np.random.default_rng(seed)
    axes, signs = ORIENTATIONS[seed % 48]
    grid = oriented(
        axes,
        signs,
        shape=(48, 40, 20),
        spacing=(1, 1, 2.5),
        tilt=rng.uniform(-20, 20, 3),
    )
    centre = np.array([24, 20, 10]) + rng.integers(-4, 5, 3)
    distance = [
        (np.arange(n) - c) * s
        for n, c, s in zip(grid.shape, centre, grid.spacing_mm, strict=True)
    ]
    spot = np.exp(-sum(d**2 for d in np.meshgrid(*distance, indexing="ij")) / 50)
    target = Geometry(
        shape=CONFIG.size, affine=common_grid(volume_on(grid, spot), CONFIG)
    )

    sampled = resample(spot, grid, target) ** 2
    back = to_native(sampled, target.affine, grid)

    weights = [
        np.average(np.indices(m.shape)[a], weights=m)
        for m in (sampled, back)
        for a in range(3)
    ]
    world = (grid.affine @ [*centre, 1])[:3]
    assert np.abs((target.affine @ [*weights[:3], 1])[:3] - world).max() <= 1.0
    assert np.abs((grid.affine @ [*weights[3:], 1])[:3] - world).max() <= 1.25


def test_left_never_becomes_right():
    grid = oriented((0, 1, 2), (-1, 1, 1), shape=(40, 40, 20), spacing=(1, 1, 2))
    array = np.zeros(grid.shape, np.float32)
    array[30:38] = 1.0  # the first axis runs to the left: high indices are left

    prepared = prepare_volumes(
        {"t1_pre": volume_on(grid, array + ramp(grid) * 1e-3)}, CONFIG
    )

    columns = prepared.array[0, 0].mean(axis=(0, 1))
    brightest = prepared.affine @ [0, 0, columns.argmax(), 1]
    middle = grid.affine @ [20, 20, 10, 1]
    assert brightest[0] < middle[0]


def test_fine_texture_is_averaged_not_picked(rng):
    grid = oriented((0, 1, 2), (1, 1, 1), shape=(64, 64, 64), spacing=(1, 1, 1))
    coarse = MriConfig(size=(8, 8, 8), spacing_mm=(8.0, 8.0, 8.0), crop="none")
    noise = rng.normal(size=grid.shape).astype(np.float32)
    target = Geometry(
        shape=coarse.size, affine=common_grid(volume_on(grid, noise), coarse)
    )

    assert resample(noise, grid, target).std() < 0.1


def test_intensities_of_the_body_are_z_scores_whatever_the_gain(rng):
    grid = oriented((0, 1, 2), (1, 1, 1), shape=(30, 30, 10))
    array = np.zeros(grid.shape)
    array[5:25, 5:25] = rng.normal(400, 40, (20, 20, 10))

    one = normalised(volume_on(grid, array), CONFIG)
    other = normalised(volume_on(grid, array * 7 + 0), CONFIG)

    assert one[5:25, 5:25].mean() == pytest.approx(0, abs=0.02)
    assert one[5:25, 5:25].std() == pytest.approx(1, abs=0.05)
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_a_constant_volume_is_refused():
    grid = oriented((0, 1, 2), (1, 1, 1))
    with pytest.raises(VolumeError, match="all voxels alike"):
        prepare_volumes({"t1_pre": volume_on(grid, np.full(grid.shape, 7.0))}, CONFIG)


def test_volumes_of_different_places_are_refused_by_role():
    here = oriented((0, 1, 2), (1, 1, 1))
    affine = here.affine.copy()
    affine[:3, 3] += 500
    there = Geometry(shape=here.shape, affine=affine)
    volumes = {
        "t1_pre": volume_on(here, ramp(here)),
        "t2_post": volume_on(there, ramp(there)),
    }

    with pytest.raises(VolumeError, match=r"t1_pre and t2_post do not overlap"):
        prepare_volumes(volumes, CONFIG)


def test_absent_volumes_are_zero_and_marked():
    grid = oriented((0, 1, 2), (1, 1, 1))
    prepared = prepare_volumes({"t2_pre": volume_on(grid, ramp(grid))}, CONFIG)

    assert prepared.available.tolist() == [[False, False], [True, False]]
    assert not prepared.array[0].any()
    assert prepared.array[1, 0].any()


def test_pre_and_post_count_as_aligned_only_on_one_grid():
    one = oriented((0, 1, 2), (1, 1, 1))
    other = oriented((0, 1, 2), (1, 1, 1), tilt=(3, 0, 0))
    pre = volume_on(one, ramp(one))

    same = prepare_volumes({"t1_pre": pre, "t1_post": pre}, CONFIG)
    moved = prepare_volumes(
        {"t1_pre": pre, "t1_post": volume_on(other, ramp(other))}, CONFIG
    )

    assert same.aligned
    assert not moved.aligned
