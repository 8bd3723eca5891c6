"""Files open as layers, each voxel where it lies in the patient."""

import shutil

import numpy as np
import pytest
from napari.utils.notifications import notification_manager

from mri_grids import ORIENTATIONS, oriented
from napari_harm3.mri.reading import read_volume
from napari_harm3.mri.volume import write_volume
from napari_harm3.plugin.readers import (
    cohort_reader,
    folder_reader,
    slide_reader,
    volume_reader,
)

MARK = (8, 2, 5)
OURS = "napari-harm3"


def saved(path, grid, *, labels):
    array = np.zeros(grid.shape, np.uint8 if labels else np.float32)
    if not labels:
        array += np.random.default_rng(0).random(grid.shape, np.float32)
    array[MARK] = 3
    write_volume(path, array, grid.affine)
    return path


def lps_zyx(grid, index):
    x, y, z = (grid.affine @ [*index, 1])[:3]
    return np.array([z, -y, -x])


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS)
def test_a_marked_voxel_lies_where_it_lies_in_the_patient(
    viewer, tmp_path, axes, signs
):
    grid = oriented(axes, signs)
    (layer,) = viewer.open(
        saved(tmp_path / "m.nii.gz", grid, labels=False), plugin=OURS
    )

    drawn = np.unravel_index(layer.data.argmax(), layer.data.shape)

    world = np.array(layer.data_to_world(drawn))
    np.testing.assert_allclose(world, lps_zyx(grid, MARK), atol=1e-4)
    assert [str(unit) for unit in layer.units] == ["millimeter"] * 3


@pytest.mark.parametrize("tilt", [(7, -11, 14), (0, 30, 0), (44, 0, 10)])
def test_an_oblique_mark_stays_in_place_and_the_angle_is_said(viewer, tmp_path, tilt):
    grid = oriented((2, 0, 1), (-1, 1, -1), spacing=(1.2, 1.0, 1.4), tilt=tilt)
    path = saved(tmp_path / "m.nii.gz", grid, labels=False)

    before = len(notification_manager.records)
    (layer,) = viewer.open(path, plugin=OURS)

    drawn = np.unravel_index(layer.data.argmax(), layer.data.shape)
    away = np.abs(np.array(layer.data_to_world(drawn)) - lps_zyx(grid, MARK))
    assert (away <= grid.spacing_mm.max() / 2 + 0.2).all()
    degrees = layer.metadata["oblique_degrees"]
    assert degrees > 5
    said = [record.message for record in notification_manager.records[before:]]
    assert any(f"{degrees:.1f} degrees oblique" in text for text in said)
    assert all(str(tmp_path) not in text for text in said)


def test_few_whole_numbers_are_labels_and_others_an_image(viewer, tmp_path):
    grid = oriented((0, 1, 2), (1, 1, 1))
    mask = viewer.open(saved(tmp_path / "m.nii.gz", grid, labels=True), plugin=OURS)
    image = viewer.open(saved(tmp_path / "i.nii.gz", grid, labels=False), plugin=OURS)

    kinds = [layer._type_string for layer in (*mask, *image)]

    assert kinds == ["labels", "image"]
    assert mask[0].data.sum() == 3


@pytest.mark.parametrize("suffix", ["nrrd", "mha"])
def test_other_volume_files_open_like_nifti(viewer, tmp_path, suffix):
    import SimpleITK

    grid = oriented((2, 0, 1), (-1, 1, -1))
    nifti = saved(tmp_path / "a.nii.gz", grid, labels=False)
    other = tmp_path / f"b.{suffix}"
    SimpleITK.WriteImage(SimpleITK.ReadImage(nifti), other)

    one, two = (viewer.open(p, plugin=OURS)[0] for p in (nifti, other))

    np.testing.assert_array_equal(one.data, two.data)
    np.testing.assert_allclose(one.translate, two.translate, atol=1e-4)
    np.testing.assert_allclose(one.scale, two.scale, atol=1e-5)
    assert two.name == "b"


def test_a_dicom_folder_opens_and_its_parent_of_none_is_refused(
    viewer, real_data, tmp_path
):
    folder = real_data / "dicom" / "VS-SEG-001_T1c"

    (layer,) = viewer.open(folder, plugin=OURS)

    volume = read_volume(folder)
    assert layer.data.shape == (64, 512, 512)
    index = (100, 200, 30)
    here = layer.world_to_data(lps_zyx(volume, index))
    assert layer.data[tuple(np.rint(here).astype(int))] == volume.array[index]
    assert layer.metadata["native_shape"] == [512, 512, 64]
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "notes.txt").write_text("none")
    assert folder_reader(str(tmp_path)) is None


def test_a_folder_is_refused_after_a_few_files(tmp_path):
    for number in range(150):
        (tmp_path / f"{number:03d}.txt").touch()
    last = tmp_path / "z"
    last.write_bytes(b"\0" * 128 + b"DICM")

    assert folder_reader(str(tmp_path)) is None

    last.rename(tmp_path / "000")
    assert folder_reader(str(tmp_path)) is not None


def test_a_dicom_file_goes_to_the_reader_that_can_show_it(real_data):
    slide = str(real_data / "wsi" / "camelyon_jpeg.dcm")
    slice_ = str(real_data / "dicom" / "VS-SEG-001_T1c" / "1-001.dcm")

    assert volume_reader(slide) is None
    assert slide_reader(slide) is not None
    assert volume_reader(slice_) is not None
    assert slide_reader(slice_) is None


def test_a_damaged_file_is_told_and_opens_nothing(viewer, real_data, tmp_path):
    path = tmp_path / "flipped.nii.gz"
    shutil.copy(real_data / "mri" / "vs001_T1c_2x_mask.nii.gz", path)
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # of the checksum
    path.write_bytes(content)

    before = len(notification_manager.records)
    viewer.open(path, plugin=OURS)

    said = [record.message for record in notification_manager.records[before:]]
    assert len(viewer.layers) == 0
    assert any("flipped.nii.gz is damaged" in text for text in said)


@pytest.mark.parametrize(
    "header", ["case_id,pcr", '"pcr","case_id"', '\ufeff"a ""b"", c", case_id ,pcr']
)
def test_a_cohort_table_is_known_by_its_header_as_csv_writes_it(tmp_path, header):
    table = tmp_path / "cohort.csv"
    table.write_text(f"{header}\r\nA,1\r\n", encoding="utf-8")

    assert cohort_reader(str(table)) is not None


@pytest.mark.parametrize("content", [b"", b"axis-0,axis-1\r\n1,2\r\n", b"\xff\xfe"])
def test_any_other_csv_is_left_to_napari(tmp_path, content):
    table = tmp_path / "points.csv"
    table.write_bytes(content)

    assert cohort_reader(str(table)) is None


def test_a_file_that_cannot_be_read_is_told_by_name_alone(tmp_path):
    path = tmp_path / f"{'a' * 300}.nii.gz"

    before = len(notification_manager.records)
    assert volume_reader(str(path))(str(path)) == [(None,)]

    (said,) = [record.message for record in notification_manager.records[before:]]
    assert str(tmp_path) not in said
    assert said.startswith(path.name)
