"""What a NIfTI header may say: read by the standard's own words, or refused."""

import gzip
import os
import tracemalloc

import numpy as np
import pytest

from mri_grids import ORIENTATIONS, oriented
from napari_harm3.errors import VolumeError
from napari_harm3.mri.volume import read_nifti, read_nifti_geometry
from nifti_files import AFFINE, CODES, nifti, qform_affine

SHAPE = (5, 4, 3)
NAN, INF = float("nan"), float("inf")


@pytest.fixture
def array(rng):
    return rng.integers(0, 120, SHAPE).astype(np.int16)


@pytest.fixture
def saved(tmp_path):
    def save(content, name="v.nii"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return save


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("kind", CODES)
def test_every_real_type_is_read_in_both_byte_orders(
    saved, array, order, version, kind
):
    content = nifti(array.astype(kind), order=order, version=version)
    for path in (saved(content), saved(gzip.compress(content), "v.nii.gz")):
        volume = read_nifti(path)

        np.testing.assert_array_equal(volume.array, array)
        np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-5)
        assert volume.array.dtype == np.float32
        assert read_nifti_geometry(path).same_as(volume)


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS)
def test_a_qform_is_read_as_nifti1_h_says(saved, array, axes, signs):
    affine = oriented(axes, signs, tilt=(12, -7, 21)).affine
    content = nifti(array, affine, sform_code=0, qform_code=1, **quaternion(affine))

    volume = read_nifti(saved(content))

    np.testing.assert_allclose(volume.affine, qform_affine(content), atol=1e-4)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-4)


def quaternion(affine):
    """Return the fields of the qform of an affine."""
    from scipy.spatial.transform import Rotation

    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    directions = affine[:3, :3] / spacing
    qfac = np.sign(np.linalg.det(directions))
    directions[:, 2] *= qfac
    b, c, d, a = Rotation.from_matrix(directions).as_quat()
    sign = -1 if a < 0 else 1
    return {
        "quatern": (sign * b, sign * c, sign * d),
        "qoffset": tuple(affine[:3, 3]),
        "pixdim": (qfac, *spacing, 0, 0, 0, 0),
    }


def test_a_handedness_of_zero_means_one(saved, array):
    fields = quaternion(AFFINE)
    sign, *rest = fields["pixdim"]
    right = AFFINE if sign > 0 else AFFINE * (1, 1, -1, 1)
    fields["pixdim"] = (0, *rest)
    content = nifti(array, sform_code=0, qform_code=1, **fields)
    np.testing.assert_allclose(read_nifti(saved(content)).affine, right, atol=1e-4)


def test_sform_and_qform_of_one_place_are_one(saved, array):
    content = nifti(array, qform_code=1, **quaternion(AFFINE))
    np.testing.assert_allclose(read_nifti(saved(content)).affine, AFFINE, atol=1e-5)


@pytest.mark.parametrize(
    ("slope", "inter", "scaled"),
    [
        (2.5, -7, True),
        (-1, 3, True),
        (1, 0, True),
        (1, 10, True),
        (0, 5, False),
        (NAN, 5, False),
        (NAN, NAN, False),
    ],
)
def test_stored_numbers_are_scaled_as_the_standard_says(
    saved, array, slope, inter, scaled
):
    content = nifti(array, scl_slope=slope, scl_inter=inter)
    expected = array * slope + inter if scaled else array
    np.testing.assert_allclose(read_nifti(saved(content)).array, expected, rtol=1e-6)


@pytest.mark.parametrize(("code", "factor"), [(0, 1), (1, 1000), (2, 1), (3, 0.001)])
def test_lengths_are_brought_to_millimetres(saved, array, code, factor):
    affine = np.diag([*np.repeat(1 / factor, 3), 1]) @ AFFINE
    content = nifti(array, affine, xyzt_units=code | 8)  # 8 is seconds
    np.testing.assert_allclose(read_nifti(saved(content)).affine, AFFINE, rtol=1e-6)


def test_trailing_axes_of_one_are_dropped(saved, array):
    content = nifti(array.reshape(*SHAPE, 1, 1))
    assert read_nifti(saved(content)).array.shape == SHAPE


def test_an_extension_before_the_voxels_is_passed_over(saved, array):
    content = nifti(array, vox_offset=384)
    content = content[:348] + b"\1\0\0\0" + b"\x20\0\0\0" + b"\6\0\0\0" + b"x" * 24
    content += array.astype("<i2").tobytes(order="F")
    np.testing.assert_array_equal(read_nifti(saved(content)).array, array)


def test_members_in_a_row_are_one_stream(saved, array):
    content = nifti(array)
    packed = gzip.compress(content[:400]) + gzip.compress(content[400:])
    path = saved(packed, "v.nii.gz")
    np.testing.assert_array_equal(read_nifti(path).array, array)


def test_a_constant_volume_is_read(saved):
    """An empty annotation is one; who needs an image refuses it."""
    assert not read_nifti(saved(nifti(np.zeros(SHAPE, np.uint8)))).array.any()


SHEARED = AFFINE.copy()
SHEARED[0, 1] = 0.5
SINGULAR = AFFINE.copy()
SINGULAR[:, 1] = SINGULAR[:, 0]
FLAT = AFFINE * (1, 0, 1, 1)
FAR = AFFINE.copy()
FAR[0, 3] = 1e9


def row(affine):
    return {"srow": tuple(affine[:3].ravel())}


FAULTS = {
    "sheared axes": (row(SHEARED), "sheared"),
    "singular axes": (row(SINGULAR), "singular"),
    "an axis of no length": (row(FLAT), "singular"),
    "an affine of NaN": (row(AFFINE * NAN), "NaN"),
    "an infinite origin": (row(AFFINE + [[0, 0, 0, INF]] * 4), "NaN or infinity"),
    "a place beyond the scanner": (row(FAR), "scanner's centre"),
    "half a metre between voxels": (row(AFFINE * (500, 1, 1, 1)), "spacing"),
    "zero spacing": ({"pixdim": (1, 1.5, 0, 1, 0, 0, 0, 0)}, "above zero"),
    "negative spacing": ({"pixdim": (1, 1.5, -1.5, 1, 0, 0, 0, 0)}, "above zero"),
    "spacing of NaN": ({"pixdim": (1, 1.5, NAN, 1, 0, 0, 0, 0)}, "above zero"),
    "two sizes": ({"pixdim": (1, 1.5, 3, 0.75, 0, 0, 0, 0)}, "two sizes"),
    "no place": ({"sform_code": 0}, "does not say where"),
    "an unknown reference": ({"sform_code": 77}, "damaged"),
    "a negative reference": ({"sform_code": -1}, "damaged"),
    "two places": ({"qform_code": 1, "qoffset": (9, 9, 9)}, "sform and qform differ"),
    "a quaternion too long": ({"qform_code": 1, "quatern": (1, 1, 1)}, "no rotation"),
    "a quaternion of NaN": ({"qform_code": 1, "quatern": (NAN, 0, 0)}, "NaN"),
    "an unknown unit": ({"xyzt_units": 5}, "unknown unit"),
    "metres that are millimetres": ({"xyzt_units": 1}, "unit"),
    "no axes": ({"dim": (0, 5, 4, 3, 1, 1, 1, 1)}, "axes"),
    "two axes": ({"dim": (2, 5, 12, 1, 1, 1, 1, 1)}, "three-dimensional"),
    "four axes": ({"dim": (4, 5, 4, 1, 3, 1, 1, 1)}, "three-dimensional"),
    "vectors": ({"dim": (5, 5, 4, 1, 1, 3, 1, 1)}, "three-dimensional"),
    "an axis of none": ({"dim": (3, 5, 0, 3, 1, 1, 1, 1)}, "shape"),
    "an axis below none": ({"dim": (3, 5, -4, 3, 1, 1, 1, 1)}, "shape"),
    "a bomb": ({"dim": (3, 30000, 30000, 300, 1, 1, 1, 1)}, "GiB"),
    "a small bomb": ({"dim": (3, 3000, 3000, 30, 1, 1, 1, 1)}, "fewer voxels"),
    "too few said": ({"dim": (3, 5, 4, 2, 1, 1, 1, 1)}, "longer"),
    "bits": ({"datatype": 1, "bitpix": 1}, "single bits"),
    "complex numbers": ({"datatype": 32, "bitpix": 64}, "complex"),
    "colours": ({"datatype": 128, "bitpix": 24}, "RGB"),
    "128 bits": ({"datatype": 1536, "bitpix": 128}, "128 bits"),
    "an unknown type": ({"datatype": 99}, "unknown type 99"),
    "type and bits apart": ({"bitpix": 32}, "damaged"),
    "an infinite slope": ({"scl_slope": INF}, "damaged"),
    "an infinite intercept": ({"scl_slope": 1, "scl_inter": INF}, "damaged"),
    "a slope beyond measure": ({"scl_slope": 1e30}, "no scanner"),
    "voxels within the header": ({"vox_offset": 100}, "start at byte"),
    "voxels behind the end": ({"vox_offset": 1e6}, "fewer voxels"),
    "half a pair": ({"magic": b"ni1"}, "half of a pair"),
    "Analyze": ({"magic": b""}, "Analyze"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_header_that_cannot_be_believed_is_refused(saved, array, fault, pack):
    changes, says = FAULTS[fault]
    path = saved(pack(nifti(array, **changes)))
    with pytest.raises(VolumeError, match=says) as refused:
        read_nifti(path)
    assert str(refused.value).startswith("v.nii ")


@pytest.mark.parametrize("value", [NAN, INF, -INF, 1e300])
def test_voxels_with_which_nothing_can_be_computed_are_refused(saved, value):
    values = np.ones(SHAPE)
    values[3, 2, 1] = value
    with pytest.raises(VolumeError, match="NaN or infinite"):
        read_nifti(saved(nifti(values)))


def test_bytes_behind_the_voxels_are_refused(saved, array):
    for content in (
        nifti(array, tail=b"more"),
        gzip.compress(nifti(array, tail=b"more")),
        gzip.compress(nifti(array)) + b"more",
    ):
        with pytest.raises(VolumeError, match=r"v\.nii is damaged"):
            read_nifti(saved(content))


def test_padding_behind_a_packed_stream_is_passed_over(saved, array):
    path = saved(gzip.compress(nifti(array)) + bytes(512))
    np.testing.assert_array_equal(read_nifti(path).array, array)


def test_a_bomb_takes_no_memory(saved):
    header = nifti(np.zeros((1, 1, 1), np.int16), dim=(3, 900, 900, 900, 1, 1, 1, 1))
    honest = saved(gzip.compress(header + bytes(1 << 20)))
    overlong = saved(
        gzip.compress(nifti(np.zeros(SHAPE, np.int16)) + bytes(300 << 20), 9), "w.nii"
    )
    tracemalloc.start()
    for path in (honest, overlong):
        with pytest.raises(VolumeError, match="damaged"):
            read_nifti(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 16 << 20


def test_a_pipe_is_no_volume(tmp_path):
    os.mkfifo(tmp_path / "v.nii")
    with pytest.raises(VolumeError, match="no file"):
        read_nifti(tmp_path / "v.nii")
