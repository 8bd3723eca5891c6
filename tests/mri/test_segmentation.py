"""DICOM segmentations and heat maps, there and back."""

import highdicom
import numpy as np
import pydicom
import pytest

from dicom_files import classic_slices, enhanced, lps_affine, save, save_series
from napari_harm3.errors import VolumeError
from napari_harm3.mri.annotation import check_contents, read_annotation
from napari_harm3.mri.dicom import read_series, source_images
from napari_harm3.mri.segmentation import (
    read_segmentation,
    write_parametric_map,
    write_segmentation,
)
from napari_harm3.mri.volume import Geometry, read_nifti

SHAPE = (16, 12, 9)


@pytest.fixture(params=["classic", "enhanced", "oblique"])
def source(request, tmp_path):
    """Return a series to draw on."""
    array = np.random.default_rng(0).integers(0, 900, SHAPE, dtype=np.uint16)
    if request.param == "enhanced":
        return save(enhanced(array), tmp_path / "mf.dcm")
    tilt = (12, -7, 30) if request.param == "oblique" else (0, 0, 0)
    slices = classic_slices(array, affine=lps_affine(tilt))
    return save_series(tmp_path / "series", slices)


def marked():
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:7, 3:8, 1:4] = 1
    labels[9:14, 2:5, 6:8] = 2
    return labels


def other_maker(source, path, segments, kind="BINARY", **options):
    """Write a SEG as another program may; segments are names and boolean arrays."""
    images, grid = source_images(source)
    array = np.stack([part for _, part in segments], axis=-1).transpose(2, 1, 0, 3)
    lesion = highdicom.sr.CodedConcept("52988006", "SCT", "Lesion")
    descriptions = [
        highdicom.seg.SegmentDescription(number, name, lesion, lesion, "MANUAL")
        for number, (name, _) in enumerate(segments, start=1)
    ]
    lps = np.diag([-1, -1, 1, 1]) @ grid.affine
    volume = highdicom.Volume(
        np.ascontiguousarray(array),
        lps[:, [2, 1, 0, 3]],
        coordinate_system="PATIENT",
        frame_of_reference_uid=images[0].FrameOfReferenceUID,
        channels={"SegmentNumber": list(range(1, len(segments) + 1))},
    )
    made = highdicom.seg.Segmentation(
        images,
        volume,
        kind,
        descriptions,
        highdicom.UID(),
        1,
        highdicom.UID(),
        1,
        "made",
        "made",
        "1",
        "1",
        **options,
    )
    made.save_as(path)
    return path


def test_labels_come_back_from_a_segmentation(source, tmp_path):
    write_segmentation(tmp_path / "seg.dcm", marked(), source)

    volume = read_series(source)
    np.testing.assert_array_equal(
        read_annotation(tmp_path / "seg.dcm", volume), marked()
    )


def test_nodes_alone_keep_their_label(source, tmp_path):
    nodes = np.where(marked() == 2, marked(), 0).astype(np.uint8)
    write_segmentation(tmp_path / "seg.dcm", nodes, source)

    volume = read_series(source)
    np.testing.assert_array_equal(read_annotation(tmp_path / "seg.dcm", volume), nodes)


def test_a_lesion_in_one_slice_keeps_its_place(source, tmp_path):
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:8, 3:9, 5] = 1
    write_segmentation(tmp_path / "seg.dcm", labels, source)

    volume = read_series(source)
    np.testing.assert_array_equal(read_annotation(tmp_path / "seg.dcm", volume), labels)


def test_an_empty_annotation_stays_one(source, tmp_path):
    write_segmentation(tmp_path / "seg.dcm", np.zeros(SHAPE, np.uint8), source)

    assert not read_annotation(tmp_path / "seg.dcm", read_series(source)).any()


def test_a_segmentation_is_of_its_sources_frame_and_study(source, tmp_path):
    write_segmentation(tmp_path / "seg.dcm", marked(), source)

    seg = highdicom.seg.segread(tmp_path / "seg.dcm")

    assert seg.FrameOfReferenceUID == "1.2.3.9"
    assert seg.StudyInstanceUID == "1.2.3"
    assert [s.segment_label for s in seg.SegmentSequence] == ["primary", "nodes"]


def test_segments_are_told_by_name_in_any_order(source, tmp_path):
    segments = [
        ("Lymph node", marked() == 2),
        ("Brain", np.ones(SHAPE, bool)),
        ("Tumor", marked() == 1),
    ]
    path = other_maker(source, tmp_path / "seg.dcm", segments)

    volume = read_series(source)
    np.testing.assert_array_equal(read_annotation(path, volume), marked())
    brain = read_annotation(path, volume, {"Brain": 2})
    assert (brain == 2).all()


def test_segments_of_no_usual_name_have_their_number(source, tmp_path):
    segments = [("Segment A", marked() == 1), ("Segment B", marked() == 2)]
    path = other_maker(source, tmp_path / "seg.dcm", segments)

    np.testing.assert_array_equal(read_annotation(path, read_series(source)), marked())


def test_overlapping_segments_keep_the_lowest_label(source, tmp_path):
    whole = marked() > 0
    segments = [("GTVn", whole), ("GTVp", marked() == 1)]
    path = other_maker(source, tmp_path / "seg.dcm", segments)

    np.testing.assert_array_equal(read_annotation(path, read_series(source)), marked())


def test_a_fractional_segment_marks_from_one_half(source, tmp_path):
    share = np.zeros(SHAPE)
    share[3, 3, 3], share[4, 3, 3], share[5, 3, 3] = 0.3, 0.7, 1.0
    path = other_maker(
        source, tmp_path / "seg.dcm", [("Tumour", share)], kind="FRACTIONAL"
    )

    labels = read_annotation(path, read_series(source))

    assert [tuple(place) for place in np.argwhere(labels)] == [(4, 3, 3), (5, 3, 3)]


def test_a_segmentation_of_another_frame_is_refused(source, tmp_path):
    write_segmentation(tmp_path / "seg.dcm", marked(), source)
    slices = classic_slices(np.ones(SHAPE, np.uint16), FrameOfReferenceUID="1.2.3.66")
    other = read_series(save_series(tmp_path / "other", slices))

    with pytest.raises(VolumeError, match=r"seg\.dcm was drawn in another frame"):
        read_annotation(tmp_path / "seg.dcm", other)


def test_labels_of_another_shape_are_not_written(source, tmp_path):
    for write in (write_segmentation, write_parametric_map):
        with pytest.raises(VolumeError, match="give the series that it belongs to"):
            write(tmp_path / "out.dcm", marked()[1:], source)

    assert not (tmp_path / "out.dcm").exists()


def test_a_heat_map_keeps_values_and_places(source, tmp_path):
    volume = read_series(source)
    heat = np.random.default_rng(1).normal(0, 1e-3, SHAPE).astype(np.float32)

    write_parametric_map(tmp_path / "pm.dcm", heat, source)

    image = highdicom.imread(tmp_path / "pm.dcm").get_volume(dtype=np.float32)
    lps = np.array(image.affine)[:, [2, 1, 0, 3]]
    geometry = Geometry(shape=SHAPE, affine=np.diag([-1, -1, 1, 1]) @ lps)
    to_file = np.linalg.inv(geometry.affine) @ volume.affine
    places = np.indices(SHAPE).reshape(3, -1)
    found = np.round(to_file[:3, :3] @ places + to_file[:3, 3:]).astype(int)
    values = image.array.transpose(2, 1, 0)[tuple(found)].reshape(SHAPE)
    np.testing.assert_array_equal(values, heat)


def test_a_constant_heat_map_is_written(source, tmp_path):
    write_parametric_map(tmp_path / "pm.dcm", np.zeros(SHAPE, np.float32), source)

    image = highdicom.imread(tmp_path / "pm.dcm").get_volume()
    assert not image.array.any()


def test_an_image_is_no_segmentation(source, tmp_path):
    path = save(classic_slices()[0], tmp_path / "image.dcm")

    with pytest.raises(VolumeError, match=r"image\.dcm is no DICOM segmentation"):
        read_segmentation(path)


def test_a_damaged_segmentation_is_refused(source, tmp_path):
    path = tmp_path / "seg.dcm"
    write_segmentation(path, marked(), source)
    path.write_bytes(path.read_bytes()[:-40])

    with pytest.raises(VolumeError, match=r"seg\.dcm cannot be read as DICOM"):
        read_segmentation(path)


def test_the_real_mask_goes_into_its_series_and_back(real_data, tmp_path):
    folder = real_data / "dicom" / "VS-SEG-001_T1c"
    mask = read_nifti(real_data / "mri" / "vs001_T1c_2x_mask.nii.gz").array
    labels = np.kron(mask, np.ones((2, 2, 1))).astype(np.uint8)

    write_segmentation(tmp_path / "seg.dcm", labels, folder)

    volume = read_series(folder)
    np.testing.assert_array_equal(read_annotation(tmp_path / "seg.dcm", volume), labels)


@pytest.mark.parametrize("own", [(1, 4), (3,), (1, 2, 3), (255,)])
def test_labels_without_a_name_come_back_too(tmp_path, own):
    source = save_series(tmp_path / "series", classic_slices())
    volume = read_series(source)
    labels = np.zeros(volume.shape, np.uint8)
    for place, label in enumerate(own, start=1):
        labels[1:3, 2:4, place] = label

    write_segmentation(tmp_path / "seg.dcm", labels, source)

    np.testing.assert_array_equal(read_annotation(tmp_path / "seg.dcm", volume), labels)


def without_slice_spacing(path, **measures):
    """Take out of a segmentation how far its slices lie apart."""
    dataset = pydicom.dcmread(path)
    stated = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    del stated.SpacingBetweenSlices
    for keyword, value in measures.items():
        setattr(stated, keyword, value)
    dataset.save_as(path)
    return path


@pytest.mark.parametrize("thickness", [3.0, 2.0])  # slices that touch, or do not
def test_marked_slices_with_gaps_between_them_are_no_thick_ones(source, thickness):
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:8, 3:9, 1] = labels[4:8, 3:9, 6] = 1
    path = source.parent / "seg.dcm"
    write_segmentation(path, labels, source)
    without_slice_spacing(path, SliceThickness=thickness)

    np.testing.assert_array_equal(read_annotation(path, read_series(source)), labels)
    check_contents(path)


def test_gaps_that_nothing_explains_are_refused(tmp_path):
    source = save_series(tmp_path / "series", classic_slices())
    labels = np.zeros((7, 5, 6), np.uint8)
    labels[2:4, 2:4, 0] = labels[2:4, 2:4, 5] = 1
    path = tmp_path / "seg.dcm"
    write_segmentation(path, labels, source)
    without_slice_spacing(path, SliceThickness=2.0)
    affine = lps_affine(spacing=(0.8, 0.6, 2.1))
    other = save_series(tmp_path / "other", classic_slices(affine=affine))

    with pytest.raises(VolumeError, match=r"seg\.dcm does not say how far its slices"):
        read_annotation(path, read_series(other))


def test_a_series_that_says_little_of_its_patient_can_be_annotated(tmp_path):
    slices = classic_slices()
    for one in slices:
        for keyword in (
            *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
            *("AccessionNumber", "StudyID", "StudyDate", "StudyTime"),
        ):
            delattr(one, keyword)
    source = save_series(tmp_path / "series", slices)
    volume = read_series(source)
    labels = (volume.array > 100).astype(np.uint8)

    write_segmentation(tmp_path / "seg.dcm", labels, source)
    write_parametric_map(tmp_path / "pm.dcm", volume.array, source)

    np.testing.assert_array_equal(read_annotation(tmp_path / "seg.dcm", volume), labels)
    assert not pydicom.dcmread(tmp_path / "pm.dcm").PatientName
