"""The common grid: geometry exact, intensities comparable, nothing invented."""

from dataclasses import replace

import numpy as np
import pytest

from mri_grids import ORIENTATIONS, centre_of, grid_about, oriented, volume_on
from napari_harm3.errors import VolumeError
from napari_harm3.mri.config import MriConfig
from napari_harm3.mri.intensity import intensity_of
from napari_harm3.mri.preprocess import (
    common_grid,
    prepare_volumes,
)
from napari_harm3.mri.reading import read_volume
from napari_harm3.mri.resampling import (
    area_fractions,
    resample,
    resample_labels,
    to_native,
)
from napari_harm3.mri.volume import Geometry

CONFIG = MriConfig(size=(16, 24, 20), spacing_mm=(2.0, 2.0, 2.0), crop="none")


def z_scores(volume):
    found = intensity_of(volume, CONFIG)
    return (np.minimum(volume.array, found.most) - found.mean) / found.spread


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

    one = z_scores(volume_on(grid, array))
    other = z_scores(volume_on(grid, array * 7 + 0))

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


@pytest.mark.parametrize("scale", [1.0, 0.37])
def test_whole_numbers_and_fractions_give_the_percentiles_of_a_plain_reading(
    rng, scale
):
    grid = oriented((0, 1, 2), (1, 1, 1), shape=(41, 33, 12))
    array = np.round(rng.gamma(2, 150, grid.shape)) - 300
    array = (array * scale).astype(np.float32)

    scores = z_scores(volume_on(grid, array))

    # Fractions are sorted, so that only every second row and column tells the bound.
    seen = array if scale == 1 else array[::2, ::2]
    low, high = np.percentile(seen, (1, 99))
    body = array[array > low + 0.1 * (high - low)].astype(np.float64)
    clipped = np.clip(body, *np.percentile(body, CONFIG.clip))
    expected = np.minimum(array, clipped.max()) - clipped.mean()
    np.testing.assert_allclose(scores, expected / clipped.std(), atol=1e-4)


def body_at(grid, middle, half):
    """A bright box of uneven brightness in dark air."""
    array = np.full(grid.shape, 10.0)
    box = tuple(slice(m - h, m + h) for m, h in zip(middle, half, strict=True))
    array[box] = 500 + np.indices(array[box].shape).sum(axis=0)
    return volume_on(grid, array)


def test_each_crop_shows_what_it_says():
    grid = oriented((0, 1, 2), (-1, 1, 1), shape=(60, 60, 20), spacing=(1, 1, 2))
    volume = body_at(grid, (20, 30, 12), (10, 12, 5))
    mask = np.zeros(grid.shape, np.uint8)
    mask[14:18, 30:34, 10:12] = 1

    def affine(crop, **given):
        config = replace(CONFIG, crop=crop)
        return prepare_volumes({"t1_pre": volume}, config, **given).affine

    places = {
        "none": (29.5, 29.5, 9.5),
        "center": (19.5, 29.5, 11.5),
        "foreground": (19.5, 29.5, 11.5),
        "annotation": (15.5, 31.5, 10.5),
    }
    for crop, index in places.items():
        given = {"masks": {"t1_pre": mask}} if crop == "annotation" else {}
        middle = centre_of(affine(crop, **given), CONFIG.size)
        np.testing.assert_allclose(middle, (grid.affine @ [*index, 1])[:3], atol=1e-6)
    # The body is 20 x 24 x 20 mm and fills the grid of 20 x 24 x 16 voxels (x, y, z).
    extent = np.abs(affine("foreground")[:3, :3]).max(axis=1) * CONFIG.size[::-1]
    np.testing.assert_allclose(extent, (20, 24, 20))


def test_an_annotation_to_crop_around_must_be_there():
    grid = oriented((0, 1, 2), (1, 1, 1), shape=(30, 30, 10))
    volumes = {"t1_pre": volume_on(grid, ramp(grid))}

    with pytest.raises(VolumeError, match="No annotation marks anything"):
        prepare_volumes(volumes, replace(CONFIG, crop="annotation"))


def ball(grid, radius_mm, offset=(0.0, 0.0, 0.0)):
    """A ball about the middle of a grid, in world millimetres."""
    indices = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"))
    middle = (np.array(grid.shape) - 1) / 2
    away = indices - middle[:, None, None, None]
    world = np.einsum("ij,jxyz->ixyz", grid.affine[:3, :3], away)
    world -= np.array(offset)[:, None, None, None]
    return (world**2).sum(axis=0) <= radius_mm**2


MASKS = [
    (tuple(np.random.default_rng(seed).uniform(-25, 25, 3)), voxels, seed)
    for seed in range(4)
    for voxels in (8, 40, 200, 500, 3000)
]


@pytest.mark.parametrize(("tilt", "voxels", "seed"), MASKS)
@pytest.mark.parametrize("ratio", [0.8, 1.3, 1.9, 2.6, 4.2])
def test_a_mask_keeps_its_volume(tilt, voxels, seed, ratio):
    rng = np.random.default_rng(seed)
    axes, signs = ORIENTATIONS[rng.integers(48)]
    target_mm = np.array([3.0, 2.0, 2.0])
    radius = (voxels * target_mm.prod() * 3 / (4 * np.pi)) ** (1 / 3)
    spacing = tuple(np.array([2.0, 2.0, 3.0]) / ratio)
    shape = tuple(int(2.6 * radius / s) + 5 for s in spacing)
    source = oriented(axes, signs, shape=shape, spacing=spacing, tilt=tilt)
    mask = ball(source, radius, rng.uniform(-1, 1, 3))
    side = int(2.6 * radius / 2) + 6
    target = grid_about(source, (side, side, side), target_mm)

    shares = area_fractions(mask, source, target)
    taken = resample_labels(mask.astype(np.uint8), source, target)

    true_mm3 = mask.sum() * source.spacing_mm.prod()
    assert shares.sum() * target_mm.prod() == pytest.approx(true_mm3, rel=0.05)
    if voxels >= 500:
        assert taken.labels.sum() * target_mm.prod() == pytest.approx(
            true_mm3, rel=0.05
        )
    assert taken.lost == ()


@pytest.mark.slow
def test_real_annotations_keep_their_volume_on_the_models_grid(real_data):
    for path in sorted((real_data / "masks" / "hnts_mrg").glob("*.nii.gz")):
        mask = read_volume(path)
        labels = mask.array.astype(np.uint8)
        body = common_grid(mask, MriConfig(size=(48, 192, 192), crop="center"))
        target = Geometry(shape=(48, 192, 192), affine=body)

        taken = resample_labels(labels, mask, target)

        voxel = 4.0 * 1.75 * 1.75
        for label in (1, 2):
            true_mm3 = (labels == label).sum() * mask.spacing_mm.prod()
            shares = area_fractions(labels == label, mask, target)
            assert shares.sum() * voxel == pytest.approx(true_mm3, rel=0.05, abs=1e-6)
            if true_mm3 >= 500 * voxel:
                found = (taken.labels == label).sum() * voxel
                assert found == pytest.approx(true_mm3, rel=0.05)


def test_a_lesion_too_small_to_see_is_told():
    source = oriented((0, 1, 2), (1, 1, 1), shape=(40, 40, 40), spacing=(1, 1, 1))
    mask = np.zeros(source.shape, np.uint8)
    mask[10:20, 10:20, 10:20] = 1
    mask[30, 30, 30] = 2
    target = grid_about(source, (8, 8, 8), (5.0, 5.0, 5.0))

    taken = resample_labels(mask, source, target)

    assert taken.lost == (2,)
    assert (taken.labels == 1).any()


def test_a_lesion_outside_the_grid_is_told():
    source = oriented((0, 1, 2), (1, 1, 1), shape=(40, 40, 40), spacing=(1, 1, 1))
    mask = np.zeros(source.shape, np.uint8)
    mask[1:8, 1:8, 1:8] = 1

    taken = resample_labels(
        mask, source, grid_about(source, (10, 10, 10), (1.0, 1.0, 1.0))
    )

    assert taken.lost == (1,)


def test_two_labels_share_a_voxel_by_the_larger_area():
    source = oriented((0, 1, 2), (1, 1, 1), shape=(8, 8, 8), spacing=(1, 1, 1))
    mask = np.ones(source.shape, np.uint8)
    mask[5:] = 2  # the second of two target voxels is 1 of 4 the first label
    target = grid_about(source, (2, 2, 2), (4.0, 4.0, 4.0))

    taken = resample_labels(mask, source, target)

    np.testing.assert_array_equal(taken.labels[..., 0], 1)
    np.testing.assert_array_equal(taken.labels[..., 1], 2)


def test_whole_numbers_of_any_type_make_one_tensor(rng):
    grid = oriented((0, 1, 2), (-1, 1, 1), (40, 44, 30), (0.9, 0.9, 2.0), (4, 2, 6))
    whole = rng.gamma(2, 40, grid.shape).astype(np.int16, order="F") - 20
    config = replace(CONFIG, crop="center")
    tensors = [
        prepare_volumes(
            {"t1_pre": replace(volume_on(grid, whole), array=array)}, config
        )
        for array in (whole, whole.astype(np.float32))
    ]

    assert np.abs(tensors[0].array).max() > 1
    np.testing.assert_array_equal(tensors[0].affine, tensors[1].affine)
    np.testing.assert_array_equal(tensors[0].array, tensors[1].array)
