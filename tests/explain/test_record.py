"""A cohort's rows: which share a case is cut at, its own annotation has no say in."""

from napari_harm3.explain.record import cohort_rows
from napari_harm3.explain.thresholds import FITTED, SHARES


def best_at(share):
    return [1.0 - abs(share - other) for other in SHARES]


def record(case, *, fold, share, seen="held-out"):
    """A case that one of two folds held out, its map best where ``share`` says."""
    limits = {"value": 0.5, "chance": 0.1, "ceiling": 0.9}
    measures = {"best_dice": limits, "lesion_ml": 1.0, "outside": 0.0}
    return {
        "case_id": case,
        "probability": 0.9,
        "threshold": 0.5,
        "pcr": 1,
        "patient": f"patient of {case}",
        "folds": [fold],
        "seen": seen,
        "agreement": {"model": {"t1_pre": measures}},
        "curves": {"model": {"t1_pre": {"union": best_at(share)}}},
        "training": {"model": {str(1 - fold): [best_at(share)]}},
    }


def test_a_row_says_whose_case_it_is():
    (row,) = cohort_rows([record("A", fold=0, share=0.2)])

    assert row["patient"] == "patient of A"


def shares(records):
    return {row["case_id"]: row["chosen_share"] for row in cohort_rows(records)}


def test_a_case_is_cut_where_the_other_folds_cases_were_best():
    found = shares(
        [
            record("A", fold=0, share=0.2),
            record("B", fold=0, share=0.2),
            record("C", fold=1, share=0.8),
        ]
    )

    assert found == {"A": 0.8, "B": 0.8, "C": 0.2}


def test_its_own_annotation_has_no_say():
    others = [record("B", fold=0, share=0.3), record("C", fold=1, share=0.6)]

    one, other = (
        shares([record("A", fold=0, share=share), *others])["A"] for share in (0.1, 0.9)
    )

    assert one == other == 0.6


def test_a_case_of_training_is_not_cut():
    (row,) = cohort_rows([record("A", fold=0, share=0.2, seen="in-training")])

    assert row["dice_chosen_value"] is None
    assert row["chosen_not_applicable"] == FITTED
