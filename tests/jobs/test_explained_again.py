"""A cohort that is explained again keeps what is whole and makes the rest anew."""

import csv
import json
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest

from napari_harm3.artifacts import read_record
from napari_harm3.cohort.table import read_cohort
from napari_harm3.data.prepare import prepared_case
from napari_harm3.explain import checks
from napari_harm3.explain.checks import CheckStep
from napari_harm3.explain.config import ExplainRequest
from napari_harm3.inference.predictor import Predictor
from napari_harm3.jobs.cohort import work_folder
from napari_harm3.jobs.explanation_cohort import explain_cohort
from napari_harm3.jobs.explanation_parts import CHECKS, Recipes, checked, recipes
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

    # Whose case it is may be told later: that changes no map.
    kept = measured.stat().st_mtime_ns
    table.write_text(f"{lines[0].strip()},patient_id\n{lines[1].strip()},P-7\n")
    explained()
    assert measured.stat().st_mtime_ns == kept
    with (out / "agreement.csv").open(newline="") as stream:
        assert {row["patient"] for row in csv.DictReader(stream)} == {"P-7"}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        *((text, "made") for text in ("[]", "[" * 100_000, "")),
        ('{"key": "of others", "randomisation": "kept"}', "made"),
        ('{"key": "m", "randomisation": "kept"}', "kept"),
    ],
)
def test_trials_that_are_no_such_thing_are_as_if_none_were_kept(
    tmp_path, monkeypatch, content, found
):
    made = CheckStep(step=1, of=1, found="made")
    monkeypatch.setattr(checks, "randomisation", lambda *_: iter([made]))
    (tmp_path / CHECKS).write_text(content)
    asked = SimpleNamespace(
        request=ExplainRequest(checks=("randomisation",)),
        inputs=SimpleNamespace(batch=None),
        networks=list,
    )
    made_of = Recipes(networks="n", maps="m", whole="w")

    with pytest.raises(StopIteration) as end:
        next(checked(asked, tmp_path, made_of))

    assert end.value.value == {"key": "m", "randomisation": found}
    assert read_record(tmp_path / CHECKS) == end.value.value


def test_what_the_table_says_of_patches_and_patient_is_part_of_an_explanation(
    run, prepared_cohort, tmp_path, monkeypatch
):
    """The slide's file stays the same where its resolution is put right."""
    predictor = Predictor(run, "cpu")
    work = work_folder(prepared_cohort, None)
    case = read_cohort(prepared_cohort).cases[0]
    prepared = prepared_case(case, predictor.inputs, work)
    bag = tmp_path / prepared.bags[0].name
    bag.write_bytes(prepared.bags[0].read_bytes() + b"laid otherwise")

    def keys(one):
        return {*asdict(recipes(predictor, one, ExplainRequest())).values()}

    before = keys(prepared)
    assert keys(replace(prepared)) == before
    assert not keys(replace(prepared, bags=(bag,))) & before
    monkeypatch.setattr(Predictor, "clinical_of", lambda *_: {"age": "60"})
    assert not keys(prepared) & before
