"""A hospital's folder, made series by series."""

import pytest
from hospital_folder import AGENT, FIRST, LAST, SLICES, T1, T2

from dicom_files import classic_slices, lps_affine, save_series, voxels


@pytest.fixture
def hospital(tmp_path):
    """Return a folder and a function that adds a series to it."""
    source = tmp_path / "export"
    count = 0

    def add(patient="MRN-1", day=FIRST, shape=SLICES, shift_mm=0.0, **header):
        nonlocal count
        count += 1
        made = {
            "StudyDate": day,
            "StudyInstanceUID": f"1.2.{day}",
            "SeriesInstanceUID": f"1.2.3.{count}",
            "FrameOfReferenceUID": f"1.9.{day}",
            "MagneticFieldStrength": 1.5,
            "ScanOptions": ["PFP"],
        } | header
        affine = lps_affine()
        affine[2, 3] += shift_mm
        slices = classic_slices(voxels(shape) + count, affine=affine)
        for one in slices:
            one.PatientID = patient
            one.PatientName = f"Name^Of^{patient}"
            for keyword, value in made.items():
                setattr(one, keyword, value)
        save_series(source / f"s{count:02d}", slices)
        return f"1.2.3.{count}"

    source.mkdir()
    return source, add


@pytest.fixture
def four(hospital):
    """Return a folder with the four series of a patient, and what else is made."""
    source, add = hospital
    for day in (FIRST, LAST):
        add(day=day, **T1, **AGENT)
        add(day=day, **T2)
    return source
