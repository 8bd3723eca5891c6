"""``harm3 check``: faults for people, one line each."""


def test_a_line_break_in_a_cell_does_not_break_its_fault(harm3, tmp_path):
    table = tmp_path / "cohort.csv"
    table.write_text('case_id,"f\nold",wsi,pcr\nA,,s.svs,"1\n2"\n')

    code, said, err = harm3("check", table)

    assert code == 1
    lines = [line for line in err.splitlines() if line.startswith("row 2")]
    assert len(lines) == len(said["faults"]) == 2
    assert "row 2, pcr: '1 2' is not 0, 1 or blank." in lines
