"""A table is read whole, and every fault of it is told at once."""

import pytest

from napari_harm3.cohort.table import (
    external_files,
    missing_files,
    read_cohort,
    scan_cohort,
    table_faults,
    write_cohort,
)
from napari_harm3.errors import CohortError


def table(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "cohort.csv"
    path.write_bytes(text.encode(encoding))
    return path


def faults(path, **options):
    return {(f.row, f.column) for f in scan_cohort(path, **options)[1]}


def test_a_case_has_its_files_label_and_other_columns(tmp_path):
    path = table(
        tmp_path,
        "case_id,t1_pre,mask_t1_pre,wsi,mpp,pcr,hospital\n"
        "A-1,a/t1.nii.gz,a/m.nii.gz,s1.svs;s2.svs,0.25;0.5,1,North\n",
    )

    case = read_cohort(path).case("A-1")

    assert case.volumes == {"t1_pre": tmp_path / "a/t1.nii.gz"}
    assert case.masks == {"t1_pre": tmp_path / "a/m.nii.gz"}
    assert [slide.name for slide in case.slides] == ["s1.svs", "s2.svs"]
    assert case.slide_mpp == (0.25, 0.5)
    assert case.pcr == 1
    assert case.extra == {"hospital": "North"}
    assert case.missing == ("t1_post", "t2_pre", "t2_post")


def test_a_blank_label_is_not_known_and_a_byte_order_mark_is_no_name(tmp_path):
    path = table(tmp_path, "\ufeffcase_id,pcr\nA,\nB,0\n")
    assert [case.pcr for case in read_cohort(path).cases] == [None, 0]


def test_every_fault_is_told_at_once_by_row_and_column(tmp_path):
    path = table(
        tmp_path,
        "case_id,t1_pre,mask_t2_pre,pcr,fold,split,mpp,wsi,wsi_date,treatment_start\n"
        "bad id,,,,,,,,,\n"
        "A,,m.nii.gz,2,x,later,fast,s.svs,2024-02-30,\n"
        "A,,,,,,,,2024-05-02,2024-05-01\n"
        "B,../out.nii.gz,,,,,,,,\n"
        "C,,\n",
    )

    assert faults(path) == {
        (2, "case_id"),
        (3, "mask_t2_pre"),
        (3, "pcr"),
        (3, "fold"),
        (3, "split"),
        (3, "mpp"),
        (3, "wsi_date"),
        (4, "case_id"),
        (4, "wsi_date"),
        (5, "t1_pre"),
        (6, None),
    }


def test_a_patient_in_both_splits_is_a_fault(tmp_path):
    path = table(
        tmp_path,
        "case_id,patient_id,split,pcr\n"
        "A,P,train,\n"
        "B,P,test,0\n"
        "C,Q,,1\n"
        "D,Q,test,\n"
        "E,R,,\n"  # only predicted
        "F,R,test,1\n"
        "G,,train,1\n"
        "H,,test,1\n",
    )

    found = scan_cohort(path)[1]

    assert [(f.row, f.column, f.message[:5]) for f in found] == [
        (3, "split", "Row 2"),
        (5, "split", "Row 4"),
    ]


def test_a_fold_of_thousands_of_digits_is_a_fault(tmp_path):
    path = table(tmp_path, f"case_id,fold\nA,{'1' * 5000}\nB,007\n")
    assert faults(path) == {(2, "fold")}


def test_a_link_that_leads_to_itself_is_a_file_that_is_not_there(tmp_path):
    (tmp_path / "round.nii.gz").symlink_to("round.nii.gz")
    path = table(tmp_path, "case_id,t1_pre\nA,round.nii.gz\n")

    (fault,) = missing_files(read_cohort(path))

    assert (fault.row, fault.column) == (2, "t1_pre")
    assert "a link that leads nowhere" in fault.message
    assert external_files(path) == []


def test_a_link_out_of_the_folder_is_outside_unless_allowed(tmp_path):
    outside = tmp_path / "elsewhere.nii.gz"
    outside.touch()
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "inside.nii.gz").symlink_to(outside)
    path = table(folder, "case_id,t1_pre\nA,inside.nii.gz\n")

    assert faults(path) == {(2, "t1_pre")}
    assert faults(path, allow_external=True) == set()


def test_a_link_out_of_a_folder_of_slices_is_outside_unless_allowed(tmp_path):
    outside = tmp_path / "DOE_JANE_001.dcm"
    outside.touch()
    series = tmp_path / "study" / "t1" / "deeper"
    series.mkdir(parents=True)
    (series / "001.dcm").symlink_to(outside)
    (series / "002.dcm").touch()
    (series / "003.dcm").symlink_to("002.dcm")
    path = table(tmp_path / "study", "case_id,t1_pre\nA,t1\n")

    (fault,) = scan_cohort(path)[1]

    assert (fault.row, fault.column) == (2, "t1_pre")
    assert "DOE" not in fault.message
    assert external_files(path) == [tmp_path / "study" / "t1"]
    assert faults(path, allow_external=True) == set()
    (series / "001.dcm").unlink()
    assert faults(path) == set()


def test_a_column_that_may_be_misspelt_is_a_warning(tmp_path):
    header = "case_id,t1_pr,PCR,patientid,center,days_to_post,plane_t1_pre,t2_pre"
    path = table(tmp_path, f"{header}\nA,,,,,,,\n")

    warned = {w.column: w.message for w in read_cohort(path).warnings}

    assert sorted(warned) == ["PCR", "patientid", "t1_pr"]
    assert "call it t1_pre" in warned["t1_pr"]


def test_reversed_dates_and_missing_contrast_are_warnings(tmp_path):
    path = table(
        tmp_path,
        "case_id,date_pre,date_post,contrast\nA,2024-05-02,2024-05-02,no\n",
    )
    warned = {(w.row, w.column) for w in read_cohort(path).warnings}
    assert warned == {(2, "date_post"), (2, "contrast")}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"name,age\nA,3\n", "no column 'case_id'"),
        (b"case_id\n\xff\xfe\n", "not UTF-8"),
        (b'case_id,pcr\n"A,1\n', "not a CSV"),
    ],
)
def test_what_is_no_table_is_refused_in_a_sentence(tmp_path, content, says):
    path = tmp_path / "cohort.csv"
    path.write_bytes(content)
    with pytest.raises(CohortError, match=says):
        read_cohort(path)


def test_semicolons_may_part_the_cells(tmp_path):
    path = table(tmp_path, 'case_id;wsi;pcr\nA;"a.svs;b.svs";1\n')

    (case,) = read_cohort(path).cases

    assert [slide.name for slide in case.slides] == ["a.svs", "b.svs"]
    assert case.pcr == 1


def test_where_semicolons_part_the_cells_a_comma_is_a_decimal_point(tmp_path):
    path = table(tmp_path, "case_id;wsi;mpp;age;note\nA;a.svs;0,25; 60,5;1,2,3\n")

    (case,) = read_cohort(path).cases

    assert case.slide_mpp == (0.25,)
    assert case.extra == {"age": "60.5", "note": "1,2,3"}


def test_a_tab_parts_the_cells_whatever_stands_between(tmp_path):
    path = table(tmp_path, "case_id\tpcr\tstage (T, N, M)\nA\t1\t2, 0, 0\n")

    (case,) = read_cohort(path).cases

    assert case.pcr == 1
    assert case.extra == {"stage (T, N, M)": "2, 0, 0"}


def test_a_deeply_nested_file_beside_the_table_is_refused(tmp_path):
    (tmp_path / "cohort.json").write_text('{"name": ' + "[" * 100_000)
    with pytest.raises(CohortError, match=r"cohort\.json is not JSON"):
        read_cohort(table(tmp_path, "case_id\nA\n"))


@pytest.mark.parametrize("name", ["cohort.csv", "cohort.json"])
def test_a_file_that_cannot_be_read_is_named_without_its_folder(tmp_path, name):
    path = tmp_path / "cohort.csv"
    path.write_text("case_id\nA\n")
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).mkdir()

    with pytest.raises(CohortError, match=rf"^{name}: .*give a file") as told:
        read_cohort(path)

    assert str(tmp_path) not in str(told.value)


def test_an_empty_table_is_a_fault(tmp_path):
    assert faults(table(tmp_path, "case_id,pcr\n")) == {(None, None)}


def test_a_wrong_case_id_is_answered_with_a_near_one(tmp_path):
    cohort = read_cohort(table(tmp_path, "case_id\nHN-0001\n"))
    with pytest.raises(CohortError, match="did you mean HN-0001"):
        cohort.case("HN-001")


def test_files_that_are_not_there_are_named(tmp_path):
    path = table(tmp_path, "case_id,t1_pre,wsi\nA,t.nii.gz,s.svs\n")
    found = missing_files(read_cohort(path))
    assert {(f.column, f.message.split()[0]) for f in found} == {
        ("t1_pre", "t.nii.gz"),
        ("wsi", "s.svs"),
    }


def test_a_name_too_long_for_a_file_is_told_by_row_and_column(tmp_path):
    path = table(tmp_path, f"case_id,t1_pre\nA,{'x' * 300}.nii.gz\n")

    (fault,) = missing_files(read_cohort(path))

    assert (fault.row, fault.column) == (2, "t1_pre")
    assert "too long" in fault.message
    assert str(tmp_path) not in fault.message


def test_a_case_that_names_no_volume_and_no_slide_is_told(tmp_path):
    (tmp_path / "s.svs").touch()
    path = table(tmp_path, "case_id,t1_pre,wsi\nA,,s.svs\nB,,\n")

    (fault,) = missing_files(read_cohort(path))

    assert (fault.row, fault.column) == (3, None)


def test_what_is_written_is_read_again_with_its_origin(tmp_path):
    path = tmp_path / "cohort.csv"
    write_cohort(path, [{"case_id": "A", "note": 'a "b", c'}], name="x", made_up=True)

    cohort = read_cohort(path)

    assert cohort.made_up
    assert cohort.name == "x"
    assert cohort.cases[0].extra["note"] == 'a "b", c'


def test_every_fault_of_a_table_is_a_sentence(tmp_path):
    path = tmp_path / "cohort.csv"
    path.write_text("case_id,pcr\nA,maybe\nA,1\n")

    assert table_faults(path) == [
        "cohort.csv, row 2, column pcr: 'maybe' is not 0, 1 or blank.",
        "cohort.csv, row 3, column case_id: 'A' stands in row 2 too.",
    ]
    path.write_text("patient\nA\n")
    assert table_faults(path) == []
