"""`harm3 doctor`: what a volume is, and what is wrong with it, for every kind."""

import gzip

import nibabel
import numpy as np
import pytest

from dicom_files import classic_slices, save_series
from itk_files import metaimage, nrrd
from mri_grids import ORIENTATIONS, oriented
from napari_harm3.data.inspection import files_at, inspect_file
from napari_harm3.mri.affine import orientation_code
from napari_harm3.mri.segmentation import write_segmentation
from nifti_files import AFFINE, nifti


@pytest.fixture
def array():
    return np.arange(60, dtype=np.int16).reshape(5, 4, 3)


@pytest.mark.parametrize(
    ("kind", "name", "write"),
    [
        ("NIfTI", "v.nii.gz", lambda array: gzip.compress(nifti(array))),
        ("NRRD", "v.nrrd", nrrd),
        ("MetaImage", "v.mha", metaimage),
    ],
)
def test_a_volume_is_described(tmp_path, array, kind, name, write):
    (tmp_path / name).write_bytes(write(array))

    report = inspect_file(tmp_path / name)

    assert (report.kind, report.faults) == (f"volume ({kind})", [])
    size, lies, values = report.notes
    assert size.startswith("5 x 4 x 3 voxels of ")
    assert "oblique by " in lies
    assert "from 0 to 59, mean 29.5" in values


def test_place_and_angle_are_told_in_words(tmp_path, array):
    (tmp_path / "v.nii").write_bytes(nifti(array, np.diag([-1.0, -1, 2, 1])))
    (tmp_path / "w.nii").write_bytes(nifti(array, AFFINE))

    straight, oblique = (
        inspect_file(tmp_path / n).notes[1] for n in ("v.nii", "w.nii")
    )

    assert straight == "Its axes lead to left, back, head (LPS), not oblique."
    # The axis nearest to the patient's is 36.9 degrees away: cosine 1.2 / 1.5.
    assert oblique.endswith("oblique by 36.9 degrees.")


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS)
@pytest.mark.parametrize("tilt", [(0, 0, 0), (14, -9, 20)])
def test_the_orientation_code_is_that_of_nibabel(axes, signs, tilt):
    affine = oriented(axes, signs, tilt=tilt).affine
    assert orientation_code(affine) == "".join(nibabel.aff2axcodes(affine))


def test_what_is_wrong_with_a_volume_is_told(tmp_path, array):
    (tmp_path / "flat.nii").write_bytes(nifti(np.zeros_like(array)))
    (tmp_path / "cut.nii.gz").write_bytes(gzip.compress(nifti(array))[:-9])
    (tmp_path / "bad.nii").write_bytes(b"nothing of the kind")
    (tmp_path / "nowhere.nrrd").write_bytes(nrrd(array, space=None))

    for name, says in {
        "flat.nii": "all its voxels are alike",
        "cut.nii.gz": "damaged",
        "bad.nii": "no volume that we know",
        "nowhere.nrrd": "does not say where",
        "none.nii": "does not exist",
    }.items():
        report = inspect_file(tmp_path / name)
        assert says in report.faults[0]
        assert str(tmp_path) not in report.faults[0]


def test_a_dicom_folder_is_one_volume_and_its_contours_an_annotation(real_data):
    series, contours = files_at(real_data / "dicom")[::-1]

    volume, annotation = inspect_file(series), inspect_file(contours)

    assert (series.name, volume.kind) == ("VS-SEG-001_T1c", "volume (DICOM)")
    assert volume.faults == []
    assert volume.notes[0] == "512 x 512 x 64 voxels of 0.41 x 0.41 x 1.5 mm."
    assert contours.name == "VS-SEG-001_RTSTRUCT.dcm"
    assert (annotation.kind, annotation.faults) == ("annotation (DICOM RTSTRUCT)", [])


def test_an_annotation_is_read_to_its_end(real_data, tmp_path):
    contours = real_data / "dicom" / "VS-SEG-001_RTSTRUCT.dcm"
    series = save_series(tmp_path / "s", classic_slices())
    write_segmentation(tmp_path / "seg.dcm", np.ones((7, 5, 6), np.uint8), series)
    voxels = (tmp_path / "seg.dcm").read_bytes()
    (tmp_path / "rt.dcm").write_bytes(contours.read_bytes()[:3000])
    (tmp_path / "cut.dcm").write_bytes(voxels[:-20])
    (tmp_path / "head.dcm").write_bytes(voxels[:700])

    whole = inspect_file(tmp_path / "seg.dcm")
    reports = [inspect_file(tmp_path / f"{n}.dcm") for n in ("rt", "cut", "head")]

    assert (whole.kind, whole.faults) == ("annotation (DICOM SEG)", [])
    kinds = [report.kind for report in reports]
    assert kinds == [f"annotation (DICOM {k})" for k in ("RTSTRUCT", "SEG", "SEG")]
    for name, report in zip(("rt", "cut", "head"), reports, strict=True):
        assert report.faults[0].startswith(f"{name}.dcm cannot be read as DICOM")


def test_the_files_of_a_folder_are_its_volumes_and_slides(real_data, tmp_path, array):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "v.nii").write_bytes(nifti(array))
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "s.svs").symlink_to(real_data / "wsi" / "CMU-1-Small-Region.svs")

    assert files_at(tmp_path) == [tmp_path / "s.svs", tmp_path / "sub" / "v.nii"]


def test_a_dicom_slide_is_a_slide(real_data):
    report = inspect_file(real_data / "wsi" / "camelyon_jpeg.dcm")
    assert report.kind == "slide (dicom)"
