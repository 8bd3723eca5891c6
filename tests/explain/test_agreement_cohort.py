"""Over a cohort: rows, strata, and intervals that draw patients."""

import numpy as np
import pytest
from scipy import stats

from napari_harm3.explain.agreement import MEASURES, agreement
from napari_harm3.explain.agreement_cohort import (
    COLUMNS,
    against,
    case_rows,
    mean_by_patient,
    summary,
    with_choice,
    with_sizes,
)
from napari_harm3.explain.gone_lesions import OldPlace
from napari_harm3.explain.thresholds import SHARES
from napari_harm3.mri.volume import Geometry

NATIVE = Geometry(shape=(16, 16, 8), affine=np.eye(4))
CELLS = Geometry(shape=(4, 4, 4), affine=np.diag([4.0, 4.0, 2.0, 1.0]))
CELLS.affine[:3, 3] = (1.5, 1.5, 0.5)


def measured(size, seed=0):
    mask = np.zeros(NATIVE.shape, np.uint8)
    mask[2 : 2 + size, 2 : 2 + size, 2:5] = 1
    heat = np.random.default_rng(seed).random(NATIVE.shape).astype(np.float32)
    return agreement(heat, mask, NATIVE, CELLS)


@pytest.fixture(scope="module")
def rows():
    found = []
    for number in range(6):
        post = {"not_applicable": "annotated as free of visible lesion"}
        old = np.ones(NATIVE.shape, bool) * (np.arange(8) < 2)
        flat = np.ones(NATIVE.shape, np.float32)
        post |= OldPlace(old, NATIVE, CELLS).measure(flat)
        roles = {"t1_pre": measured(2 + number, number), "t1_post": post}
        label, said = number % 2, number < 3
        for name in ("model", "uniform"):
            found += case_rows(
                f"HN-{number}", roles, pcr=label, decision=said, map_name=name
            )
    return with_sizes(found)


def test_every_case_volume_and_label_has_a_row_with_every_column(rows):
    assert all(tuple(row) == COLUMNS for row in rows)
    mine = [row for row in rows if row["map"] == "model"]
    keys = [(row["case_id"], row["role"], row["label"]) for row in mine]
    assert len(set(keys)) == len(keys) == 6 * (3 + 1)
    row = mine[0]
    figures = measured(2, 0)
    assert (row["sequence"], row["time"], row["label"]) == ("t1", "pre", "union")
    for name in MEASURES:
        for key in ("value", "chance", "ceiling"):
            assert row[f"{name}_{key}"] == figures.get(name, {}).get(key)
        assert row[f"{name}_normalised"] == figures["normalised"].get(name)


def test_what_does_not_apply_is_blank_and_counts_nowhere(rows):
    gone = [row for row in rows if row["time"] == "post"]
    assert all("free of" in row["not_applicable"] for row in gone)
    assert all(row["energy_value"] is None for row in gone)
    assert gone[0]["false_energy_value"] == pytest.approx(0.25)

    found = summary(rows, measures=["energy"], strata=["time"])

    assert {row["stratum_value"] for row in found} == {"", "pre"}
    assert all(row["cases"] == 6 for row in found if row["label"] == "union")


def test_a_map_without_evidence_is_counted_beside_the_mean():
    mask = np.zeros(NATIVE.shape, np.uint8)
    mask[2:5, 2:5, 2:5], mask[8:11, 8:11, 2:5] = 1, 2
    flat = np.ones(NATIVE.shape, np.float32)
    one, none = (agreement(heat, mask, NATIVE, CELLS) for heat in (flat, 0 * flat))
    rows = case_rows("a", {"t1_pre": one, "t2_pre": none})
    rows += case_rows("a", {"t1_pre": one, "t2_pre": one}, map_name="centre")
    rows = with_sizes(rows)

    (silent, _, nodes) = [r for r in rows if r["not_applicable"]]
    assert (silent["lesion_ml"], nodes["lesion_ml"]) == pytest.approx((0.054, 0.027))
    assert silent["size"] is not None
    found = summary(rows, measures=["auc"], strata=["size"])
    told = {(r["map"], r["label"], r["stratum"]): r for r in found}
    mine, theirs = (told[name, "union", "size"] for name in ("model", "centre"))
    assert (mine["rows"], mine["left_out"]) == (1, 1)
    assert (theirs["rows"], theirs["left_out"]) == (2, 0)
    assert against(rows, "auc", baseline="centre")["left_out"] == 1


def test_a_map_without_evidence_anywhere_has_a_row_without_a_mean():
    mask = np.zeros(NATIVE.shape, np.uint8)
    mask[2:5, 2:5, 2:5] = 1
    nothing = np.zeros(NATIVE.shape, np.float32)
    post = {"not_applicable": "annotated as free of visible lesion"}
    post |= OldPlace(mask > 0, NATIVE, CELLS).measure(nothing)
    roles = {"t1_pre": agreement(nothing, mask, NATIVE, CELLS), "t1_post": post}
    rows = with_sizes(case_rows("a", roles))

    (union, *_) = summary(rows, measures=["auc"], strata=[])
    gone = summary(rows, measures=["false_energy"], strata=[])

    assert (union["cases"], union["rows"], union["left_out"]) == (0, 0, 1)
    undefined = ("mean", "ci_low", "chance", "ceiling", "normalised")
    assert {union[key] for key in undefined} == {None}
    assert [(row["label"], row["left_out"]) for row in gone] == [("union", 1)]


def test_whether_the_model_was_right_is_noted(rows):
    right = {row["case_id"]: row["correct"] for row in rows}
    assert list(right.values()) == [0, 1, 0, 0, 1, 0]
    assert case_rows("a", {"t1_pre": measured(3)}, pcr=1)[0]["correct"] is None


def test_tertiles_part_the_lesions_by_volume(rows):
    sizes = {
        row["case_id"]: row["size"]
        for row in rows
        if row["label"] == "union" and row["time"] == "pre"
    }
    assert list(sizes.values()) == ["small"] * 2 + ["medium"] * 2 + ["large"] * 2
    assert all(row["size"] is None for row in rows if row["time"] == "post")
    found = summary(rows, measures=["auc"], strata=["size"])
    order = [r["stratum_value"] for r in found if r["map"] == "uniform"][:4]
    assert order == ["", "small", "medium", "large"]


def test_sizes_are_the_same_whichever_other_maps_were_made():
    lesions = {f"{n}": {"t1_pre": measured(2 + n)} for n in range(6)}
    own = [row for case, roles in lesions.items() for row in case_rows(case, roles)]
    more = [
        row
        for case in ("4", "5")
        for row in case_rows(case, lesions[case], map_name="occlusion")
    ]

    assert with_sizes([*own, *more])[: len(own)] == with_sizes(own)


def test_a_summary_is_the_mean_of_its_rows(rows):
    chosen = [
        row
        for row in rows
        if row["map"] == "model" and row["label"] == "union" and row["pcr"] == 1
    ]
    values = [r["energy_value"] for r in chosen if r["energy_value"] is not None]

    found = summary(rows, measures=["energy"], strata=["pcr"])

    (row,) = (
        r
        for r in found
        if (r["map"], r["label"], r["stratum"], r["stratum_value"])
        == ("model", "union", "pcr", 1)
    )
    assert row["mean"] == pytest.approx(np.mean(values))
    assert row["ci_low"] < row["mean"] < row["ci_high"]
    assert row["chance"] < row["ceiling"]


def test_the_interval_draws_patients_and_not_cases_or_rows():
    """Four equal rows of two cases of a patient say no more than one."""
    rng = np.random.default_rng(0)
    patients = rng.normal(size=60)
    rows = [
        {"case_id": f"{n}{case}", "patient": f"{n}", "x": value}
        for n, value in enumerate(patients)
        for case in "ab"
        for _ in ("pre", "post")
    ]

    found = mean_by_patient(rows, "x")
    low, high = stats.t.interval(0.95, 59, patients.mean(), stats.sem(patients))

    assert found["mean"] == pytest.approx(patients.mean())
    assert found["cases"] == 120
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((low, high), abs=0.03)


def test_one_patient_has_no_interval_and_none_has_no_mean():
    rows = [{"case_id": case, "patient": "p", "x": 2.0} for case in "ab"]
    one = mean_by_patient(rows, "x")
    assert (one["mean"], one["ci_low"], one["cases"]) == (2.0, None, 2)
    blank = {"case_id": "a", "patient": "p", "x": None}
    assert mean_by_patient([blank], "x")["mean"] is None


def test_a_row_says_whose_case_it_is():
    lone, known = (case_rows("a", {"t1_pre": {}}, patient=p) for p in (None, "P-7"))

    assert (lone[0]["patient"], known[0]["patient"]) == ("a", "P-7")


def test_a_map_stands_against_a_baseline_volume_by_volume():
    rows = []
    for case in range(8):
        for role in ("t1_pre", "t2_pre"):
            for name, value in (("model", 0.3 + case / 10), ("centre", case / 10)):
                rows.append(
                    {
                        "case_id": f"{case}",
                        "patient": f"{case}",
                        "role": role,
                        "map": name,
                        "label": "union",
                        "auc_value": value,
                    }
                )
    rows[0]["auc_value"] = None  # that volume has no pair

    found = against(rows, "auc", baseline="centre")

    assert found["mean"] == pytest.approx(0.3)
    assert found["ci_low"] == pytest.approx(0.3)  # the cases differ, the pairs do not
    assert (found["cases"], found["left_out"]) == (8, 1)


def test_a_row_is_cut_at_the_chosen_share_between_the_same_limits(rows):
    (row, *_) = rows
    curve = [0.01 * n for n in range(len(SHARES))]

    cut = with_choice(row, SHARES[7], "", curve)

    assert cut["dice_chosen_value"] == pytest.approx(0.07)
    assert cut["iou_chosen_value"] == pytest.approx(0.07 / 1.93)
    assert cut["dice_chosen_ceiling"] == row["best_dice_ceiling"]
    assert cut["chosen_share"] == SHARES[7]
    assert cut["dice_chosen_normalised"] is not None


def test_where_no_share_can_be_chosen_the_reason_stands(rows):
    cut = with_choice(rows[0], None, "no training cases", [0.0] * len(SHARES))

    assert cut["dice_chosen_value"] is None
    assert cut["chosen_not_applicable"] == "no training cases"
    assert tuple(cut) == COLUMNS
    gone = next(row for row in rows if row["not_applicable"])
    assert with_choice(gone, None, "no training cases", None) == gone
