"""Checklists say what a run knows, and leave the rest to the authors."""

import csv
import json
import re
from pathlib import Path

import pytest

from comparison_cases import made_up_run
from napari_harm3.config import write_toml
from napari_harm3.errors import ModelError
from napari_harm3.notices import MADE_UP
from napari_harm3.report.checklist_facts import facts, read_run
from napari_harm3.report.checklist_items import CLAIM, TRIPOD_AI
from napari_harm3.report.checklists import AUTHOR, answers, write_checklists
from napari_harm3.training.config import RunConfig
from napari_harm3.training.metrics import cross_validated


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A finished run folder, without its weights."""
    folder = tmp_path_factory.mktemp("run")
    held_out = made_up_run(1.5)
    # A column of the table decided the folds, not what was asked for.
    write_toml(folder / "run.toml", RunConfig(size="small", folds=9, seed=11))
    metrics = cross_validated(held_out.folds, draws=20)
    metrics["left_out"] = {"C900": "has no label", "C901": "lacks t1_pre"}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "environment.json").write_text(json.dumps({"torch": "9.9.9"}))
    lines = [
        (name, fold, label, score, 0.4)
        for name, fold, label, score in zip(
            held_out.case_id,
            held_out.fold,
            held_out.label,
            held_out.score,
            strict=True,
        )
    ]
    header = ("case_id", "fold", "pcr", "probability", "threshold")
    for name, width in (("predictions.csv", 5), ("folds.csv", 2)):
        with (folder / name).open("w", newline="") as stream:
            csv.writer(stream).writerows([header[:width], *(x[:width] for x in lines)])
    (folder / "fold-0").mkdir()
    about = {
        "trained_on": "a cohort of numbers",
        "made_up": True,
        "untrained_encoder": False,
        "inner_cases": 12,
        "temperature": 1.25,
        "auc_without_mri": 0.61,
        "auc_without_wsi": 0.7,
    }
    (folder / "fold-0" / "best.json").write_text(json.dumps(about))
    return folder


def test_items_are_numbered_as_the_checklists_are():
    assert [item.number for item in CLAIM] == [str(n) for n in range(1, 45)]
    main = [int(re.match(r"\d+", item.number).group()) for item in TRIPOD_AI]
    assert sorted(set(main)) == list(range(1, 28))
    assert main == sorted(main)
    assert len({item.number for item in TRIPOD_AI}) == len(TRIPOD_AI) == 52


def test_every_fact_that_an_item_asks_for_is_known_of_a_run(run):
    known = facts(read_run(run))

    asked = {item.fact for item in (*CLAIM, *TRIPOD_AI) if item.fact}
    assert asked == set(known)
    assert all(known.values())


def test_answers_come_from_the_run(run):
    known = facts(read_run(run))

    assert "a cohort of numbers (made-up patients, phantom)" in known["cohort"]
    assert "1 has no label, 1 lacks t1_pre" in known["left_out"]
    assert "62 cases in the table, 2 left out, 60 measured, 33.3%" in known["flow"]
    assert "seed 11" in known["splits"]
    assert known["splits"].startswith("3 folds by patient, 1 repeat(s)")
    assert "3-fold" in known["internal"]
    assert "torch 9.9.9" in known["versions"]
    assert "1.250" in known["recalibration"]
    assert "without MRI 0.610" in known["robustness"]
    metrics = json.loads((run / "metrics.json").read_text())
    assert f"AUC {metrics['auc']['mean']:.3f}" in known["performance"]
    assert "calibration slope" in known["performance"]


def test_what_only_people_know_is_left_to_them(run):
    found = {a.item.number: a.text for a in answers(CLAIM, facts(read_run(run)))}

    for number in ("2", "5", "11", "16", "18", "34", "44"):
        assert found[number] == AUTHOR


def test_both_checklists_are_written_as_text_and_as_a_page(run, tmp_path):
    files = write_checklists(run, tmp_path, also={"external": "On a second cohort."})

    assert {path.name for path in files.values()} == {
        "claim-2024.md",
        "claim-2024.html",
        "tripod-ai-2024.md",
        "tripod-ai-2024.html",
    }
    page = files["claim-2024.html"].read_text()
    assert page.count("<tr>") == 45
    assert MADE_UP in page
    assert "On a second cohort." in page
    assert "<code>harm3 explain</code>" in page
    text = files["tripod-ai-2024.md"].read_text()
    assert "| **author** |" in text
    assert MADE_UP in text
    assert sum(line.startswith("| ") for line in text.splitlines()) == 54


def test_a_run_that_was_not_trained_to_its_end_has_no_checklist(tmp_path):
    with pytest.raises(ModelError, match="train it to its end"):
        write_checklists(tmp_path, tmp_path)
