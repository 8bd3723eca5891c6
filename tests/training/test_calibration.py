"""Calibration and decisions, against scikit-learn, counting and known truths."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from napari_harm3.training.calibration import (
    Confusion,
    calibration,
    confusion,
    decision_curve,
    expected_error,
    in_the_large,
    reliability,
    slope_and_intercept,
)
from napari_harm3.training.metrics import FoldScores


def honest(cases: int = 4000, *, steeper: float = 1.0, shift: float = 0.0):
    """Labels drawn from probabilities, and scores that exaggerate them."""
    rng = np.random.default_rng(0)
    truth = rng.normal(-0.8, 1.2, cases)
    label = (rng.random(cases) < 1 / (1 + np.exp(-truth))).astype(int)
    return label, 1 / (1 + np.exp(-(steeper * truth + shift)))


def test_honest_scores_have_slope_one_and_no_intercept():
    label, score = honest()

    slope, intercept = slope_and_intercept(label, score)

    assert slope == pytest.approx(1, abs=0.1)
    assert intercept == pytest.approx(0, abs=0.1)
    assert in_the_large(label, score) == pytest.approx(0, abs=0.1)
    assert expected_error(label, score) < 0.03


def test_exaggerated_scores_have_the_inverse_slope():
    slope, _ = slope_and_intercept(*honest(steeper=2.5))

    assert slope == pytest.approx(1 / 2.5, rel=0.08)


def test_pcr_said_too_often_shows_in_the_large():
    assert in_the_large(*honest(shift=1.0)) == pytest.approx(-1, abs=0.1)


def test_the_regression_is_scikit_learn_s_without_a_penalty():
    label, score = honest(300, steeper=1.7, shift=0.4)

    found = slope_and_intercept(label, score)

    logit = np.log(score / (1 - score))[:, None]
    fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logit, label)
    assert found == pytest.approx((fitted.coef_[0, 0], fitted.intercept_[0]), abs=1e-4)


@pytest.mark.parametrize(
    ("label", "score"),
    [
        ([0, 0, 0], [0.1, 0.5, 0.3]),
        ([0, 1, 1], [0.4, 0.4, 0.4]),
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]),
    ],
    ids=["one class", "equal scores", "separate classes"],
)
def test_there_is_no_slope_where_nothing_can_be_fitted(label, score):
    assert slope_and_intercept(np.array(label), np.array(score)) == (None, None)


def test_scores_of_zero_and_one_are_kept_from_infinity():
    label = np.array([0, 0, 1, 1, 0, 1])
    score = np.array([0.0, 1.0, 1.0, 0.0, 0.3, 0.6])

    slope, intercept = slope_and_intercept(label, score)

    assert np.isfinite([slope, intercept]).all()


def test_bins_hold_equally_many_cases_and_the_error_is_counted_by_hand():
    label = np.array([0, 0, 0, 1, 1, 0])
    score = np.array([0.1, 0.2, 0.3, 0.4, 0.8, 0.9])

    found = reliability(label, score, bins=3)

    np.testing.assert_array_equal(found.count, [2, 2, 2])
    np.testing.assert_allclose(found.score, [0.15, 0.35, 0.85])
    np.testing.assert_allclose(found.observed, [0, 0.5, 0.5])
    expected = (0.15 + 0.15 + 0.35) / 3
    assert expected_error(label, score, bins=3) == pytest.approx(expected)


def test_equal_scores_share_a_bin_whatever_their_order():
    label = np.array([1, 0, 1, 0, 0, 0])
    score = np.array([0.5, 0.5, 0.5, 0.5, 0.9, 0.1])

    forth, back = (expected_error(label[::s], score[::s], bins=3) for s in (1, -1))

    assert forth == pytest.approx(back)
    assert max(reliability(label, score, bins=3).count) >= 4


def test_an_interval_holds_the_share_it_belongs_to():
    found = reliability(*honest(200))

    assert (found.low <= found.observed).all()
    assert (found.observed <= found.high).all()
    assert found.low.min() >= 0
    assert found.high.max() <= 1


def test_net_benefit_is_counted_from_its_definition():
    label = np.array([1, 1, 0, 0, 0])
    score = np.array([0.9, 0.3, 0.6, 0.2, 0.1])

    found = decision_curve(label, score, np.array([0.25, 0.5]))

    np.testing.assert_allclose(found.model, [2 / 5 - 1 / 3 / 5, 1 / 5 - 1 / 5])
    np.testing.assert_allclose(found.treat_all, [2 / 5 - 3 / 5 / 3, 2 / 5 - 3 / 5])
    np.testing.assert_allclose(found.treat_none, 0)


def test_acting_on_everyone_is_worth_nothing_at_the_prevalence():
    label, score = honest(500)

    found = decision_curve(label, score, np.array([label.mean()]))

    assert found.treat_all[0] == pytest.approx(0)


def test_decisions_are_taken_at_the_threshold_of_their_own_fold():
    label = np.array([1, 0, 0])
    strict = FoldScores(label=label, score=np.array([0.9, 0.6, 0.1]), threshold=0.8)
    loose = FoldScores(label=label, score=np.array([0.9, 0.6, 0.1]), threshold=0.05)

    assert confusion([strict, loose]) == Confusion(tp=2, fn=0, fp=2, tn=2)
    assert confusion([strict, loose], threshold=0.5) == Confusion(
        tp=2, fn=0, fp=2, tn=2
    )
    assert confusion([strict]) == Confusion(tp=1, fn=0, fp=0, tn=2)
    assert confusion([strict]).spe == 1
    assert Confusion(tp=0, fn=0, fp=1, tn=0).sen is None


def test_the_summary_is_of_all_held_out_scores():
    label, score = honest(300)
    folds = [
        FoldScores(label=label[k::3], score=score[k::3], threshold=0.4)
        for k in range(3)
    ]

    found = calibration(folds)

    assert found.brier == pytest.approx(np.mean((score - label) ** 2))
    assert found.slope == pytest.approx(slope_and_intercept(label, score)[0])
