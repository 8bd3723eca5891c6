"""A cohort that is explained again keeps what is whole and makes the rest anew."""

import json
from types import SimpleNamespace

import pytest

from napari_harm3.jobs.explanation_cohort import explain_cohort
from napari_harm3.jobs.explanation_parts import CHECKS, Recipes, checked
from napari_harm3.jobs.progress import result_of


@pytest.mark.slow
def test_damaged_notes_of_a_case_are_made_anew(run, prepared_cohort, tmp_path):
    table = prepared_cohort.with_name("one.csv")
    lines = prepared_cohort.read_text().splitlines(keepends=True)
    table.write_text("".join(lines[:2]))
    work, out = prepared_cohort.parent / ".harm3", tmp_path / "maps"

    def explained():
        job = explain_cohort(run, cohort=table, out=out, work=work, device="cpu")
        return result_of(job)

    first = explained()
    measured, about = (
        out / "HN-0001" / name for name in ("measured.json", "explanation.json")
    )
    whole = json.loads(about.read_text())
    measured.write_text("[]")
    about.write_text(json.dumps(whole | {"files": 5}))

    again = explained()

    assert again["failed"] == first["failed"] == []
    assert isinstance(json.loads(measured.read_text()), dict)
    assert json.loads(about.read_text()) == whole
    summary = (out / "summary.json").read_text()
    assert json.loads(summary)["page"] == "agreement.html"
    assert str(tmp_path) not in summary

    cut = out / "HN-0001" / "t1_pre_cam.nii.gz"
    whole_map = cut.read_bytes()
    cut.write_bytes(whole_map[:1000])
    explained()
    assert cut.read_bytes() == whole_map


@pytest.mark.parametrize("content", ["[]", "[" * 100_000, '{"key": "of others"}', ""])
def test_trials_that_are_no_such_thing_are_as_if_none_were_kept(tmp_path, content):
    (tmp_path / CHECKS).write_text(content)
    nothing = SimpleNamespace(
        request=SimpleNamespace(checks=()), inputs=SimpleNamespace(batch=None)
    )
    made_of = Recipes(networks="n", maps="m", whole="w")

    with pytest.raises(StopIteration) as end:
        next(checked(nothing, tmp_path, made_of))

    assert end.value.value is None
