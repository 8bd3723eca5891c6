"""No wrong voxel passes unnoticed."""

import gzip
import struct

import nibabel as nib
import numpy as np
import pytest

from mri_grids import oriented
from napari_harm3.errors import VolumeError
from napari_harm3.mri.volume import (
    Geometry,
    read_nifti,
    read_nifti_geometry,
    write_volume,
)

AFFINE = np.array(
    [[-0.9, 0.1, 0, 40], [0.1, 0.9, 0, -30], [0, 0, 3, 12], [0, 0, 0, 1.0]]
)


@pytest.fixture
def array(rng):
    return rng.integers(0, 900, (9, 8, 7)).astype(np.int16)


@pytest.fixture
def path(tmp_path, array):
    write_volume(tmp_path / "v.nii.gz", array, AFFINE)
    return tmp_path / "v.nii.gz"


def test_what_is_written_is_read(path, array):
    volume = read_nifti(path)

    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-5)
    assert read_nifti_geometry(path).same_as(volume)


def test_the_same_voxels_give_the_same_bytes(path, array, tmp_path):
    write_volume(tmp_path / "again.nii.gz", array, AFFINE)
    assert path.read_bytes() == (tmp_path / "again.nii.gz").read_bytes()


def test_every_flipped_bit_is_refused_or_changes_nothing(path, tmp_path):
    whole, packed = read_nifti(path), path.read_bytes()
    flipped = tmp_path / "f.nii.gz"
    refused = 0
    for bit in np.random.default_rng(1).choice(len(packed) * 8, 600, replace=False):
        damaged = bytearray(packed)
        damaged[bit // 8] ^= 1 << (bit % 8)
        flipped.write_bytes(damaged)
        try:
            volume = read_nifti(flipped)
        except VolumeError as error:
            refused += 1
            assert "f.nii.gz" in str(error)
        else:
            np.testing.assert_array_equal(volume.array, whole.array)
            np.testing.assert_array_equal(volume.affine, whole.affine)
    assert refused > 580


@pytest.mark.parametrize("keep", [0, 3, 40, 200, -9, -1])
def test_a_file_cut_short_is_refused(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(VolumeError, match=r"v\.nii\.gz"):
        read_nifti(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(VolumeError, match=r"none\.nii\.gz does not exist"):
        read_nifti(tmp_path / "none.nii.gz")


def test_a_bomb_is_refused_before_it_is_inflated(tmp_path):
    header = nib.Nifti1Header()
    header.set_data_shape((30_000, 30_000, 300))
    header.set_data_dtype(np.int16)
    header["magic"], header["vox_offset"] = b"n+1", 352
    header.set_sform(np.eye(4), 1)
    bomb = tmp_path / "b.nii.gz"
    bomb.write_bytes(gzip.compress(header.binaryblock + b"\0" * (1 << 20)))
    with pytest.raises(VolumeError, match="GiB"):
        read_nifti(bomb)


def saved(tmp_path, array, affine=AFFINE, **codes):
    image = nib.Nifti1Image(array, affine)
    image.set_sform(codes.get("sform", affine), codes.get("s_code", 1))
    image.set_qform(codes.get("qform", affine), codes.get("q_code", 1))
    nib.save(image, tmp_path / "x.nii")
    return tmp_path / "x.nii"


def test_uncompressed_and_big_endian_files_are_read(tmp_path, array):
    image = nib.Nifti1Image(array, AFFINE, nib.Nifti1Header(endianness=">"))
    image.set_sform(AFFINE, 1)
    nib.save(image, tmp_path / "big.nii")
    np.testing.assert_array_equal(read_nifti(tmp_path / "big.nii").array, array)


def test_a_trailing_axis_of_one_is_dropped(tmp_path, array):
    assert read_nifti(saved(tmp_path, array[..., None])).shape == array.shape


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda a: np.stack([a, a], -1), "three-dimensional"),
        (lambda a: a.astype(np.complex64), "one real number"),
        (lambda a: np.where(a > 800, np.nan, a).astype(np.float32), "NaN"),
    ],
)
def test_voxels_that_mean_nothing_are_refused(tmp_path, array, make, says):
    with pytest.raises(VolumeError, match=says):
        read_nifti(saved(tmp_path, make(array)))


def test_two_places_for_one_voxel_are_refused(tmp_path, array):
    moved = AFFINE.copy()
    moved[0, 3] += 5
    with pytest.raises(VolumeError, match="sform and qform differ"):
        read_nifti(saved(tmp_path, array, qform=moved))


def test_a_volume_that_says_no_place_is_refused(tmp_path, array):
    with pytest.raises(VolumeError, match="does not say where"):
        read_nifti(saved(tmp_path, array, s_code=0, q_code=0))


def test_sheared_axes_are_refused(tmp_path, array):
    sheared = AFFINE.copy()
    sheared[0, 1] = 0.9
    with pytest.raises(VolumeError, match="sheared"):
        read_nifti(saved(tmp_path, array, sform=sheared, q_code=0))


def test_a_length_that_lies_is_refused(path):
    packed = bytearray(path.read_bytes())
    packed[-4:] = struct.pack("<I", 12)
    path.write_bytes(packed)
    with pytest.raises(VolumeError, match="damaged"):
        read_nifti(path)


def test_the_same_member_twice_is_longer_than_its_header_says(path):
    path.write_bytes(2 * path.read_bytes())
    with pytest.raises(VolumeError, match="longer"):
        read_nifti(path)


def test_voxels_stay_short_until_they_are_asked_for_as_floats(path, array):
    volume = read_nifti(path)

    assert volume.stored.dtype == np.int16
    np.testing.assert_array_equal(volume.stored, array)
    assert volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array, array)
    assert volume.stored is volume.array  # not both of them


def test_a_content_is_known_again_however_it_is_packed(path, array, tmp_path):
    plain = gzip.decompress(path.read_bytes())
    packings = {
        "quick.nii.gz": gzip.compress(plain, 1),
        "members.nii.gz": gzip.compress(plain[:600]) + gzip.compress(plain[600:]),
        "padded.nii.gz": path.read_bytes() + bytes(8),
        "plain.nii": plain,
    }
    for name, content in packings.items():
        (tmp_path / name).write_bytes(content)

    first = read_nifti(path)
    again = [read_nifti(tmp_path / name) for name in packings]

    assert {one.unpacked for one in again} == {first.unpacked}
    assert len({first.sha256, *(one.sha256 for one in again)}) == 1 + len(packings)


def test_another_voxel_or_place_is_another_content(path, array, tmp_path):
    brighter = array.copy()
    brighter[4, 4, 4] += 1
    write_volume(tmp_path / "voxel.nii.gz", brighter, AFFINE)
    write_volume(tmp_path / "place.nii.gz", array, AFFINE + np.eye(4, k=3))

    files = (path, tmp_path / "voxel.nii.gz", tmp_path / "place.nii.gz")

    assert len({read_nifti(file).unpacked for file in files}) == 3


@pytest.mark.parametrize("change", ["spacing", "turn", "origin"])
def test_grids_are_one_by_where_their_corners_lie(change):
    grid = oriented((0, 1, 2), (-1, -1, 1), shape=(300, 300, 20), spacing=(0.4, 0.4, 3))
    for share in (0.05, 0.2):  # of a voxel, at the farthest corner
        affine = grid.affine.copy()
        if change == "spacing":
            affine[:3, 0] *= 1 + share / 299
        elif change == "turn":
            affine[:3, :2] @= [[1, -share / 425], [share / 425, 1]]
        else:
            affine[0, 3] += 0.4 * share
        other = Geometry(shape=grid.shape, affine=affine)

        assert grid.same_as(other) == other.same_as(grid) == (share < 0.1)


def test_what_is_written_of_slightly_sheared_axes_is_read_again(tmp_path):
    affine = np.diag([1.0, 1, 3, 1])
    affine[0, 1] = 0.0099
    array = np.arange(300 * 300 * 2, dtype=np.int32).reshape(300, 300, 2)

    write_volume(tmp_path / "v.nii.gz", array, affine)
    volume = read_nifti(tmp_path / "v.nii.gz")

    np.testing.assert_allclose(volume.affine, affine, atol=1e-6)
    np.testing.assert_array_equal(volume.array, array)
