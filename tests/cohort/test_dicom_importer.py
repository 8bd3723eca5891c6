"""A hospital's folder becomes a proposal that names nobody, and then a cohort."""

import gzip
import json

import numpy as np
import pytest
from hospital_folder import (
    AGENT,
    FIRST,
    LAST,
    MIDDLE,
    SLICES,
    T1,
    T2,
    edit,
    proposal,
    roles,
    warnings_of,
)
from pydicom import dcmread

from dicom_files import PATIENT, enhanced, save, structure_set, voxels
from napari_harm3.cohort.table import read_cohort
from napari_harm3.errors import CohortError
from napari_harm3.jobs.importing import import_dicom
from napari_harm3.jobs.progress import result_of
from napari_harm3.mri.reading import read_volume


def test_dates_contrast_and_timing_propose_the_four_volumes(four, tmp_path):
    result = result_of(import_dicom(four, tmp_path / "out"))

    found = roles(tmp_path / "out")
    assert sorted(found) == ["t1_post", "t1_pre", "t2_post", "t2_pre"]
    assert found["t1_post"]["days"] == "75"
    assert found["t1_pre"]["contrast"] == "yes"
    assert found["t2_pre"]["plane"] == "axial"
    assert found["t2_pre"]["field_tesla"] == "1.5"
    assert (result["cohort"], result["cases"]) == (None, 1)
    assert not (tmp_path / "out" / "cohort.csv").exists()


def test_of_several_series_the_pair_that_fits_together_is_taken(hospital, tmp_path):
    source, add = hospital
    add(**T1)  # native
    add(**T1, **AGENT, ScanOptions=["FS"])
    add(**T1, **AGENT)
    add(day=MIDDLE, **T1, **AGENT)
    add(day=LAST, **T1, **AGENT, ScanOptions=["FS"])
    add(shape=(7, 5, 3), **T2)  # localiser
    add(day="20250101", shape=(7, 5, 3), **T2)  # no study of its own

    result_of(import_dicom(source, tmp_path / "out"))

    rows = proposal(tmp_path / "out")
    by_number = {row["series"]: row for row in rows}
    assert by_number["2"]["role"] == "t1_pre"
    assert "with contrast agent, the best of 3" in by_number["2"]["why"]
    assert [row["fat_saturation"] for row in rows if row["role"]] == ["yes", "yes"]
    why = " | ".join(row["why"] for row in rows)
    assert "neither the first study nor the last" in why
    assert "a localiser, 3 slices" in why


@pytest.mark.parametrize(("inversion_ms", "role"), [(1499.0, "t2_pre"), (1500.0, "")])
def test_a_t2_whose_inversion_darkens_fluid_is_a_flair(
    hospital, tmp_path, inversion_ms, role
):
    source, add = hospital
    add(**T2, InversionTime=inversion_ms)

    result_of(import_dicom(source, tmp_path / "out"))

    (row,) = proposal(tmp_path / "out")
    assert row["role"] == role
    assert ("FLAIR" in row["why"]) == (not role)


def test_what_differs_before_and_after_is_warned_about(hospital, tmp_path):
    source, add = hospital
    add(**T1)
    add(day=LAST, **T1, **AGENT, ScanOptions=["FS"], MagneticFieldStrength=3.0)

    told = " ".join(warnings_of(import_dicom(source, tmp_path / "out")))

    assert "t1 before and after treatment differ in fat saturation no and yes" in told
    assert "field tesla 1.5 and 3" in told
    assert "does not say that contrast agent was given" in told


@pytest.mark.parametrize("keep_dates", [False, True])
def test_nothing_that_is_written_names_a_person(four, tmp_path, keep_dates):
    out = tmp_path / "out"
    contours = [(np.array([[0, 24, -40], [-8, 24, -40], [-8, 30, -40]]) + 0.0)]
    annotation = structure_set([("GTVp", contours)], frame=f"1.9.{FIRST}")
    annotation.PatientID, annotation.StudyDate = "MRN-1", FIRST
    save(annotation, four / "rt.dcm")

    result_of(import_dicom(four, out, accept=True, keep_dates=keep_dates))

    secrets = ["MRN-1", "Name^Of", PATIENT, "19500101", "1.2.3", "tse", str(tmp_path)]
    days = [FIRST, LAST, "2024-01-05", "2024-03-20"]
    for path in out.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            if path.name.endswith(".nii.gz"):
                content = gzip.decompress(content)
            for secret in secrets + ([] if keep_dates else days):
                assert secret.encode() not in content, (path.name, secret)
    table = (out / "cohort.csv").read_text()
    assert ("2024-03-20" in table) == keep_dates
    assert ("days_to_post" in table) != keep_dates


def test_the_cohort_holds_the_voxels_where_the_slices_say(four, tmp_path):
    out = tmp_path / "out"
    result = result_of(import_dicom(four, out, accept=True))

    (case,) = read_cohort(out / "cohort.csv").cases
    assert result["cohort"] == str(out / "cohort.csv")
    assert sorted(case.volumes) == ["t1_post", "t1_pre", "t2_post", "t2_pre"]
    assert case.extra["contrast"] == "yes"
    assert case.extra["days_to_post"] == "75"
    source = read_volume(four / "s01")
    written = read_volume(case.volumes["t1_pre"])
    np.testing.assert_array_equal(written.array, source.array)
    np.testing.assert_allclose(written.affine, source.affine, atol=1e-4)


def test_the_proposal_and_the_cohort_write_a_number_alike(hospital, tmp_path):
    source, add = hospital
    add(**T1, **AGENT, MagneticFieldStrength=3.0)
    out = tmp_path / "out"

    result_of(import_dicom(source, out, accept=True))

    (case,) = read_cohort(out / "cohort.csv").cases
    assert case.extra["field_tesla_t1_pre"] == proposal(out)[0]["field_tesla"] == "3"


def test_contours_become_masks_of_the_volumes_in_their_frame(four, tmp_path):
    corner = np.array([-11.0, 23.0, -40.0])
    contours = [
        corner + np.array([(0.5, 0.5, z), (3.1, 0.5, z), (3.1, 2.1, z), (0.5, 2.1, z)])
        for z in (3.0, 6.0, 9.0)
    ]
    annotation = structure_set([("GTVp", contours)], frame=f"1.9.{LAST}")
    annotation.PatientID, annotation.StudyDate = "MRN-1", LAST
    save(annotation, four / "rt.dcm")
    out = tmp_path / "out"

    result = result_of(import_dicom(four, out, accept=True))

    assert result["failed"] == []
    (case,) = read_cohort(out / "cohort.csv").cases
    assert sorted(case.masks) == ["t1_post", "t2_post"]
    mask = read_volume(case.masks["t1_post"])
    volume = read_volume(case.volumes["t1_post"])
    assert mask.same_as(volume)
    # Columns at 0.8, 1.6, 2.4 mm, rows at 0.6, 1.2, 1.8 mm, three slices.
    assert mask.array.sum() == 3 * 3 * 3


def test_two_echoes_in_one_file_are_two_rows_and_two_volumes(tmp_path):
    echoes = {"MREchoSequence.EffectiveEchoTime": (12.0, 90.0)}
    path = save(enhanced(voxels(SLICES), parts=echoes), tmp_path / "in" / "mf.dcm")
    out = tmp_path / "out"

    result_of(import_dicom(path.parent, out))

    rows = proposal(out)
    assert [(r["echo_ms"], r["slices"]) for r in rows] == [("12", "12"), ("90", "12")]

    def change(rows):
        rows[0]["role"], rows[1]["role"] = "t1_pre", "t2_pre"

    edit(out, change)
    result = result_of(import_dicom(path.parent, out, proposal=out / "proposal.csv"))

    (case,) = read_cohort(out / "cohort.csv").cases
    assert result["failed"] == []
    for role, lowest in (("t1_pre", 0), ("t2_pre", 500)):
        volume = read_volume(case.volumes[role])
        first = np.linalg.inv(volume.affine) @ [11, -23, -40, 1]  # RAS of voxel 0, 0, 0
        assert volume.shape == SLICES
        assert volume.array[tuple(np.rint(first[:3]).astype(int))] == lowest
        assert sorted(volume.array.ravel() - lowest) == [*range(np.prod(SLICES))]


def test_an_edited_proposal_decides(four, tmp_path):
    out = tmp_path / "out"
    result_of(import_dicom(four, out))

    def change(rows):
        for row in rows:
            row["case_id"] = "HN-7"
            if row["role"] == "t2_post":
                row["role"] = ""

    edit(out, change)
    result_of(import_dicom(four, out, proposal=out / "proposal.csv"))

    (case,) = read_cohort(out / "cohort.csv").cases
    assert case.case_id == "HN-7"
    assert sorted(case.volumes) == ["t1_post", "t1_pre", "t2_pre"]


def test_a_second_run_keeps_what_is_finished_and_redoes_what_changed(four, tmp_path):
    out = tmp_path / "out"
    result_of(import_dicom(four, out, accept=True))
    before = {p.name: p.stat().st_mtime_ns for p in (out / "P001").glob("*.nii.gz")}

    def swap(rows):
        names = {"t1_pre": "t1_post", "t1_post": "t1_pre"}
        for row in rows:
            row["role"] = names.get(row["role"], row["role"])

    edit(out, swap)
    again = import_dicom(four, out, proposal=out / "proposal.csv", overwrite=True)
    result_of(again)

    after = {p.name: p.stat().st_mtime_ns for p in (out / "P001").glob("*.nii.gz")}
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"t1_pre.nii.gz", "t1_post.nii.gz"}
    written = read_volume(out / "P001" / "t1_pre.nii.gz")
    np.testing.assert_array_equal(written.array, read_volume(four / "s03").array)


def test_a_second_run_redoes_what_was_exported_again_or_damaged(four, tmp_path):
    out = tmp_path / "out"
    result_of(import_dicom(four, out, accept=True))
    cut = out / "P001" / "t2_pre.nii.gz"
    cut.write_bytes(cut.read_bytes()[:-50])
    for path in (four / "s01").glob("*.dcm"):
        dataset = dcmread(path)
        dataset.set_pixel_data(dataset.pixel_array * 2, "MONOCHROME2", 16)
        save(dataset, path)

    again = import_dicom(four, out, proposal=out / "proposal.csv", overwrite=True)
    result_of(again)

    for role, source in (("t1_pre", "s01"), ("t2_pre", "s02")):
        written = read_volume(out / "P001" / f"{role}.nii.gz")
        np.testing.assert_array_equal(written.array, read_volume(four / source).array)


def test_a_stopped_run_keeps_whole_files_and_goes_on(hospital, tmp_path):
    source, add = hospital
    for patient in ("MRN-1", "MRN-2"):
        add(patient, **T1, **AGENT)
    out = tmp_path / "out"

    job = import_dicom(source, out, accept=True)
    for message in job:
        if message.text == "P002":
            job.close()
    assert (out / "P001" / "t1_pre.nii.gz").exists()
    assert not (out / "cohort.csv").exists()
    result = result_of(import_dicom(source, out, proposal=out / "proposal.csv"))

    assert result["cases"] == 2
    assert len(read_cohort(out / "cohort.csv").cases) == 2


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("role", "t3", "'t3' is no role"),
        ("role", "mask_t1_pre", "is no role of such a series"),
        ("case_id", "bad id", "no case id"),
        ("fingerprint", "0", "propose anew"),
    ],
)
def test_a_wrong_edit_is_told_by_row(four, tmp_path, column, value, says):
    out = tmp_path / "out"
    result_of(import_dicom(four, out))
    edit(out, lambda rows: rows[0].update({column: value}))
    with pytest.raises(CohortError, match=f"row 2.*{says}"):
        result_of(import_dicom(four, out, proposal=out / "proposal.csv"))


def test_two_series_of_one_role_are_refused(four, tmp_path):
    out = tmp_path / "out"
    result_of(import_dicom(four, out))
    edit(out, lambda rows: [row.update(role="t1_pre") for row in rows[:2]])
    with pytest.raises(CohortError, match="rows 2 and 3 both are t1_pre"):
        result_of(import_dicom(four, out, proposal=out / "proposal.csv"))


def test_a_series_in_two_rows_is_refused(four, tmp_path):
    out = tmp_path / "out"
    result_of(import_dicom(four, out))
    edit(out, lambda rows: rows.append(rows[0] | {"case_id": "HN-7"}))
    with pytest.raises(CohortError, match="rows 2 and 6 are one series"):
        result_of(import_dicom(four, out, proposal=out / "proposal.csv"))


def test_an_edited_proposal_is_not_overwritten(four, tmp_path):
    out = tmp_path / "out"
    result_of(import_dicom(four, out))
    with pytest.raises(CohortError, match=r"proposal\.csv is there already"):
        result_of(import_dicom(four, out))


def test_a_series_that_cannot_be_read_fails_alone(four, tmp_path):
    out = tmp_path / "out"
    result_of(import_dicom(four, out))
    broken = next((four / "s02").glob("*.dcm"))
    broken.write_bytes(broken.read_bytes()[:-20])

    result = result_of(import_dicom(four, out, proposal=out / "proposal.csv"))

    assert [(f["case_id"], f["column"]) for f in result["failed"]] == [
        ("P001", "t2_pre")
    ]
    (case,) = read_cohort(out / "cohort.csv").cases
    assert sorted(case.volumes) == ["t1_post", "t1_pre", "t2_post"]


def test_a_volume_that_cannot_be_written_is_told_without_its_folder(four, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "P001").touch()

    result = result_of(import_dicom(four, out, accept=True))

    assert len(result["failed"]) == 4
    for fault in result["failed"]:
        assert "Not a directory" in fault["message"]
        assert str(tmp_path) not in fault["message"]


def test_a_real_series_and_its_contours_become_a_case(real_data, tmp_path):
    out = tmp_path / "out"

    result = result_of(import_dicom(real_data / "dicom", out, accept=True))

    (case,) = read_cohort(out / "cohort.csv").cases
    assert result["failed"] == []
    assert list(case.volumes) == list(case.masks) == ["t1_pre"]
    record = json.loads((out / "P001" / "t1_pre.json").read_text())
    assert (record["plane"], record["field_tesla"]) == ("axial", 1.5)
    mask, truth = (
        read_volume(path)
        for path in (
            case.masks["t1_pre"],
            real_data / "mri" / "vs001_T1c_2x_mask.nii.gz",
        )
    )
    volumes = [(v.array == 1).sum() * np.prod(v.spacing_mm) for v in (mask, truth)]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.05)
