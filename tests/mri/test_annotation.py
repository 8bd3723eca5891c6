"""An annotation lies on its volume, or is refused."""

import numpy as np
import pytest

from mri_grids import oriented
from napari_harm3.errors import VolumeError
from napari_harm3.mri.annotation import read_annotation
from napari_harm3.mri.volume import Geometry, write_volume


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
