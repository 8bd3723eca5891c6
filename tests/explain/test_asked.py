"""A case under explanation is read once."""

from types import SimpleNamespace

import pytest

from napari_harm3.cohort.table import read_cohort
from napari_harm3.data.prepare import prepared_case
from napari_harm3.explain import asked as asking
from napari_harm3.explain.config import ExplainRequest
from napari_harm3.inference import predictor as inference


def test_a_cases_files_become_tensors_once(
    run, prepared_cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, loaded = inference.Predictor.load(run, "cpu"), []
    case = read_cohort(prepared_cohort).cases[0]
    prepared = prepared_case(case, predictor.inputs, prepared_cohort.parent / ".harm3")
    load_item = inference.load_item
    monkeypatch.setattr(
        inference,
        "load_item",
        lambda *files, **choices: loaded.append(1) or load_item(*files, **choices),
    )
    monkeypatch.setattr(
        asking, "explain_case", lambda *_: SimpleNamespace(volumes={}, made_of=_)
    )

    asked = asking.asked_case(predictor, prepared, ExplainRequest())

    assert len(loaded) == 1
    assert asked.inputs in asked.explanation.made_of
