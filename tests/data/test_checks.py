"""`harm3 check`: what is wrong with a case's volumes and annotations, of every kind."""

import numpy as np
import pytest

from itk_files import nrrd
from napari_harm3.cohort.case import Case
from napari_harm3.data.checks import case_faults
from napari_harm3.data.slides import bags_of
from nifti_files import AFFINE, nifti
from training_cases import write_bag


def messages(case, *, quick):
    return {fault.column: fault.message for fault in case_faults(case, quick=quick)}


@pytest.mark.parametrize("quick", [True, False])
def test_a_dicom_series_and_its_contours_have_no_fault(real_data, quick):
    case = Case(
        case_id="VS-001",
        row=2,
        volumes={"t1_pre": real_data / "dicom" / "VS-SEG-001_T1c"},
        masks={"t1_pre": real_data / "dicom" / "VS-SEG-001_RTSTRUCT.dcm"},
    )
    assert messages(case, quick=quick) == {}


def test_each_fault_is_told_by_its_column(tmp_path):
    array = np.arange(60, dtype=np.int16).reshape(5, 4, 3)
    far = AFFINE.copy()
    far[:3, 3] += 500
    files = {
        "flat.nii": nifti(np.zeros_like(array)),
        "nowhere.nrrd": nrrd(array, space=None),
        "good.nii": nifti(array),
        "far.nii": nifti((array > 9).astype(np.uint8), far),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    case = Case(
        case_id="A",
        row=2,
        volumes={
            "t1_pre": tmp_path / "flat.nii",
            "t1_post": tmp_path / "nowhere.nrrd",
            "t2_pre": tmp_path / "good.nii",
        },
        masks=dict.fromkeys(("t1_post", "t2_pre"), tmp_path / "far.nii"),
    )

    whole, quick = messages(case, quick=False), messages(case, quick=True)

    assert "all its voxels are alike" in whole.pop("t1_pre")
    assert "does not say where" in whole.pop("t1_post")
    assert "inside its volume" in whole.pop("mask_t2_pre")
    assert whole == {}
    assert list(quick) == ["t1_post"]  # headers alone show no more


def test_feature_files_of_one_case_that_differ_in_width_are_a_fault(tmp_path):
    write_bag(tmp_path / "a.h5", np.ones((3, 6)))
    write_bag(tmp_path / "b.h5", np.ones((3, 9)))
    slides = (tmp_path / "a.h5", tmp_path / "b.h5")
    case = Case(case_id="A", row=2, slides=slides, slide_mpp=(None, None))

    said = messages(case, quick=True)

    assert said == {
        "wsi": "a.h5 has 6 features a patch and b.h5 has 9: extract them alike."
    }


def test_a_feature_file_is_one_however_its_suffix_is_written(tmp_path):
    write_bag(tmp_path / "A.H5", np.ones((3, 6)))
    case = Case(case_id="A", row=2, slides=(tmp_path / "A.H5",), slide_mpp=(None,))

    assert messages(case, quick=False) == {}
    assert bags_of(case, tmp_path / "work") == case.slides
