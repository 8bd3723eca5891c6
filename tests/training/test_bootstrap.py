"""The bootstrap draws patients, not cases."""

import numpy as np
import pytest

from napari_harm3.training.held_out import HeldOut
from napari_harm3.training.metrics import NAMES, FoldScores, cross_validated
from napari_harm3.training.resampling import drawn_patients, weighted_auc
from napari_harm3.training.subgroups import subgroups

LABEL = (np.arange(48) % 3 == 0).astype(int)
SCORE = 1 / (1 + np.exp(-LABEL - np.random.default_rng(1).normal(0, 1.2, 48)))
NAME = tuple(f"C{number:02d}" for number in range(48))


def fold_of(copies: int, *, patients: bool) -> FoldScores:
    """Return each patient's case so many times, said to be of one patient or not."""
    return FoldScores(
        label=np.repeat(LABEL, copies),
        score=np.repeat(SCORE, copies),
        case_id=tuple(f"{name}-{copy}" for name in NAME for copy in range(copies)),
        patient=tuple(np.repeat(NAME, copies)) if patients else (),
    )


def test_cases_of_one_patient_make_nothing_more_certain():
    once = cross_validated([fold_of(1, patients=False)])

    found = cross_validated([fold_of(3, patients=True)])

    assert found["n"] == 3 * once["n"]
    for name in NAMES:
        assert found[name]["ci95"] == pytest.approx(once[name]["ci95"])


def test_of_a_patient_all_cases_are_drawn_or_none():
    label, whose = np.array([0, 0, 1, 0, 1, 1]), ["a", "b", "c", "b", "d", "c"]

    (drawn,) = drawn_patients([(label, whose)], 500, np.random.default_rng(0))

    np.testing.assert_array_equal(drawn[:, 1], drawn[:, 3])
    np.testing.assert_array_equal(drawn[:, 2], drawn[:, 5])
    for one, other in ((0, 1), (2, 4)):  # each class keeps its number of patients
        assert set(drawn[:, one] + drawn[:, other]) == {2}


def test_where_each_patient_has_one_case_nothing_changes():
    plain, named = fold_of(1, patients=False), fold_of(1, patients=True)
    assert cross_validated([named]) == cross_validated([plain])

    unnamed = FoldScores(label=LABEL, score=SCORE)
    assert cross_validated([unnamed]) == cross_validated([plain])


def test_an_auc_by_weights_is_that_of_the_cases_written_out():
    (weight,) = drawn_patients([(LABEL, NAME)], 5, np.random.default_rng(2))

    found = weighted_auc(LABEL, SCORE, weight)

    for drawn, area in zip(weight.astype(int), found, strict=True):
        label, score = np.repeat(LABEL, drawn), np.repeat(SCORE, drawn)
        yes, no = score[label == 1][:, None], score[label == 0]
        assert area == pytest.approx((yes > no).mean() + (yes == no).mean() / 2)


def held_out(copies: int, *, patients: bool) -> HeldOut:
    fold = fold_of(copies, patients=patients)
    return HeldOut(
        case_id=fold.case_id,
        fold=np.zeros(len(fold.label), dtype=int),
        label=fold.label,
        score=fold.score,
        threshold=np.full(len(fold.label), 0.5),
        patient=fold.patient,
    )


def test_a_group_of_patients_is_measured_by_patient_too():
    everyone = dict.fromkeys(held_out(3, patients=True).case_id, "all")
    alone = dict.fromkeys(held_out(1, patients=True).case_id, "all")
    (once,) = subgroups(held_out(1, patients=True), alone, column="center")

    (found,) = subgroups(held_out(3, patients=True), everyone, column="center")
    (cases,) = subgroups(held_out(3, patients=False), everyone, column="center")

    assert found.ci95 == pytest.approx(once.ci95)
    assert np.ptp(cases.ci95) < 0.7 * np.ptp(once.ci95)
