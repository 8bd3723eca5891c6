"""A DICOM series is read whole and in its place, or refused with the reason."""

import datetime as dt
import random
import shutil
import sys
import tracemalloc
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from dicom_files import (
    PATIENT,
    REPORT,
    SPACING,
    classic_slices,
    enhanced,
    lps_affine,
    new_file,
    save,
    save_series,
    voxels,
)
from napari_harm3.errors import VolumeError
from napari_harm3.mri import dicom_deflate
from napari_harm3.mri.dicom import (
    list_series,
    read_listed,
    read_series,
    series_geometry,
    series_sha256,
)
from napari_harm3.mri.volume import read_nifti

CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
TILTS = [(0, 0, 0), (12, -7, 30), (90, 0, 0), (0, 90, 90), (180, 0, 45)]
RAS = np.diag([-1, -1, 1, 1])


def at_their_places(volume, array, affine):
    """Return a volume's voxels where an array's voxels lie, by their RAS position."""
    indices = np.indices(array.shape).reshape(3, -1)
    world = RAS @ affine @ np.vstack([indices, np.ones(indices.shape[1])])
    found = (np.linalg.inv(volume.affine) @ world)[:3]
    np.testing.assert_allclose(found, np.round(found), atol=1e-3)
    return volume.array[tuple(np.round(found).astype(int))].reshape(array.shape)


@pytest.mark.parametrize("tilt", TILTS)
def test_every_voxel_of_a_series_lies_where_its_slice_says(tmp_path, tilt):
    affine = lps_affine(tilt)
    save_series(tmp_path / "s", classic_slices(affine=affine))

    volume = read_series(tmp_path / "s")

    np.testing.assert_array_equal(at_their_places(volume, voxels(), affine), voxels())
    np.testing.assert_allclose(volume.spacing_mm, SPACING, atol=1e-4)
    assert volume.frame_of_reference == "1.2.3.9"
    assert volume.array.dtype == np.float32


@pytest.mark.parametrize("tilt", TILTS)
def test_every_voxel_of_a_multi_frame_file_lies_where_its_frame_says(tmp_path, tilt):
    affine = lps_affine(tilt)
    path = save(enhanced(affine=affine), tmp_path / "mf.dcm")

    volume = read_series(path)

    np.testing.assert_array_equal(at_their_places(volume, voxels(), affine), voxels())


@pytest.mark.parametrize("tilt", TILTS)
def test_headers_alone_give_the_same_grid(tmp_path, tilt):
    save_series(tmp_path / "s", classic_slices(affine=lps_affine(tilt)))
    path = save(enhanced(affine=lps_affine(tilt)), tmp_path / "mf.dcm")

    for source in (tmp_path / "s", path):
        assert series_geometry(source).same_as(read_series(source))


def test_slope_and_intercept_are_applied_slice_by_slice(tmp_path):
    slices = classic_slices()
    for index, dataset in enumerate(slices):
        dataset.RescaleSlope, dataset.RescaleIntercept = index + 1, -7
    save_series(tmp_path / "s", slices)

    volume = read_series(tmp_path / "s")

    expected = voxels() * np.arange(1.0, 7.0) - 7
    np.testing.assert_array_equal(
        at_their_places(volume, expected, lps_affine()), expected
    )


def compressed(slices, syntax, encode):
    for dataset in slices:
        plane = np.frombuffer(dataset.PixelData, "<u2")
        plane = plane.reshape(dataset.Rows, dataset.Columns)
        dataset.PixelData = encapsulate([encode(plane)])
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = syntax
    return slices


@pytest.mark.parametrize(
    ("syntax", "encode"),
    [
        (JPEGLosslessSV1, imagecodecs.ljpeg_encode),
        (
            JPEG2000Lossless,
            lambda plane: imagecodecs.jpeg2k_encode(
                plane, level=0, codecformat="j2k", reversible=True
            ),
        ),
        (JPEGLSLossless, imagecodecs.jpegls_encode),
        (HTJ2KLossless, lambda plane: imagecodecs.htj2k_encode(plane, reversible=True)),
    ],
    ids=["lossless JPEG", "JPEG 2000", "JPEG-LS", "HTJ2K"],
)
def test_compressed_slices_are_decoded(tmp_path, syntax, encode):
    array = np.random.default_rng(0).integers(0, 1 << 16, (32, 40, 3), dtype=np.uint16)
    save_series(tmp_path / "s", compressed(classic_slices(array), syntax, encode))

    volume = read_series(tmp_path / "s")

    np.testing.assert_array_equal(at_their_places(volume, array, lps_affine()), array)


def test_run_length_slices_are_decoded(tmp_path):
    slices = classic_slices()
    for dataset in slices:
        dataset.compress(RLELossless)
    save_series(tmp_path / "s", slices)

    np.testing.assert_array_equal(
        at_their_places(read_series(tmp_path / "s"), voxels(), lps_affine()), voxels()
    )


def test_a_syntax_without_a_decoder_is_named(tmp_path):
    mpeg = "1.2.840.10008.1.2.4.100"
    save_series(tmp_path / "s", compressed(classic_slices(), mpeg, bytes))

    with pytest.raises(VolumeError, match=r"MPEG2 .* no decoder"):
        read_series(tmp_path / "s")


def test_a_missing_slice_is_told_with_positions_and_files(tmp_path):
    slices = classic_slices()
    del slices[2]
    for index, dataset in enumerate(slices):
        save(dataset, tmp_path / "s" / f"im{index}.dcm")

    for reader in (read_series, series_geometry):
        with pytest.raises(
            VolumeError,
            match=r"misses slices.* 6\.00 mm from im1\.dcm at -37\.00 mm to im2\.dcm "
            r"at -31\.00 mm",
        ):
            reader(tmp_path / "s")


def test_a_slice_there_twice_is_told_with_both_files(tmp_path):
    save_series(tmp_path / "s", classic_slices())
    shutil.copy(tmp_path / "s" / "im002.dcm", tmp_path / "s" / "copy.dcm")

    with pytest.raises(VolumeError, match=r"copy\.dcm and im002\.dcm at -?\d+\.00 mm"):
        read_series(tmp_path / "s")


def test_an_unevenly_spaced_slice_is_refused(tmp_path):
    slices = classic_slices()
    slices[3].ImagePositionPatient[2] += 0.4
    save_series(tmp_path / "s", slices)

    with pytest.raises(VolumeError, match="unevenly spaced"):
        read_series(tmp_path / "s")


def test_positions_rounded_to_hundredths_are_accepted(tmp_path):
    affine = lps_affine((12, -7, 30), spacing=(0.8, 0.6, 0.8571))
    slices = classic_slices(affine=affine)
    for dataset in slices:
        dataset.ImagePositionPatient = [
            round(float(c), 2) for c in dataset.ImagePositionPatient
        ]
    save_series(tmp_path / "s", slices)

    volume = read_series(tmp_path / "s")

    assert np.abs(volume.affine - RAS @ affine).max() < 0.01


def test_a_leaning_stack_is_refused(tmp_path):
    slices = classic_slices()
    for index, dataset in enumerate(slices):
        dataset.ImagePositionPatient[1] += 0.5 * index
    save_series(tmp_path / "s", slices)

    with pytest.raises(VolumeError, match=r"shifted sideways, by 0\.50 mm"):
        read_series(tmp_path / "s")


def test_a_slice_shifted_in_its_plane_is_refused(tmp_path):
    slices = classic_slices()
    slices[2].ImagePositionPatient[0] += 2
    save_series(tmp_path / "s", slices)

    with pytest.raises(VolumeError, match=r"out of its place: im\d+\.dcm"):
        read_series(tmp_path / "s")


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PixelSpacing", [0, 0]),
        ("ImageOrientationPatient", [1, 0, 0, 1, 0, 0]),
        ("ImagePositionPatient", [float("nan"), 0, 0]),
    ],
)
def test_impossible_geometry_is_refused(tmp_path, keyword, value):
    slices = classic_slices()
    for dataset in slices:
        setattr(dataset, keyword, value)
    save_series(tmp_path / "s", slices)

    with pytest.raises(VolumeError, match="impossible"):
        read_series(tmp_path / "s")


def test_one_slice_is_no_volume(tmp_path):
    save(classic_slices()[0], tmp_path / "s" / "a.dcm")

    with pytest.raises(VolumeError, match="holds one slice"):
        read_series(tmp_path / "s")


def test_two_echoes_are_two_series_and_none_is_chosen(tmp_path):
    save_series(tmp_path, classic_slices(EchoTime=12), name="a{}.dcm")
    second = classic_slices(voxels() + 500, EchoTime=90)
    save_series(tmp_path, second, name="b{}.dcm")

    infos = list_series(tmp_path)

    assert sorted(info.echo_ms for info in infos) == [12, 90]
    late = next(info for info in infos if info.echo_ms == 90)
    assert read_listed(late, "late").array.min() == 500
    with pytest.raises(VolumeError, match=r"holds 2 .*TE 12 ms.*TE 90 ms"):
        read_series(tmp_path)


@pytest.mark.parametrize("keyword", ["TemporalPositionIdentifier", "AcquisitionTime"])
def test_times_of_one_series_are_told_apart(tmp_path, keyword):
    for time in (1, 2, 3):
        value = time if keyword.startswith("T") else f"10150{time}"
        slices = classic_slices(voxels() + 300 * time, **{keyword: value})
        save_series(tmp_path, slices, name=f"{time}-{{}}.dcm")

    infos = list_series(tmp_path)

    assert [info.slices for info in infos] == [6, 6, 6]
    lowest = sorted(read_listed(info, "t").array.min() for info in infos)
    assert lowest == [300, 600, 900]


def test_slices_with_a_time_each_are_still_one_volume(tmp_path):
    slices = classic_slices()
    for index, dataset in enumerate(slices):
        dataset.AcquisitionTime = f"1015{index:02d}"
    save_series(tmp_path, slices)

    assert [info.slices for info in list_series(tmp_path)] == [6]


def test_what_is_no_image_is_ignored(tmp_path):
    save_series(tmp_path, classic_slices())
    save(new_file(REPORT, Modality="SR", SeriesInstanceUID="1.7"), tmp_path / "sr.dcm")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "._im001.dcm").write_bytes(b"written by macOS")
    (tmp_path / "backspaces").write_bytes(b"\x08\x00" * 500)
    save(new_file(CAPTURE, SeriesInstanceUID="1.8"), tmp_path / "picture.dcm")
    contents = new_file("")
    contents.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    contents.file_meta.MediaStorageSOPInstanceUID = "1.2.3.77"
    del contents.SOPClassUID
    contents.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)

    assert read_series(tmp_path).shape == (7, 5, 6)
    assert [info.fault for info in list_series(tmp_path)] == [None]


def last_slice(folder):
    """Write a series; return the file of the slice at its end."""
    for index, dataset in enumerate(classic_slices()):
        save(dataset, folder / f"im{index}.dcm")
    return folder / "im5.dcm"


def without(keyword):
    """Return what takes an attribute out of a DICOM file."""

    def damage(path):
        dataset = dcmread(path)
        delattr(dataset, keyword)
        save(dataset, path)

    return damage


DAMAGES = {
    "cut to nothing": lambda path: path.write_bytes(b""),
    "cut in its meta header": lambda path: path.write_bytes(path.read_bytes()[:160]),
    "cut in its header": lambda path: path.write_bytes(path.read_bytes()[:650]),
    "no preamble": lambda path: path.write_bytes(path.read_bytes()[132:]),
    "overwritten": lambda path: path.write_bytes(b"\x00" * 2000),
    "no position": without("ImagePositionPatient"),
    "no orientation": without("ImageOrientationPatient"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_slice_at_the_end_is_not_left_out(tmp_path, damage):
    damage(last_slice(tmp_path / "s"))

    for reader in (read_series, series_geometry):
        with pytest.raises(VolumeError, match=r"^im5\.dcm .*xport it again"):
            reader(tmp_path / "s")
    (info,) = list_series(tmp_path)
    assert info.fault.startswith("im5.dcm ")
    with pytest.raises(VolumeError, match=r"^im5\.dcm "):
        read_listed(info, "t1")


def test_no_cut_makes_a_series_shorter(tmp_path):
    last = last_slice(tmp_path)
    # The suffix would tell of it, too.
    path = last.rename(tmp_path / "im5")
    whole = path.read_bytes()

    for length in range(132, len(whole), 3):
        path.write_bytes(whole[:length])
        with pytest.raises(VolumeError, match=r"^im5 "):
            read_series(tmp_path)


def test_a_slice_without_a_preamble_is_told_by_its_header(tmp_path):
    path = last_slice(tmp_path).rename(tmp_path / "im5")
    path.write_bytes(path.read_bytes()[132:])

    with pytest.raises(VolumeError, match=r"^im5 cannot be read as DICOM"):
        read_series(tmp_path)


def test_a_file_that_may_not_be_read_may_be_a_slice(tmp_path, monkeypatch):
    path = last_slice(tmp_path).rename(tmp_path / "im5")
    open_file = Path.open

    def forbidden(self, *mode):
        if self == path:
            raise PermissionError(13, "Permission denied", str(path))
        return open_file(self, *mode)

    monkeypatch.setattr(Path, "open", forbidden)

    with pytest.raises(VolumeError, match=r"^im5: Permission denied: change its"):
        read_series(tmp_path)


@pytest.mark.parametrize(
    ("keyword", "value", "count"),
    [("PixelSpacing", None, 6), ("ImagePositionPatient", None, 1)],
)
def test_a_faulty_series_does_not_stop_the_others(tmp_path, keyword, value, count):
    save_series(tmp_path / "good", classic_slices())
    bad = classic_slices(SeriesInstanceUID="1.9.9")
    for dataset in bad[:count]:
        setattr(dataset, keyword, value)
    save_series(tmp_path / "bad", bad)

    infos = {info.uid: info for info in list_series(tmp_path)}

    assert infos["1.2.3.4"].fault is None
    assert infos["1.9.9"].slices == 6
    assert keyword in infos["1.9.9"].fault
    assert ("5 more files" in infos["1.9.9"].fault) == (count == 6)


def test_a_capture_that_says_half_of_its_place_is_a_fault_of_its_own(tmp_path):
    save_series(tmp_path / "s", classic_slices())
    capture = classic_slices(SeriesInstanceUID="1.9.9")[0]
    capture.SOPClassUID = CAPTURE
    del capture.PixelSpacing
    save(capture, tmp_path / "sc.dcm")

    faults = {info.uid: info.fault for info in list_series(tmp_path)}

    assert faults["1.2.3.4"] is None
    assert "sc.dcm does not say where it lies (PixelSpacing" in faults["1.9.9"]
    assert read_series(tmp_path).shape == (7, 5, 6)


def test_what_is_left_of_a_file_is_no_fault_of_another_folder(tmp_path):
    path = last_slice(tmp_path / "s")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.dcm").write_bytes(path.read_bytes()[:160])

    faults = {info.uid: info.fault for info in list_series(tmp_path)}

    assert faults["1.2.3.4"] is None
    assert "x.dcm " in faults[""]
    assert read_series(tmp_path).shape == (7, 5, 6)


@pytest.mark.parametrize("compress", [False, True])
def test_a_file_that_cannot_be_decoded_is_named(tmp_path, compress):
    array = np.random.default_rng(0).integers(0, 999, (32, 40, 3), dtype=np.uint16)
    slices = classic_slices(array)
    if compress:
        slices = compressed(slices, JPEGLSLossless, imagecodecs.jpegls_encode)
    for index, dataset in enumerate(slices):
        save(dataset, tmp_path / "s" / f"im{index}.dcm")
    path = tmp_path / "s" / "im1.dcm"
    path.write_bytes(path.read_bytes()[:-300])

    with pytest.raises(VolumeError, match=r"^im1\.dcm cannot be"):
        read_series(tmp_path / "s")


def test_damage_within_compressed_pixels_is_told_with_its_file(tmp_path):
    slices = compressed(classic_slices(), JPEGLSLossless, imagecodecs.jpegls_encode)
    slices[1].PixelData = encapsulate([b"no such picture"])
    for index, dataset in enumerate(slices):
        save(dataset, tmp_path / "s" / f"im{index}.dcm")

    with pytest.raises(VolumeError, match=r"^im1\.dcm cannot be decoded"):
        read_series(tmp_path / "s")


@pytest.mark.parametrize(
    ("stated", "thickness", "apart", "missing"),
    [
        (3.0, 3.0, 6.0, True),
        (3.3, 3.0, 9.9, True),
        (1.0, 2.0, 2.0, True),  # slices that overlap by half, every second one
        (3.0, 3.0, 3.0, False),
        (1.0, 4.0, 5.0, False),  # the gap is stated
        (3.0, 4.0, 7.0, False),
        (2.5, 5.0, 7.5, False),
        (0.1, 3.0, 3.2, False),
        (3.0, 3.0, 4.5, False),  # no slices that are missing explain it
        (6.0, 3.0, 3.0, False),
        (0.0, 3.0, 6.0, False),
        (3.0, None, 6.0, False),
    ],
)
def test_slices_missing_evenly_are_told_by_the_stated_spacing(
    tmp_path, stated, thickness, apart, missing
):
    slices = classic_slices(affine=lps_affine(spacing=(0.8, 0.6, apart)))
    for dataset in slices:
        dataset.SpacingBetweenSlices, dataset.SliceThickness = stated, thickness
    save_series(tmp_path / "s", slices)
    (info,) = list_series(tmp_path)

    assert ("misses slices" in (info.fault or "")) == missing
    if missing:
        says = rf"they lie {apart:.2f} mm apart, but were made {stated:.2f} mm apart"
        with pytest.raises(VolumeError, match=says):
            read_series(tmp_path / "s")
    else:
        assert read_series(tmp_path / "s").shape == (7, 5, 6)


def deflated(dataset, path):
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    return save(dataset, path)


def test_deflated_slices_are_read(tmp_path, monkeypatch):
    # The pixels may be as many as the header says, beyond what a header takes.
    monkeypatch.setattr(dicom_deflate, "HEAD_BYTES", 1 << 10)
    monkeypatch.setattr(dicom_deflate, "MOST_HEADER_BYTES", 1 << 12)
    array = np.random.default_rng(0).integers(0, 999, (99, 98, 3), dtype=np.uint16)
    for index, dataset in enumerate(classic_slices(array)):
        deflated(dataset, tmp_path / "s" / f"im{index}.dcm")

    volume = read_series(tmp_path / "s")

    np.testing.assert_array_equal(at_their_places(volume, array, lps_affine()), array)


def test_a_deflated_file_that_swells_is_refused_before_it_does(tmp_path, monkeypatch):
    monkeypatch.setattr(dicom_deflate, "MOST_HEADER_BYTES", 1 << 24)
    path = last_slice(tmp_path / "s")
    plain = dcmread(path)
    start = deflated(plain, path).read_bytes()
    begin = 144 + int.from_bytes(start[140:144], "little")
    header = zlib.decompress(start[begin:], -zlib.MAX_WBITS)
    pack = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = b"\xe1\x7f\x10\x00OB\x00\x00" + (100 << 20).to_bytes(4, "little")
    body = pack.compress(header + zeros + bytes(100 << 20)) + pack.flush()
    path.write_bytes(start[:begin] + body)

    tracemalloc.start()
    with pytest.raises(VolumeError, match=r"im5\.dcm .*inflates to over 16 MiB"):
        read_series(tmp_path / "s")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 50 << 20


def test_a_localizer_beside_a_series_is_not_meant(tmp_path):
    save_series(tmp_path / "t1", classic_slices())
    for name, tilt in (("a", (0, 0, 0)), ("b", (90, 0, 0))):
        slices = classic_slices(
            voxels()[..., :2],
            affine=lps_affine(tilt),
            SeriesInstanceUID="1.5",
        )
        for dataset in slices:
            dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        save_series(tmp_path / f"loc-{name}", slices)

    assert len(list_series(tmp_path)) == 3
    assert read_series(tmp_path).shape == (7, 5, 6)


def test_a_stray_slice_of_the_same_series_is_not_overlooked(tmp_path):
    slices = classic_slices(EchoTime=12)
    slices[-1].EchoTime = 13
    save_series(tmp_path, slices)

    with pytest.raises(VolumeError, match="2 series or parts"):
        read_series(tmp_path)


PARTS = {
    "echo": {"MREchoSequence.EffectiveEchoTime": (12.0, 90.0)},
    "time": {"FrameContentSequence.TemporalPositionIndex": (1, 2)},
    "acquisition": {"FrameContentSequence.FrameAcquisitionNumber": (1, 2)},
    "stack": {"FrameContentSequence.StackID": ("1", "2")},
    "image type": {
        "MRImageFrameTypeSequence.FrameType": (
            ["ORIGINAL", "PRIMARY", "M", "NONE"],
            ["ORIGINAL", "PRIMARY", "P", "NONE"],
        )
    },
    "diffusion": {"MRDiffusionSequence.DiffusionBValue": (0.0, 800.0)},
}


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_parts_of_a_multi_frame_file_are_told_apart(tmp_path, parts):
    path = save(enhanced(parts=parts), tmp_path / "mf.dcm")

    infos = list_series(path)

    assert [info.slices for info in infos] == [6, 6]
    assert [info.fault for info in infos] == [None, None]
    for number, info in enumerate(infos):
        volume = read_listed(info, "part")
        expected = voxels() + 500 * number
        found = at_their_places(volume, expected, lps_affine())
        np.testing.assert_array_equal(found, expected)


def test_planes_of_a_multi_frame_file_are_told_apart(tmp_path):
    upright = enhanced(affine=lps_affine((90, 0, 0)))
    both = enhanced(parts={"MREchoSequence.EffectiveEchoTime": (12.0, 12.0)})
    (shared,) = upright.SharedFunctionalGroupsSequence
    for index, turned in enumerate(upright.PerFrameFunctionalGroupsSequence, start=6):
        frame = both.PerFrameFunctionalGroupsSequence[index]
        frame.PlanePositionSequence = turned.PlanePositionSequence
        frame.PlaneOrientationSequence = shared.PlaneOrientationSequence

    infos = list_series(save(both, tmp_path / "mf.dcm"))

    assert [(info.plane, info.slices) for info in infos] == [
        ("axial", 6),
        ("coronal", 6),
    ]


def test_a_multi_frame_file_of_two_echoes_says_which_and_how_to_get_one(tmp_path):
    path = save(enhanced(parts=PARTS["echo"]), tmp_path / "mf.dcm")

    for reader in (read_series, series_geometry):
        with pytest.raises(
            VolumeError,
            match=r"2 series or parts .*6 slices from frame 1, TE 12 ms.*6 slices from "
            r"frame 7, TE 90 ms.*`harm3 import dicom`",
        ):
            reader(path)


def test_frames_at_one_place_that_nothing_tells_apart_are_refused(tmp_path):
    same = {"MREchoSequence.EffectiveEchoTime": (12.0, 12.0)}
    path = save(enhanced(parts=same), tmp_path / "mf.dcm")

    with pytest.raises(VolumeError, match=r"same place \(frame \d+ and frame \d+ at"):
        read_series(path)


def test_a_folder_without_images_is_refused(tmp_path):
    save(new_file(REPORT), tmp_path / "s" / "sr.dcm")

    with pytest.raises(VolumeError, match="holds no DICOM image"):
        read_series(tmp_path / "s")


def test_names_of_files_do_not_change_the_sum(tmp_path):
    save_series(tmp_path / "a", classic_slices())
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for number, file in enumerate(sorted((tmp_path / "b").iterdir(), reverse=True)):
        file.rename(tmp_path / "b" / f"x{number}.ima")

    assert read_series(tmp_path / "b").sha256 == read_series(tmp_path / "a").sha256
    assert series_sha256(tmp_path / "b") == read_series(tmp_path / "a").sha256


def test_a_slice_cut_short_is_refused(tmp_path):
    save_series(tmp_path / "s", classic_slices())
    file = tmp_path / "s" / "im003.dcm"
    file.write_bytes(file.read_bytes()[:-9])

    with pytest.raises(VolumeError, match=r"damaged|cannot be"):
        read_series(tmp_path / "s")


def test_no_damage_gives_a_foreign_exception_or_a_name(tmp_path):
    save_series(tmp_path / "s", classic_slices())
    save(enhanced(), tmp_path / "mf" / "mf.dcm")
    rng = random.Random(0)
    refused = 0

    for source, file in (("s", "im002.dcm"), ("mf", "mf.dcm")):
        good = (tmp_path / source / file).read_bytes()
        for _ in range(60):
            bad = bytearray(good)
            for _ in range(rng.randint(1, 4)):
                bad[rng.randrange(len(bad))] = rng.randrange(256)
            (tmp_path / source / file).write_bytes(bad)
            try:
                volume = read_series(tmp_path / source)
            except VolumeError as error:
                refused += 1
                assert "Doe" not in str(error)
                assert "0815" not in str(error)
                assert str(tmp_path) not in str(error)
            else:
                assert np.isfinite(volume.array).all()
        (tmp_path / source / file).write_bytes(good)

    assert refused > 12


def test_without_the_extra_its_name_is_said(tmp_path, monkeypatch):
    save_series(tmp_path / "s", classic_slices())
    monkeypatch.setitem(sys.modules, "pydicom", None)

    with pytest.raises(VolumeError, match=r'pip install "napari-harm3\[dicom\]"'):
        read_series(tmp_path / "s")


def test_a_series_is_described_without_its_patient(tmp_path):
    slices = classic_slices(
        SeriesDescription="Hals T1 TSE FS KM tra",
        ContrastBolusAgent="Gadovist",
        ScanOptions=["FS"],
        EchoTime=12,
        RepetitionTime=640,
        MagneticFieldStrength=1.5,
    )
    save_series(tmp_path, slices)

    (info,) = list_series(tmp_path)

    assert (info.sequence, info.contrast, info.fat_saturation) == ("t1", True, True)
    assert (info.plane, info.field_tesla, info.slices) == ("axial", 1.5, 6)
    assert info.spacing_mm == pytest.approx(SPACING)
    assert info.study_date == dt.date(2024, 3, 5)
    assert info.fault is None
    assert PATIENT not in repr(info)
    assert "0815" not in repr(info)


def test_series_of_one_patient_share_a_key_that_others_lack(tmp_path):
    save_series(tmp_path / "a", classic_slices())
    save_series(tmp_path / "b", classic_slices(SeriesInstanceUID="1.8"))
    other = classic_slices(SeriesInstanceUID="1.9")
    for dataset in other:
        dataset.PatientID = "MRN-0816"
    save_series(tmp_path / "c", other)

    keys = {info.uid: info.patient.key for info in list_series(tmp_path)}

    assert keys["1.2.3.4"] == keys["1.8"] != keys["1.9"]


def test_slices_that_make_no_volume_are_listed_with_their_fault(tmp_path):
    slices = classic_slices()
    del slices[2]
    save_series(tmp_path, slices)

    (info,) = list_series(tmp_path)

    assert info.spacing_mm is None
    assert "misses slices" in info.fault


def test_an_enhanced_file_is_described_from_its_functional_groups(tmp_path):
    save(enhanced(), tmp_path / "mf.dcm")

    (info,) = list_series(tmp_path)

    assert (info.echo_ms, info.repetition_ms, info.field_tesla) == (12, 550, 3)
    assert (info.sequence, info.slices) == ("t1", 6)


@pytest.mark.parametrize(
    ("words", "times", "expected"),
    [
        ("t1_tse_tra", (12, 600, None), "t1"),
        ("AX T2 FSE", (95, 4200, None), "t2"),
        ("T2_STIR_cor", (62, 3800, 160), "t2"),
        ("t1_mprage_sag_p2_iso", (2.9, 1900, 1100), "t1"),
        ("", (2.9, 1900, 1100), "t1"),
        ("", (11, 500, None), "t1"),
        ("", (100, 5000, None), "t2"),
        ("", (110, 9000, 2500), None),
        ("AX T2 FLAIR", (110, 9000, 2500), None),
        ("ep2d_diff_b1000", (80, 5000, None), None),
        ("T2*", (20, 600, None), None),
        ("t1_tse", (100, 5000, None), None),
        ("PD", (14, 3000, None), None),
        ("pd_t2_tse", (15, 3000, None), None),
        ("t1_mprage", (3, 1900, None), "t1"),
        ("Hals", (None, None, None), None),
    ],
)
def test_sequence_is_guessed_only_without_doubt(tmp_path, words, times, expected):
    keywords = ("EchoTime", "RepetitionTime", "InversionTime")
    timing = {k: t for k, t in zip(keywords, times, strict=True) if t is not None}
    save_series(tmp_path, classic_slices(SeriesDescription=words, **timing))

    (info,) = list_series(tmp_path)

    assert info.sequence == expected
    assert info.sequence_reason


@pytest.mark.parametrize(
    ("words", "contrast", "fat"),
    [
        ("T1 FS +C", True, True),
        ("t1_vibe_fs_tra_post_contrast", True, True),
        ("T1 pre contrast", False, None),
        ("t1 tse nativ", False, None),
        ("AX T1 POST GAD FATSAT", True, True),
        ("t2 spair", None, True),
        ("t1 tse tra", None, None),
        ("T1 ohne KM", False, None),
        ("IRM T1 sans gado", False, None),
        ("T1 w/o contrast", False, None),
    ],
)
def test_contrast_and_fat_are_read_from_names(tmp_path, words, contrast, fat):
    save_series(tmp_path, classic_slices(SeriesDescription=words))

    (info,) = list_series(tmp_path)

    assert (info.contrast, info.fat_saturation) == (contrast, fat)


@pytest.mark.parametrize(
    ("agent", "given"),
    [
        *((none, False) for none in ("No contrast", "NONE GIVEN", "nil", "0 ml", "N")),
        *((none, False) for none in ("UNENHANCED", "kein KM", "false", "w/o", "0")),
        *((blank, None) for blank in ("N/A", "unknown", "-", "")),
        *((agent, True) for agent in ("Gadovist", "0.1 mmol Dotarem", "Yes")),
        ("Non-ionic gadolinium", True),
    ],
)
def test_an_entry_of_no_agent_is_no_agent(tmp_path, agent, given):
    save_series(tmp_path, classic_slices(ContrastBolusAgent=agent))

    assert list_series(tmp_path)[0].contrast is given


@pytest.mark.parametrize(
    ("tilt", "plane"),
    [
        ((0, 0, 0), "axial"),
        ((20, 0, 0), "axial"),
        ((90, 0, 0), "coronal"),
        ((0, 90, 0), "sagittal"),
        ((45, 0, 0), "oblique"),
    ],
)
def test_planes_are_named(tmp_path, tilt, plane):
    save_series(tmp_path, classic_slices(affine=lps_affine(tilt)))

    assert list_series(tmp_path)[0].plane == plane


def test_the_real_series_agrees_with_its_nifti(real_data):
    folder = real_data / "dicom" / "VS-SEG-001_T1c"
    block = read_nifti(real_data / "mri" / "vs001_T1c_2x.nii.gz")

    volume = read_series(folder)

    assert volume.shape == (512, 512, 64)
    to_volume = np.linalg.inv(volume.affine) @ block.affine
    # A block of two by two pixels has its centre between them.
    expected = np.diag([2.0, 2.0, 1.0, 1.0])
    expected[:2, 3] = 0.5
    np.testing.assert_allclose(to_volume, expected, atol=1e-3)
    mean = volume.array.reshape(256, 2, 256, 2, 64).mean(axis=(1, 3))
    assert np.abs(mean - block.array).max() <= 0.75  # it holds whole numbers
    (info,) = [i for i in list_series(folder) if i.fault is None]
    assert (info.sequence, info.plane, info.slices) == ("t1", "axial", 64)


def test_a_series_whose_slices_are_not_in_one_frame_is_refused(tmp_path):
    slices = classic_slices()
    slices[1].FrameOfReferenceUID = "1.2.3.10"
    save_series(tmp_path / "s", slices)

    with pytest.raises(VolumeError, match="2 series or parts"):
        read_series(tmp_path / "s")


def test_a_series_without_a_frame_of_reference_is_read(tmp_path):
    slices = classic_slices()
    for dataset in slices:
        del dataset.FrameOfReferenceUID
    save_series(tmp_path / "s", slices)

    assert read_series(tmp_path / "s").frame_of_reference is None


def test_pictures_in_colour_are_no_volume(tmp_path):
    slices = classic_slices()
    for dataset in slices:
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
    save_series(tmp_path / "s", slices)

    with pytest.raises(VolumeError, match="no DICOM image"):
        read_series(tmp_path / "s")


def test_a_sequence_item_without_what_it_must_hold_is_refused(tmp_path):
    dataset = enhanced()
    dataset.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence = [Dataset()]
    path = save(dataset, tmp_path / "mf.dcm")

    with pytest.raises(VolumeError, match=r"mf\.dcm \(frame 2\) .*ImagePosition"):
        read_series(path)
