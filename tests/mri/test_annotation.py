"""An annotation lies on its volume, or is refused."""

import numpy as np
import pytest

from dicom_files import classic_slices, save, save_series, structure_set
from mri_grids import oriented
from napari_harm3.errors import VolumeError
from napari_harm3.mri.annotation import (
    check_annotation,
    check_contents,
    read_annotation,
)
from napari_harm3.mri.segmentation import write_segmentation
from napari_harm3.mri.volume import Geometry, read_nifti, write_volume


def box(grid):
    mask = np.zeros(grid.shape, np.uint8)
    mask[3:8, 3:7, 2:5] = 2
    return mask


def test_labels_on_the_volumes_own_grid_come_back_unchanged(tmp_path):
    grid = oriented((0, 1, 2), (1, 1, 1), tilt=(5, 0, 0))
    write_volume(tmp_path / "m.nii.gz", box(grid), grid.affine)

    np.testing.assert_array_equal(
        read_annotation(tmp_path / "m.nii.gz", grid), box(grid)
    )


def test_a_mask_on_another_grid_keeps_its_volume(tmp_path):
    fine = oriented((1, 0, 2), (1, -1, 1), shape=(60, 60, 30), spacing=(0.5, 0.5, 1))
    mask = np.zeros(fine.shape, np.uint8)
    mask[10:50, 10:50, 5:25] = 1
    coarse = oriented((1, 0, 2), (1, -1, 1), shape=(30, 30, 30), spacing=(1, 1, 1))
    write_volume(tmp_path / "m.nii.gz", mask, fine.affine)

    moved = read_annotation(tmp_path / "m.nii.gz", coarse)

    assert moved.sum() * 1.0 == pytest.approx(mask.sum() * 0.25, rel=0.05)


def test_an_empty_mask_is_an_annotation(tmp_path):
    grid = oriented((0, 1, 2), (1, 1, 1))
    write_volume(tmp_path / "m.nii.gz", np.zeros(grid.shape, np.uint8), grid.affine)

    assert not read_annotation(tmp_path / "m.nii.gz", grid).any()


def test_a_mask_mostly_outside_its_volume_is_refused(tmp_path):
    grid = oriented((0, 1, 2), (1, 1, 1))
    affine = grid.affine.copy()
    affine[0, 3] += 9
    write_volume(tmp_path / "m.nii.gz", box(grid), affine)

    with pytest.raises(VolumeError, match=r"Only .*m\.nii\.gz lies inside"):
        read_annotation(tmp_path / "m.nii.gz", grid)


def test_an_image_is_no_annotation(tmp_path):
    grid = Geometry(shape=(5, 5, 5), affine=np.eye(4))
    write_volume(
        tmp_path / "m.nii.gz", np.random.default_rng(0).random((5, 5, 5)), np.eye(4)
    )

    with pytest.raises(VolumeError, match="no labels"):
        read_annotation(tmp_path / "m.nii.gz", grid)


def ball(grid, centre, radius):
    """Return a ball in RAS mm, as labels of a grid."""
    indices = np.indices(grid.shape).reshape(3, -1)
    world = grid.affine[:3, :3] @ indices + grid.affine[:3, 3:]
    far = np.linalg.norm(world - np.reshape(centre, (3, 1)), axis=0)
    return (far <= radius).reshape(grid.shape).astype(np.uint8)


def middle(grid):
    return grid.affine[:3, :3] @ ((np.array(grid.shape) - 1) / 2) + grid.affine[:3, 3]


def test_labels_keep_their_meaning_on_another_grid(tmp_path):
    fine = oriented((0, 1, 2), (-1, -1, 1), shape=(80, 80, 60), spacing=(0.5, 0.5, 1))
    coarse = oriented((2, 0, 1), (1, 1, -1), shape=(60, 50, 50), spacing=(1, 1.2, 1))
    shift = middle(fine) - middle(coarse)
    affine = coarse.affine.copy()
    affine[:3, 3] += shift
    coarse = Geometry(shape=coarse.shape, affine=affine)
    aside = np.array([1.0, 0, 0])
    primary = ball(fine, middle(fine) + 6 * aside, 8)
    nodes = ball(fine, middle(fine) - 9 * aside, 6)
    write_volume(tmp_path / "m.nii.gz", primary + 2 * nodes, fine.affine)

    moved = read_annotation(tmp_path / "m.nii.gz", coarse)

    for label, part in ((1, primary), (2, nodes)):
        volume = (moved == label).sum() * np.prod(coarse.spacing_mm)
        expected = part.sum() * np.prod(fine.spacing_mm)
        assert volume == pytest.approx(expected, rel=0.05)
        there = affine @ [*np.argwhere(moved == label).mean(axis=0), 1]
        here = fine.affine @ [*np.argwhere(part).mean(axis=0), 1]
        np.testing.assert_allclose(there, here, atol=0.5)


def test_a_lesion_smaller_than_the_voxels_is_not_lost(tmp_path):
    fine = oriented((0, 1, 2), (1, 1, 1), shape=(60, 60, 60), spacing=(0.5, 0.5, 0.5))
    affine = np.diag([5.0, 5, 5, 1])
    affine[:3, 3] = fine.affine[:3, 3]
    coarse = Geometry(shape=(6, 6, 6), affine=affine)
    mask = np.zeros(fine.shape, np.uint8)
    mask[13:16, 13:16, 13:16] = 1  # between the centres of coarse voxels
    mask[43:47, 33:36, 23:26] = 2
    mask[23:26, 43:46, 53:55] = 2
    write_volume(tmp_path / "m.nii.gz", mask, fine.affine)

    moved = read_annotation(tmp_path / "m.nii.gz", coarse)

    assert (moved == 1).sum() == 1
    assert (moved == 2).sum() == 2
    (place,) = np.argwhere(moved == 1)
    np.testing.assert_array_equal(place, (1, 1, 1))


def test_a_mask_that_fills_its_grid_keeps_its_outermost_half_voxels(tmp_path):
    thick = Geometry(shape=(10, 10, 4), affine=np.diag([1.0, 1, 6, 1]))
    affine = np.diag([1.0, 1, 1, 1])
    affine[2, 3] = -5
    thin = Geometry(shape=(10, 10, 30), affine=affine)
    write_volume(tmp_path / "m.nii.gz", np.ones(thick.shape, np.uint8), thick.affine)

    moved = read_annotation(tmp_path / "m.nii.gz", thin)

    assert moved.any(axis=(0, 1)).sum() == pytest.approx(24, abs=1)


@pytest.mark.parametrize("folder", [False, True])
def test_dicom_annotations_are_told_by_content(tmp_path, folder):
    square = np.array([(-7, -6, 3), (-3, -6, 3), (-3, -2, 3), (-7, -2, 3.0)])
    path = save(structure_set([("Tumor", [square])]), tmp_path / "rt" / "a.nii.gz")
    grid = Geometry(shape=(9, 9, 9), affine=np.eye(4))

    check_annotation(path.parent if folder else path)
    labels = read_annotation(path.parent if folder else path, grid)

    assert labels[3:7, 2:6, 3].any()
    assert not labels[..., :3].any()


@pytest.mark.parametrize("kind", ["RTSTRUCT", "SEG"])
def test_contents_are_checked_to_their_end(tmp_path, kind):
    path = tmp_path / "a.dcm"
    if kind == "SEG":
        source = save_series(tmp_path / "s", classic_slices())
        write_segmentation(path, np.ones((7, 5, 6), np.uint8), source)
    else:
        square = np.array([(-7, -6, 3), (-3, -6, 3), (-3, -2, 3), (-7, -2, 3.0)])
        save(structure_set([("Tumor", [square])]), path)
    whole = path.read_bytes()
    check_contents(path)

    for length in range(200, len(whole), 13):
        path.write_bytes(whole[:length])
        with pytest.raises(VolumeError, match=r"^a\.dcm "):
            check_contents(path)


def test_a_dicom_image_is_no_annotation(tmp_path):
    save_series(tmp_path / "s", classic_slices())
    grid = Geometry(shape=(9, 9, 9), affine=np.eye(4))

    for ask in (check_annotation, lambda path: read_annotation(path, grid)):
        with pytest.raises(VolumeError, match=r"holds no annotation.* RTSTRUCT"):
            ask(tmp_path / "s")


def test_headers_of_masks_are_checked_without_their_voxels(tmp_path):
    grid = oriented((0, 1, 2), (1, 1, 1))
    write_volume(tmp_path / "m.nii.gz", box(grid), grid.affine)
    check_annotation(tmp_path / "m.nii.gz")

    with pytest.raises(VolumeError, match="does not exist"):
        check_annotation(tmp_path / "absent.nii.gz")


def test_real_masks_of_nodes_and_primary_stay_on_a_coarser_grid(real_data):
    path = real_data / "masks" / "hnts_mrg" / "2_preRT_mask.nii.gz"
    mask = read_nifti(path)
    affine = mask.affine @ np.diag([3.0, 3.0, 1.0, 1.0])
    affine[:3, 3] = (mask.affine @ [1, 1, 0, 1])[:3]
    shape = (mask.shape[0] // 3, mask.shape[1] // 3, mask.shape[2])

    labels = read_annotation(path, Geometry(shape=shape, affine=affine))

    for label in (1, 2):
        before = (mask.array == label).sum()
        assert 9 * (labels == label).sum() == pytest.approx(before, rel=0.05)


@pytest.mark.parametrize("how", ["finer voxels", "turned"])
def test_a_mask_on_a_slightly_other_grid_stays_in_its_place(tmp_path, how):
    affine = np.diag([-0.4063, -0.4063, 3.0, 1.0])
    volume = Geometry(shape=(512, 512, 3), affine=affine)
    other = affine @ np.diag([0.98, 0.98, 1, 1])
    if how == "turned":
        other = affine.copy()
        cos, sin = np.cos(np.radians(1)), np.sin(np.radians(1))
        other[:2, :2] = [[cos, -sin], [sin, cos]] @ affine[:2, :2]
    mask = np.zeros(volume.shape, np.uint8)
    mask[485:500, 470:500, 1] = 1
    write_volume(tmp_path / "m.nii.gz", mask, other)

    moved = read_annotation(tmp_path / "m.nii.gz", volume)

    here, there = np.argwhere(mask).mean(axis=0), np.argwhere(moved).mean(axis=0)
    np.testing.assert_allclose(affine @ [*there, 1], other @ [*here, 1], atol=0.41)
