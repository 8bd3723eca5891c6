"""What comes of a model of made-up patients says so, picture or table."""

import csv

import numpy as np
import pytest

from bare_explanations import explained
from napari_harm3.explain.agreement import NO_EVIDENCE
from napari_harm3.explain.record import cohort_rows
from napari_harm3.explain.thresholds import SHARES
from napari_harm3.notices import RESEARCH_ONLY
from napari_harm3.report.check_figure import check_figure
from napari_harm3.report.cohort_agreement import (
    TABLES,
    cohort_figure,
    read_summary,
    write_cohort_agreement,
)

TRIAL = {"faithfulness": {"share": [0.0, 1.0], "not_applicable": "too few cells"}}


def words_of(figure):
    found = figure.findobj(lambda one: hasattr(one, "get_text"))
    return " ".join(text.get_text() for text in found)


def record(case, value, *, maps=("model", "centre"), silent=()):
    """A case in which the model's map lies at ``value`` and others at chance.

    Maps that are ``silent`` have no evidence in it.
    """
    curve = [value] * len(SHARES)
    maps = {name: value if name == "model" else 0.1 for name in maps}
    about = {"lesion_ml": 1.0, "outside": 0.0}
    nothing = {"t1_pre": {"not_applicable": NO_EVIDENCE} | about}
    return {
        "case_id": case,
        "probability": 0.9,
        "threshold": 0.5,
        "pcr": 1,
        "patient": case,
        "folds": [0],
        "seen": "held-out",
        "agreement": {
            name: {
                "t1_pre": {
                    "energy": {"value": own, "chance": 0.1, "ceiling": 0.9},
                    "best_dice": {"value": own, "chance": 0.1, "ceiling": 0.9},
                    "normalised": {"energy": (own - 0.1) / 0.8},
                }
                | about
            }
            for name, own in maps.items()
        }
        | dict.fromkeys(silent, nothing),
        "curves": {name: {"t1_pre": {"union": curve}} for name in maps}
        | {name: {} for name in silent},
        "training": {name: {"1": [curve]} for name in maps},
    }


@pytest.mark.parametrize("made_up", [True, False])
def test_the_picture_of_the_trials_says_it(made_up):
    words = words_of(check_figure(explained(made_up=made_up), TRIAL))

    assert ("phantom" in words) == made_up
    assert "HN-0042" in words
    assert RESEARCH_ONLY in words


def test_every_row_of_a_cohort_s_tables_says_it(tmp_path):
    rows = cohort_rows([record("A", 0.5), record("B", 0.7)])

    write_cohort_agreement(tmp_path, rows, trained_on="phantom", made_up=True)

    for name in TABLES.values():
        with (tmp_path / name).open(newline="") as stream:
            lines = list(csv.DictReader(stream))
        assert lines, name
        assert {line["trained_on"] for line in lines} == {"phantom"}, name
    assert read_summary(tmp_path)[0]["trained_on"] == "phantom"
    assert "Made-up cohort (phantom)" in words_of(cohort_figure([], made_up=True))


def test_a_model_without_evidence_anywhere_is_told_beside_the_others(tmp_path):
    cases = [record(name, 0.5, maps=("centre",), silent=("model",)) for name in "AB"]

    write_cohort_agreement(
        tmp_path, cohort_rows(cases), trained_on="phantom", made_up=True
    )

    means = read_summary(tmp_path)
    (energy,) = (
        row
        for row in means
        if (row["map"], row["measure"], row["stratum"]) == ("model", "energy", "all")
    )
    assert (energy["mean"], energy["cases"], energy["left_out"]) == (None, "0", "2")
    with (tmp_path / TABLES["against"]).open(newline="") as stream:
        beaten = {row["measure"]: row for row in csv.DictReader(stream)}
    energy = beaten["energy"]
    assert (energy["mean"], energy["cases"], energy["left_out"]) == ("", "0", "2")
    page = (tmp_path / "agreement.html").read_text()
    dashes = "<td>-</td>" * 5
    assert f"<td>the model&#x27;s map</td>{dashes}<td>0</td><td>2</td>" in page
    assert "the model's map: no figure" in words_of(cohort_figure(means))


def test_a_bar_reaches_from_end_to_end_of_its_interval_and_a_lone_case_has_none():
    row = {"label": "union", "stratum": "all", "map": "model", "normalised": 0.5}
    ends = {"normalised_ci_low": 0.25, "normalised_ci_high": 1.0}
    blank = dict.fromkeys(ends)
    means = [row | ends | {"measure": "energy"}, row | blank | {"measure": "auc"}]

    (bars,) = cohort_figure(means).axes[0].collections

    energy, auc = bars.get_segments()
    np.testing.assert_allclose(energy[:, 0], [0.25, 1.0])
    assert len(auc) == 0
