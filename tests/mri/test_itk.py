"""NRRD and MetaImage, against files written by hand from their published formats."""

import gzip
import zlib

import numpy as np
import pytest
import SimpleITK

from itk_files import DIRECTIONS, ORIGIN, SHAPE, metaimage, nrrd
from napari_harm3.errors import VolumeError
from napari_harm3.mri.itk import read_itk, read_itk_geometry

TO_RAS = {
    "right-anterior-superior": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "LPS": (-1, -1, 1),
}


@pytest.fixture
def array(rng):
    return rng.integers(-500, 900, SHAPE).astype(np.int16)


KINDS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
KINDS += ["float32", "float64"]


def placed(signs):
    """Return the affine to RAS mm, from the format's definition."""
    affine = np.eye(4)
    affine[:3, :3] = DIRECTIONS.T
    affine[:3, 3] = ORIGIN
    return np.diag([*signs, 1]) @ affine


def saved(tmp_path, content, name="v.nrrd"):
    (tmp_path / name).write_bytes(content)
    return tmp_path / name


@pytest.mark.parametrize("space", TO_RAS)
def test_an_nrrd_lies_where_its_space_says(tmp_path, array, space):
    path = saved(tmp_path, nrrd(array, space=space))

    volume = read_itk(path)

    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.affine, placed(TO_RAS[space]), atol=1e-6)
    assert read_itk_geometry(path).same_as(volume)


def test_a_metaimage_lies_where_itk_puts_it(tmp_path, array):
    path = saved(tmp_path, metaimage(array), "v.mha")

    volume = read_itk(path)

    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.affine, placed((-1, -1, 1)), atol=1e-6)
    assert read_itk_geometry(path).same_as(volume)


@pytest.mark.parametrize(
    ("make", "pack", "name"),
    [(nrrd, gzip.compress, "v.nrrd"), (metaimage, zlib.compress, "v.mha")],
)
def test_packed_voxels_are_read_and_their_every_flip_is_seen(
    tmp_path, array, make, pack, name
):
    array //= 300  # else it is stored as it is, with bits that mean nothing
    whole = make(array, pack=pack)
    np.testing.assert_array_equal(read_itk(saved(tmp_path, whole, name)).array, array)
    start = len(whole) - len(pack(array.astype("<i2").tobytes(order="F")))
    # Nothing depends on gzip's flags, time, level and system, nor on the bits that
    # fill up the last byte before the checksum.
    gzipped = pack is gzip.compress
    free = {len(whole) - (9 if gzipped else 5)}
    free |= set(range(start + 3, start + 10)) if gzipped else set()
    refused = 0

    for place in range(start, len(whole)):
        bits = bytearray(whole)
        bits[place] ^= 1 << place % 8
        path = saved(tmp_path, bytes(bits), name)
        try:
            volume = read_itk(path)
        except VolumeError as error:
            refused += 1
            assert name in str(error)
        else:
            assert place in free
            np.testing.assert_array_equal(volume.array, array)

    assert refused >= len(whole) - start - len(free)


@pytest.mark.parametrize(
    ("make", "key", "name", "data"),
    [
        (nrrd, "data_file", "v.nhdr", "v.raw"),
        (metaimage, "ElementDataFile", "v.mhd", "v.raw"),
    ],
)
def test_voxels_in_a_file_beside_the_header_are_read(
    tmp_path, array, make, key, name, data
):
    content = make(array, **{key: data})
    size = array.nbytes
    path = saved(tmp_path, content[:-size].rstrip(b"\n") + b"\n", name)
    with pytest.raises(VolumeError, match=r"v\.raw, which is not there"):
        read_itk(path)

    saved(tmp_path, content[-size:], data)
    volume = read_itk(path)
    other = read_itk(saved(tmp_path, make(array), name))

    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_array_equal(volume.affine, other.affine)


@pytest.mark.parametrize("make", [nrrd, metaimage])
@pytest.mark.parametrize(
    "where", ["../out.raw", "{absolute}", "link.raw", "sub/../../out.raw"]
)
def test_voxels_outside_the_folder_are_refused(tmp_path, array, make, where):
    folder = tmp_path / "volumes"
    folder.mkdir()
    outside = saved(tmp_path, array.astype("<i2").tobytes(order="F"), "out.raw")
    (folder / "link.raw").symlink_to(outside)
    key = "data_file" if make is nrrd else "ElementDataFile"
    content = make(array, **{key: where.format(absolute=outside)})
    path = saved(folder, content[: -array.nbytes], "v.nhdr")

    with pytest.raises(VolumeError, match=r"outside its folder|one data file"):
        read_itk(path)


@pytest.mark.parametrize("make", [nrrd, metaimage])
@pytest.mark.parametrize("pack", [None, zlib.compress, gzip.compress])
@pytest.mark.parametrize("keep", [-1, -20, -2000])
def test_a_file_cut_short_is_refused(tmp_path, array, make, pack, keep):
    content = make(array, pack=pack)
    with pytest.raises(VolumeError, match=r"v\.nrrd"):
        read_itk(saved(tmp_path, content[: max(keep, 40 - len(content))]))


def test_bytes_behind_the_voxels_are_refused(tmp_path, array):
    for content in (nrrd(array), nrrd(array, pack=gzip.compress), metaimage(array)):
        with pytest.raises(VolumeError, match=r"longer than|bytes follow"):
            read_itk(saved(tmp_path, content + b"more"))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sizes": "5 4 3 1", "dimension": "4"}, "three-dimensional"),
        ({"sizes": "5 4 0"}, "damaged"),
        ({"sizes": "5 4 x"}, "damaged"),
        ({"sizes": "90000 90000 90"}, "GiB"),
        ({"dimension": "2"}, "do not match"),
        ({"space": None}, "does not say where"),
        ({"space": "scanner-xyz"}, "does not say where"),
        ({"space_origin": None}, "does not say where"),
        ({"space_directions": None, "spacings": "1 1 1"}, "does not say where"),
        ({"space_directions": "(1,0,0) (1,0,0) (0,0,1)"}, r"singular|damaged"),
        ({"space_directions": "(1,0,0) (0.5,1,0) (0,0,1)"}, "sheared"),
        ({"space_directions": "(nan,0,0) (0,1,0) (0,0,1)"}, r"NaN|damaged"),
        ({"space_directions": "(900,0,0) (0,1,0) (0,0,1)"}, "spacing"),
        ({"space_units": '"mm" "m" "mm"'}, "another unit"),
        ({"encoding": "hex"}, "encoding"),
        ({"encoding": "gzip"}, "damaged"),
        ({"endian": None}, "byte order"),
        ({"type": "block"}, "one real number"),
        ({"byte_skip": "4"}, "skips"),
        ({"line skip": "1"}, "skips"),
    ],
)
def test_an_nrrd_header_that_cannot_be_believed_is_refused(
    tmp_path, array, changes, says
):
    path = saved(tmp_path, nrrd(array, **changes))
    with pytest.raises(VolumeError, match=says):
        read_itk(path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"NDims": "4", "DimSize": "5 4 3 1"}, "three-dimensional"),
        ({"DimSize": "5 4 0"}, "damaged"),
        ({"DimSize": "90000 90000 90"}, "GiB"),
        ({"ElementNumberOfChannels": "3"}, "several numbers"),
        ({"ElementType": "MET_OTHER"}, "one real number"),
        ({"ElementSpacing": "1 0 1"}, "above zero"),
        ({"ElementSpacing": "1 -1 1"}, "above zero"),
        ({"ElementSpacing": "1 nan 1"}, "not all finite"),
        ({"Offset": None}, "does not say where"),
        ({"TransformMatrix": None}, "does not say where"),
        ({"TransformMatrix": "1 0 0 1 0 0 0 0 1"}, r"singular|damaged"),
        ({"TransformMatrix": "1 0 0 0.6 0.8 0 0 0 1"}, "sheared"),
        ({"TransformMatrix": "2 0 0 0 1 0 0 0 1"}, "length one"),
        ({"BinaryData": "False"}, "as text"),
        ({"HeaderSize": "-1"}, "skips"),
        ({"ObjectType": "Tube"}, "no image"),
        ({"DistanceUnits": "m"}, "another unit"),
        ({"CompressedData": "True"}, "damaged"),
        ({"ElementDataFile": "slice%03d.raw 1 3 1"}, "one data file"),
        ({"ElementDataFile": "LIST"}, "one data file"),
    ],
)
def test_a_metaimage_header_that_cannot_be_believed_is_refused(
    tmp_path, array, changes, says
):
    path = saved(tmp_path, metaimage(array, **changes), "v.mha")
    with pytest.raises(VolumeError, match=says):
        read_itk(path)


def test_a_field_said_twice_is_refused(tmp_path, array):
    content = nrrd(array).replace(b"endian: little", b"endian: little\nendian: big")
    with pytest.raises(VolumeError, match="twice"):
        read_itk(saved(tmp_path, content))


def test_a_voxel_that_is_no_number_is_refused(tmp_path):
    values = np.ones(SHAPE, dtype="<f4")
    values[2, 1, 0] = np.nan
    content = nrrd(np.zeros(SHAPE), type="float")[: -2 * values.size]
    path = saved(tmp_path, content + values.tobytes(order="F"))
    with pytest.raises(VolumeError, match="NaN"):
        read_itk(path)


@pytest.mark.parametrize(
    "kind",
    [
        "int8",
        "uint8",
        "int16",
        "uint16",
        "int32",
        "uint32",
        "int64",
        "uint64",
        "float32",
        "float64",
    ],
)
@pytest.mark.parametrize("name", ["v.nrrd", "v.mha", "v.nhdr", "v.mhd"])
@pytest.mark.parametrize("packed", [False, True])
def test_what_itk_writes_is_read_as_itk_reads_it(tmp_path, array, kind, name, packed):
    image = SimpleITK.GetImageFromArray(np.abs(array // 8).astype(kind).T)
    image.SetOrigin(ORIGIN.tolist())
    image.SetSpacing((1.5, 1.25, 3.0))
    turn = SimpleITK.Euler3DTransform((0, 0, 0), 0.3, -0.2, 0.5)
    image.SetDirection(turn.GetMatrix())
    SimpleITK.WriteImage(image, tmp_path / name, useCompression=packed)
    first, last = image.GetOrigin(), image.TransformIndexToPhysicalPoint((4, 3, 2))

    volume = read_itk(tmp_path / name)

    np.testing.assert_array_equal(volume.array, np.abs(array // 8))
    for index, lps in (((0, 0, 0), first), ((4, 3, 2), last)):
        ras = np.array(lps) * (-1, -1, 1)
        np.testing.assert_allclose((volume.affine @ [*index, 1])[:3], ras, atol=1e-4)
