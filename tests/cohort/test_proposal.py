"""What a proposal leaves to a person: split series, rival annotations, broken ones."""

import csv

import numpy as np
import pytest
from hospital_folder import (
    AGENT,
    FIRST,
    LAST,
    T1,
    T2,
    edit,
    proposal,
    roles,
    warnings_of,
)
from pydicom import dcmread

from dicom_files import save, structure_set
from napari_harm3.cohort.table import read_cohort
from napari_harm3.errors import CohortError
from napari_harm3.jobs.importing import import_dicom
from napari_harm3.jobs.progress import result_of

PIECES = {
    "frame": {"FrameOfReferenceUID": "9.9"},
    "echo": {"EchoTime": 10.02},
    "type": {"ImageType": ["DERIVED", "PRIMARY", "M"]},
}


def alter(folder, chosen, **header):
    """Change the slices of a series whose instance number is chosen."""
    for path in folder.glob("*.dcm"):
        dataset = dcmread(path)
        if chosen(dataset.InstanceNumber):
            for keyword, value in header.items():
                setattr(dataset, keyword, value)
            save(dataset, path)


def contours(name):
    """Return a structure set of one square on three slices of the first study."""
    corner = np.array([-11.0, 23.0, -40.0])
    square = [
        corner + np.array([(0.5, 0.5, z), (3.1, 0.5, z), (3.1, 2.1, z), (0.5, 2.1, z)])
        for z in (3.0, 6.0, 9.0)
    ]
    annotation = structure_set([(name, square)], frame=f"1.9.{FIRST}")
    annotation.PatientID, annotation.StudyDate = "MRN-1", FIRST
    return annotation


@pytest.mark.parametrize("differ", PIECES.values(), ids=PIECES)
@pytest.mark.parametrize(
    "chosen",
    [lambda n: n > 12, lambda n: n > 20, lambda n: n % 2],
    ids=["halves", "a few", "every other"],
)
def test_no_piece_of_a_split_series_is_chosen(hospital, tmp_path, differ, chosen):
    source, add = hospital
    add(shape=(7, 5, 24), **T1, **AGENT)
    alter(source / "s01", chosen, **differ)
    add(day=LAST, **T1, **AGENT)

    told = warnings_of(import_dicom(source, tmp_path / "out"))

    assert list(roles(tmp_path / "out")) == ["t1_post"]
    whys = {r["why"] for r in proposal(tmp_path / "out") if not r["role"]}
    assert len(whys) == 1
    assert "a piece of a split series" in whys.pop()
    assert any("P001: series 1, 2 left out: a piece of a split" in one for one in told)


def test_parts_that_lie_at_the_same_places_are_volumes(hospital, tmp_path):
    source, add = hospital
    add(SeriesInstanceUID="1.2.7", **(T2 | {"EchoTime": 45.0}))
    add(SeriesInstanceUID="1.2.7", **T2)
    add(SeriesInstanceUID="1.2.8", **T1, **AGENT, TemporalPositionIdentifier=1)
    add(SeriesInstanceUID="1.2.8", **T1, **AGENT, TemporalPositionIdentifier=2)

    result_of(import_dicom(source, tmp_path / "out"))

    found = roles(tmp_path / "out")
    assert sorted(found) == ["t1_pre", "t2_pre"]
    assert all("the best of 2" in row["why"] for row in found.values())
    assert found["t2_pre"]["echo_ms"] == "90"
    assert found["t1_pre"]["why"].endswith("time 2 of 2")  # the agent has come


def test_a_part_within_another_does_not_split_it(hospital, tmp_path):
    source, add = hospital
    add(SeriesInstanceUID="1.2.7", **T2)
    add(SeriesInstanceUID="1.2.7", shape=(7, 5, 9), **T2, EchoNumbers=2)

    result_of(import_dicom(source, tmp_path / "out"))

    rows = proposal(tmp_path / "out")
    assert {row["slices"]: row["role"] for row in rows} == {"12": "t2_pre", "9": ""}


def test_a_broken_first_study_does_not_make_the_last_one_the_first(hospital, tmp_path):
    source, add = hospital
    add(**T2)
    for path in (source / "s01").glob("*.dcm"):
        if dcmread(path).InstanceNumber == 5:
            path.unlink()
    add(day=LAST, **T2)

    result_of(import_dicom(source, tmp_path / "out"))

    assert list(roles(tmp_path / "out")) == ["t2_post"]


def test_of_two_annotations_in_one_frame_none_is_lost_unsaid(hospital, tmp_path):
    source, add = hospital
    add(**T1, **AGENT)
    save(contours("GTVp"), source / "a.dcm")
    save(contours("GTVn"), source / "b.dcm")
    out = tmp_path / "out"

    told = warnings_of(import_dicom(source, out, accept=True))

    (case,) = read_cohort(out / "cohort.csv").cases
    assert (list(case.volumes), list(case.masks)) == (["t1_pre"], [])
    assert any("left out: 2 annotations share its frame" in one for one in told)

    def choose(rows):
        row = next(row for row in rows if row["modality"] == "RTSTRUCT")
        row["role"] = "mask_t1_pre"

    edit(out, choose)
    again = {"proposal": out / "proposal.csv", "overwrite": True}
    result_of(import_dicom(source, out, **again))
    (case,) = read_cohort(out / "cohort.csv").cases
    assert list(case.masks) == ["t1_pre"]


@pytest.mark.parametrize("name", ["DOE_JANE_19500101_{}.dcm", "Doe Jane {}", "{}"])
def test_a_fault_names_files_on_the_screen_and_positions_alone_in_the_proposal(
    hospital, tmp_path, name
):
    source, add = hospital
    add(**T1, **AGENT)
    for path in (source / "s01").glob("*.dcm"):
        number = dcmread(path).InstanceNumber
        path.rename(path.with_name(name.format(number + 20)))
    (source / "s01" / name.format(25)).unlink()

    told = warnings_of(import_dicom(source, tmp_path / "out"))

    (row,) = proposal(tmp_path / "out")
    assert row["why"] == (
        "the series misses slices: most lie 3.00 mm apart, but 6.00 mm from a slice at "
        "-31.00 mm to a slice at -25.00 mm. Export the whole series again."
    )
    (fault,) = (one for one in told if "series 1 left out: the series misses" in one)
    assert f"from {name.format(24)} at -31.00 mm to {name.format(26)} at" in fault


def test_a_mask_without_its_volume_is_told_by_row(hospital, tmp_path):
    source, add = hospital
    add(**T1, **AGENT)
    save(contours("GTVp"), source / "rt.dcm")
    out = tmp_path / "out"
    result_of(import_dicom(source, out))
    edit(out, lambda rows: [r.update(role="") for r in rows if r["modality"] == "MR"])

    with pytest.raises(CohortError, match=r"row 2: mask_t1_pre of P001 has no volume"):
        result_of(import_dicom(source, out, proposal=out / "proposal.csv"))

    assert not (out / "cohort.csv").exists()


def test_a_case_of_which_everything_failed_has_no_row(hospital, tmp_path):
    source, add = hospital
    add("MRN-1", **T1, **AGENT)
    add("MRN-2", **T1, **AGENT)
    broken = next((source / "s02").glob("*.dcm"))
    broken.write_bytes(broken.read_bytes()[:-20])
    out = tmp_path / "out"

    result = result_of(import_dicom(source, out, accept=True))

    assert [fault["case_id"] for fault in result["failed"]] == ["P002"]
    assert [one.case_id for one in read_cohort(out / "cohort.csv").cases] == ["P001"]


def test_where_everything_failed_no_table_is_in_the_way(four, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "P001").touch()

    result = result_of(import_dicom(four, out, accept=True))

    assert (result["cohort"], result["cases"]) == (None, 0)
    assert len(result["failed"]) == 4
    assert not (out / "cohort.csv").exists()
    (out / "P001").unlink()
    again = result_of(import_dicom(four, out, proposal=out / "proposal.csv"))
    assert again["cases"] == 1


def test_a_file_that_is_no_slice_is_named_on_the_screen_alone(hospital, tmp_path):
    source, add = hospital
    add(**T1, **AGENT)
    (source / "s01" / "DOE_JOHN.dcm").write_bytes(b"a note")

    told = warnings_of(import_dicom(source, tmp_path / "out"))

    assert any("DOE_JOHN.dcm" in one for one in told)
    assert "DOE" not in (tmp_path / "out" / "proposal.csv").read_text()


def test_swapped_times_are_told(four, tmp_path):
    out = tmp_path / "out"
    result_of(import_dicom(four, out))

    def swap(rows):
        for row in rows:
            sequence, time = row["role"].split("_")
            row["role"] = f"{sequence}_{'pre' if time == 'post' else 'post'}"

    edit(out, swap)
    told = warnings_of(import_dicom(four, out, proposal=out / "proposal.csv"))

    assert any("P001" in one and "are they swapped?" in one for one in told)
    (warning,) = read_cohort(out / "cohort.csv").warnings
    assert (warning.row, warning.column) == (2, "days_to_post")


@pytest.mark.parametrize(("start", "delimiter"), [("", ";"), ("\ufeff", "\t")])
def test_a_proposal_may_be_saved_with_other_delimiters(
    four, tmp_path, start, delimiter
):
    out = tmp_path / "out"
    result_of(import_dicom(four, out))
    rows = proposal(out)
    with (out / "edited.csv").open("w", newline="") as stream:
        stream.write(start)
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)

    result = result_of(import_dicom(four, out, proposal=out / "edited.csv"))

    assert (result["cases"], result["failed"]) == (1, [])


def test_a_blank_row_of_a_proposal_counts(four, tmp_path):
    out = tmp_path / "out"
    result_of(import_dicom(four, out))
    edit(out, lambda rows: rows[1].update(role="t3"))
    path = out / "proposal.csv"
    path.write_text(path.read_text().replace("\n", "\n\n", 1))

    with pytest.raises(CohortError, match=r"row 4: 't3' is no role"):
        result_of(import_dicom(four, out, proposal=path))


def test_days_are_counted_across_the_patients_of_a_merged_case(hospital, tmp_path):
    source, add = hospital
    add("MRN-1", day=FIRST, **T1, **AGENT)
    add("MRN-2", day=LAST, **T1, **AGENT)
    out = tmp_path / "out"
    result_of(import_dicom(source, out))

    def merge(rows):
        for row, role in zip(rows, ("t1_pre", "t1_post"), strict=True):
            row.update(case_id="X", role=role)

    edit(out, merge)
    result_of(import_dicom(source, out, proposal=out / "proposal.csv"))

    (case,) = read_cohort(out / "cohort.csv").cases
    assert case.extra["days_to_post"] == "75"


def test_a_folder_without_images_is_refused(tmp_path):
    source = tmp_path / "export"
    source.mkdir()
    (source / "notes.txt").touch()

    with pytest.raises(CohortError, match="export holds no DICOM image"):
        result_of(import_dicom(source, tmp_path / "out"))

    assert not (tmp_path / "out").exists()
