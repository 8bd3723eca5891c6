"""Whose series they are, and which of them is proposed."""

import pytest
from hospital_folder import AGENT, FIRST, LAST, T1, T2, proposal, roles, warnings_of
from pydicom.dataset import Dataset

from dicom_files import save, structure_set
from napari_harm3.cohort.table import read_cohort
from napari_harm3.jobs.importing import import_dicom
from napari_harm3.jobs.progress import result_of
from napari_harm3.mri.dicom import list_series
from napari_harm3.mri.reading import read_volume

T1C = T1 | AGENT


def cases(out):
    return {row["role"]: row["case_id"] for row in proposal(out)}


@pytest.mark.parametrize(
    "other", [{"PatientBirthDate": "19800202"}, {"PatientSex": "M"}]
)
def test_two_persons_of_one_id_are_two_cases(hospital, tmp_path, other):
    source, add = hospital
    add("ANON", **T1C)
    add("ANON", day=LAST, **T1C, **other)
    add("ANON", day=LAST, **T2, **other)

    told = warnings_of(import_dicom(source, tmp_path / "out"))

    rows = proposal(tmp_path / "out")
    assert [(r["case_id"], r["role"]) for r in rows] == [
        ("P001", "t1_pre"),
        ("P002", "t1_pre"),
        ("P002", "t2_pre"),
    ]
    assert any("P001, P002 have one patient id" in one for one in told)


def test_what_one_study_leaves_blank_is_as_the_other_says(hospital, tmp_path):
    source, add = hospital
    add(**T1C)
    add(day=LAST, PatientBirthDate="", PatientSex="O", **T1C)

    told = warnings_of(import_dicom(source, tmp_path / "out"))

    assert cases(tmp_path / "out") == {"t1_pre": "P001", "t1_post": "P001"}
    assert told == []


@pytest.mark.parametrize(
    ("name", "warned"), [("of name, MRN-1", False), ("Other^Person", True)]
)
def test_another_name_is_told_and_another_spelling_is_not(
    hospital, tmp_path, name, warned
):
    source, add = hospital
    add(**T1C)
    add(day=LAST, **T1C, PatientName=name)

    told = warnings_of(import_dicom(source, tmp_path / "out"))

    assert cases(tmp_path / "out") == {"t1_pre": "P001", "t1_post": "P001"}
    assert any("name their patient differently" in one for one in told) == warned


@pytest.mark.parametrize("shift_mm", [0.0, 1.5])
def test_two_studies_under_one_series_uid_are_two_volumes(hospital, tmp_path, shift_mm):
    source, add = hospital
    shared = {"SeriesInstanceUID": "1.2.7", "FrameOfReferenceUID": "1.2.9"}
    add(**T1C, **shared)
    add(day=LAST, **T1C, **shared, shift_mm=shift_mm)
    out = tmp_path / "out"

    result = result_of(import_dicom(source, out, accept=True))

    assert result["failed"] == []
    (case,) = read_cohort(out / "cohort.csv").cases
    assert sorted(case.volumes) == ["t1_post", "t1_pre"]
    for role, lowest in (("t1_pre", 1), ("t1_post", 2)):  # as the series were counted
        volume = read_volume(case.volumes[role])
        assert (volume.shape[2], volume.array.min()) == (12, lowest)


def test_two_patients_under_one_series_uid_are_two_cases(hospital, tmp_path):
    source, add = hospital
    shared = {"SeriesInstanceUID": "1.2.7", "StudyInstanceUID": "1.2.8"}
    add("MRN-1", **T1C, **shared)
    add("MRN-2", **T1C, **shared, shift_mm=36.0)

    infos = list_series(source)

    assert [(info.slices, info.fault) for info in infos] == [(12, None)] * 2


MADE = ["ORIGINAL", "PRIMARY", "M"]
COMPUTED = {
    "subtraction": {"ImageType": ["DERIVED", "SECONDARY", "SUBTRACTION"]},
    "projection": {"ImageType": ["DERIVED", "SECONDARY", "PROJECTION IMAGE"]},
    "fat": {"ImageType": ["DERIVED", "PRIMARY", "DIXON", "FAT"]},
    "phase": {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]},
    "map": {"SeriesDescription": "T2 map"},
    "adc": {"SeriesDescription": "Apparent Diffusion Coefficient (mm2/s)"},
    "resolve": {"SeriesDescription": "RESOLVE_b1000"},
    "trace": {"SeriesDescription": "b0 trace"},
    "ivim": {"SeriesDescription": "IVIM"},
    "survey": {"SeriesDescription": "Survey"},
    "weighting": {"SeriesDescription": "tra", "DiffusionBValue": 800.0},
}


@pytest.mark.parametrize("made", COMPUTED.values(), ids=COMPUTED)
def test_what_was_computed_or_is_diffusion_is_no_t2(hospital, tmp_path, made):
    source, add = hospital
    add(**(T2 | made), PixelSpacing=[0.3, 0.4])

    result_of(import_dicom(source, tmp_path / "out"))

    assert roles(tmp_path / "out") == {}


@pytest.mark.parametrize(
    "image_type", [["DERIVED", "SECONDARY", "MPR"], ["ORIGINAL", "PRIMARY", "OP"]]
)
def test_an_image_as_it_was_taken_is_preferred(hospital, tmp_path, image_type):
    source, add = hospital
    add(**T1C, ImageType=image_type, PixelSpacing=[0.3, 0.4])
    add(**T1C, ImageType=MADE)

    result_of(import_dicom(source, tmp_path / "out"))

    assert roles(tmp_path / "out")["t1_pre"]["series"] == "2"


@pytest.mark.parametrize("kind", ["WATER", "IN_PHASE", "OUT_PHASE", "MPR"])
def test_a_magnitude_image_of_another_make_is_taken_where_it_is_alone(
    hospital, tmp_path, kind
):
    source, add = hospital
    add(**T1C, ImageType=["DERIVED", "PRIMARY", "DIXON", kind])

    result_of(import_dicom(source, tmp_path / "out"))

    assert list(roles(tmp_path / "out")) == ["t1_pre"]


def test_the_long_echo_of_two_is_the_t2(hospital, tmp_path):
    source, add = hospital
    both = {"SeriesDescription": "pd_t2_tse", "SeriesInstanceUID": "1.2.7"}
    add(**(T2 | both | {"EchoTime": 15.0}), EchoNumbers=1)
    add(**(T2 | both | {"EchoTime": 100.0}), EchoNumbers=2)

    result_of(import_dicom(source, tmp_path / "out"))

    assert [(r["echo_ms"], r["role"]) for r in proposal(tmp_path / "out")] == [
        ("15", ""),
        ("100", "t2_pre"),
    ]


def test_a_t1_of_its_own_is_preferred_to_a_time_of_many(hospital, tmp_path):
    source, add = hospital
    for time in (1, 2, 3):
        add(
            **T1C,
            SeriesInstanceUID="1.2.7",
            TemporalPositionIdentifier=time,
            PixelSpacing=[0.3, 0.4],
        )
    add(**T1C)

    result_of(import_dicom(source, tmp_path / "out"))

    assert roles(tmp_path / "out")["t1_pre"]["series"] == "4"


def drawn_on(frame="1.9.1", **header):
    made = structure_set([("GTVp", [])], frame=frame)
    made.PatientID, made.StudyInstanceUID = "MRN-1", "5.5"
    for keyword, value in header.items():
        setattr(made, keyword, value)
    return made


def referring(uid):
    frame, study, series = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = uid
    study.RTReferencedSeriesSequence = [series]
    frame.RTReferencedStudySequence = [study]
    return {"ReferencedFrameOfReferenceSequence": [frame]}


@pytest.mark.parametrize(
    ("header", "role"),
    [
        ({"StudyDate": FIRST}, "mask_t1_pre"),
        ({"StudyDate": "20990101", "StudyInstanceUID": f"1.2.{LAST}"}, "mask_t1_post"),
        ({"StudyDate": LAST} | referring("1.2.3.1"), "mask_t1_pre"),
        ({"StudyDate": "20990101"}, ""),
    ],
    ids=["day", "study", "reference", "neither"],
)
def test_contours_belong_to_the_study_they_were_drawn_on(
    hospital, tmp_path, header, role
):
    source, add = hospital
    for day in (FIRST, LAST):
        add(day=day, **T1C, FrameOfReferenceUID="1.9.1")
    save(drawn_on(**header), source / "rt.dcm")

    result_of(import_dicom(source, tmp_path / "out"))

    (row,) = (r for r in proposal(tmp_path / "out") if r["modality"] == "RTSTRUCT")
    assert row["role"] == role
    assert ("write mask_t1_pre or mask_t1_post" in row["why"]) == (not role)


def test_contours_of_each_study_in_one_frame_are_both_tied(hospital, tmp_path):
    source, add = hospital
    for day in (FIRST, LAST):
        add(day=day, **T1C, FrameOfReferenceUID="1.9.1")
        save(drawn_on(StudyDate=day), source / f"{day}.dcm")

    result_of(import_dicom(source, tmp_path / "out"))

    assert {"mask_t1_pre", "mask_t1_post"} < roles(tmp_path / "out").keys()


def test_field_strengths_of_one_kind_are_alike(hospital, tmp_path):
    source, add = hospital
    add(**T1C, MagneticFieldStrength=1.494)
    add(day=LAST, **T1C)

    assert warnings_of(import_dicom(source, tmp_path / "out")) == []


def test_empty_scan_options_say_nothing_of_fat(hospital):
    source, add = hospital
    add(**T1C, ScanOptions="")

    (info,) = list_series(source)

    assert info.fat_saturation is None
