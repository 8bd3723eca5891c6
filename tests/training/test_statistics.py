"""Tests between methods, against bootstrap, permutation and hand-made readings."""

from dataclasses import replace
from math import comb

import numpy as np
import pytest
from scipy import stats

from napari_harm3.errors import TrainingError
from napari_harm3.training.metrics import FoldScores, cross_validated
from napari_harm3.training.statistics import (
    Difference,
    against,
    corrected_t,
    delong,
    delong_paired,
    fold_differences,
    holm,
    mcnemar,
    mcnemar_paired,
)


def two_methods(
    seed: int, *, cases: int = 80, folds: int = 5, apart: tuple[float, float] = (1, 1)
) -> tuple[list[FoldScores], list[FoldScores]]:
    """Correlated scores of two methods on the same cases."""
    rng = np.random.default_rng(seed)
    made: tuple[list[FoldScores], list[FoldScores]] = ([], [])
    for _ in range(folds):
        label = (np.arange(cases) < 0.3 * cases).astype(int)
        shared = rng.normal(size=cases)
        for method, gap in zip(made, apart, strict=True):
            method.append(as_fold(label, gap * label + shared + rng.normal(size=cases)))
    return made


def as_fold(label: np.ndarray, logit: np.ndarray) -> FoldScores:
    return FoldScores(label=label, score=1 / (1 + np.exp(-logit)))


def share_in_order(label: np.ndarray, score: np.ndarray) -> float:
    yes, no = score[label == 1][:, None], score[label == 0]
    return float((yes > no).mean() + (yes == no).mean() / 2)


def drawn(fold: FoldScores, rng: np.random.Generator) -> np.ndarray:
    return np.concatenate(
        [
            rng.choice(members, len(members))
            for members in (np.flatnonzero(fold.label == v) for v in (0, 1))
        ]
    )


def test_delong_reads_the_placements_of_the_definition():
    label = np.array([1, 1, 1, 0, 0, 0, 0])
    scores = np.array(
        [[0.9, 0.6, 0.2, 0.7, 0.3, 0.2, 0.1], [0.5, 0.8, 0.4, 0.5, 0.1, 0.6, 0.2]]
    )

    found, covariance = delong(label, scores)

    wins = [
        np.array([[(y > n) + 0.5 * (y == n) for n in s[3:]] for y in s[:3]])
        for s in scores
    ]
    yes = np.stack([w.mean(axis=1) for w in wins])
    no = np.stack([w.mean(axis=0) for w in wins])
    np.testing.assert_allclose(found, [w.mean() for w in wins])
    np.testing.assert_allclose(covariance, np.cov(yes) / 3 + np.cov(no) / 4)


def test_the_error_of_a_mean_auc_is_that_of_the_bootstrap():
    folds, _ = two_methods(0)

    found = cross_validated(folds)["auc"]

    aucs, variances = zip(*(delong(f.label, f.score[None]) for f in folds), strict=True)
    assert found["mean"] == pytest.approx(np.mean(aucs))
    reach = 1.96 * np.sqrt(np.sum(variances)) / len(folds)
    expected = found["mean"] - reach, found["mean"] + reach
    np.testing.assert_allclose(found["ci95"], expected, atol=0.012)


def test_the_error_of_a_difference_is_that_of_the_bootstrap():
    one, other = two_methods(1, apart=(1.2, 0.8))
    rng = np.random.default_rng(5)

    found = delong_paired(one, other)

    differences = []
    for _ in range(600):
        rows = [drawn(fold, rng) for fold in one]
        means = [
            np.mean(
                [
                    share_in_order(f.label[r], f.score[r])
                    for f, r in zip(m, rows, strict=True)
                ]
            )
            for m in (one, other)
        ]
        differences.append(means[0] - means[1])
    assert found.se == pytest.approx(np.std(differences), rel=0.12)


def test_the_p_of_a_difference_is_that_of_swapping_methods_case_by_case():
    one, other = two_methods(2, apart=(1.0, 0.6))
    rng = np.random.default_rng(3)

    found = delong_paired(one, other)

    swapped = []
    for _ in range(800):
        gaps = []
        for a, b in zip(one, other, strict=True):
            swap = rng.random(len(a.label)) < 0.5
            # Ranks first: methods are exchangeable only on one scale.
            x, y = stats.rankdata(a.score), stats.rankdata(b.score)
            gaps.append(
                share_in_order(a.label, np.where(swap, y, x))
                - share_in_order(a.label, np.where(swap, x, y))
            )
        swapped.append(np.mean(gaps))
    p = np.mean(np.abs(swapped) >= abs(found.difference))
    assert found.p == pytest.approx(p, abs=0.05)


def test_equal_methods_differ_in_one_of_twenty_cohorts():
    p_values = [
        delong_paired(*two_methods(seed, cases=40, folds=3)).p for seed in range(250)
    ]

    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.03)


def test_swapping_the_methods_turns_the_sign_only():
    one, other = two_methods(4, apart=(1.3, 0.7))

    forth, back = delong_paired(one, other), delong_paired(other, one)

    assert forth.difference == pytest.approx(-back.difference)
    assert forth.p == pytest.approx(back.p)
    assert forth.ci95 == pytest.approx((-back.ci95[1], -back.ci95[0]))


def test_a_repeat_of_the_same_patients_makes_nothing_more_certain():
    one, other = two_methods(4)

    once, twice = (
        delong_paired(one, other),
        delong_paired(one * 2, other * 2, repeats=2),
    )

    assert twice.se == pytest.approx(once.se)


def test_equal_scores_have_no_z_and_no_p():
    folds, _ = two_methods(0)

    found = delong_paired(folds, folds)

    assert (found.difference, found.se) == (0, 0)
    assert found.statistic is None
    assert found.p is None


def test_a_fold_of_one_class_is_left_out():
    one, other = two_methods(6)
    lone = FoldScores(label=np.zeros(4, dtype=int), score=np.linspace(0.1, 0.4, 4))

    assert delong_paired([*one, lone], [*other, lone]) == delong_paired(one, other)
    assert delong_paired([lone], [lone]) == Difference()


def test_one_positive_case_gives_a_difference_without_an_error():
    label = np.array([1, 0, 0, 0])
    one = FoldScores(label=label, score=np.array([0.5, 0.6, 0.3, 0.2]))
    other = FoldScores(label=label, score=np.array([0.7, 0.6, 0.3, 0.2]))

    found = delong_paired([one], [other])

    assert found == Difference(difference=pytest.approx(-1 / 3))


def test_other_cases_are_refused():
    one, other = two_methods(0)

    with pytest.raises(TrainingError, match="same cases"):
        delong_paired(one, other[:-1])


def test_other_cases_with_the_same_labels_are_refused():
    one, other = two_methods(0)
    a, w = (
        [replace(fold, case_id=tuple(f"{x}{n}" for n in range(80))) for fold in one]
        for x in "aw"
    )

    delong_paired(a, other)
    with pytest.raises(TrainingError, match="same cases"):
        delong_paired(a, w)
    with pytest.raises(TrainingError, match="same cases"):
        mcnemar_paired(a, w)


def test_hard_labels_are_refused():
    one, other = two_methods(0)
    hard = [
        FoldScores(label=f.label, score=(f.score > 0.5).astype(float)) for f in other
    ]

    with pytest.raises(TrainingError, match="hard labels"):
        delong_paired(one, hard)


def test_holm_multiplies_by_how_many_are_left_and_never_falls():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_does_not_count_what_was_not_tested():
    assert holm([0.5, None, 0.02, 0.8]) == [1.0, None, pytest.approx(0.06), 1.0]
    assert holm([]) == []


def test_mcnemar_counts_only_where_the_methods_differ():
    right = np.array([1] * 9 + [0] * 2 + [1] * 30, dtype=bool)
    other = np.array([0] * 9 + [1] * 2 + [1] * 30, dtype=bool)

    expected = 2 * sum(comb(11, k) for k in range(3)) / 2**11
    assert mcnemar(right, other) == pytest.approx(expected)


def test_mcnemar_knows_agreement_from_absence():
    nobody = np.zeros(0, dtype=bool)

    assert mcnemar(np.ones(3, dtype=bool), np.ones(3, dtype=bool)) == 1.0
    assert mcnemar(nobody, nobody) is None


def test_sensitivity_is_tested_on_pcr_and_specificity_on_the_rest():
    label = np.array([1] * 8 + [0] * 8)
    finds_all = FoldScores(label=label, score=np.full(16, 0.9))
    finds_none = FoldScores(label=label, score=np.array([0.1] * 8 + [0.9] * 8))

    sen_p, spe_p = mcnemar_paired([finds_all], [finds_none])

    assert sen_p == pytest.approx(2 / 2**8)
    assert spe_p == 1.0


def test_without_shared_training_cases_the_corrected_t_is_student_s():
    values = [0.03, 0.05, -0.01, 0.04, 0.02]

    found = corrected_t(values, test_over_train=0)

    student = stats.ttest_1samp(values, 0)
    assert found.statistic == pytest.approx(student.statistic)
    assert found.p == pytest.approx(student.pvalue)
    np.testing.assert_allclose(found.ci95, student.confidence_interval())


def test_shared_training_cases_widen_it_as_nadeau_and_bengio_say():
    values = [0.03, 0.05, -0.01, 0.04, 0.02]

    found = corrected_t(values, test_over_train=1 / 4)

    expected = np.mean(values) / np.sqrt((1 / 5 + 1 / 4) * np.var(values, ddof=1))
    assert found.statistic == pytest.approx(expected)


def test_a_t_test_needs_folds_that_differ():
    assert corrected_t([], test_over_train=0.25) == Difference()
    assert corrected_t([None, 0.1], test_over_train=0.25) == Difference(difference=0.1)
    assert corrected_t([0.2, 0.2], test_over_train=0.25).p is None


def test_every_method_is_tested_against_the_reference_and_corrected_together():
    reference, rival = two_methods(8, apart=(1.5, 0.4))
    _, near = two_methods(8, apart=(1.5, 1.4))

    found = against(reference, {"rival": rival, "near": near})

    assert found["rival"].auc.difference < 0
    assert [found[n].p_holm for n in ("rival", "near")] == pytest.approx(
        holm([found[n].auc.p for n in ("rival", "near")])
    )
    assert found["rival"].corrected_t == corrected_t(
        fold_differences(rival, reference), test_over_train=1 / 4
    )
    assert (found["near"].sen_p, found["near"].spe_p) == mcnemar_paired(near, reference)
