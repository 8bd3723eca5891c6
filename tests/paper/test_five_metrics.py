"""The five metrics of section 3.1, against counting by hand; pCR is positive."""

import numpy as np
import pytest

from napari_harm3.errors import TrainingError
from napari_harm3.training.metrics import (
    NAMES,
    FoldScores,
    auc,
    cross_validated,
    figures,
    null_standard_error,
)

LABEL = np.array([1, 1, 1, 0, 0, 0, 0])
SCORE = np.array([0.9, 0.6, 0.2, 0.7, 0.3, 0.2, 0.1])


def made_up_folds(seed: int = 0, folds: int = 5) -> list[FoldScores]:
    rng = np.random.default_rng(seed)
    made = []
    for fold in range(folds):
        label = (np.arange(20 + fold) < 6 + fold % 2).astype(int)
        score = 1 / (1 + np.exp(-rng.normal(label, 1.0)))
        made.append(FoldScores(label=label, score=score, threshold=0.6))
    return made


def test_auc_is_the_share_of_pairs_in_the_right_order_ties_counting_half():
    pairs = [
        float(yes > no) + 0.5 * float(yes == no)
        for yes in SCORE[LABEL == 1]
        for no in SCORE[LABEL == 0]
    ]

    assert auc(LABEL, SCORE) == pytest.approx(np.mean(pairs), abs=1e-12)


def test_auc_refuses_hard_labels():
    with pytest.raises(TrainingError, match="hard labels"):
        auc(LABEL, (SCORE >= 0.5).astype(float))


def test_the_other_four_are_counted_from_decisions_at_one_half():
    # Said pCR: 0.9 and 0.6 rightly, 0.7 wrongly; 0.2 was missed.
    tp, fn, fp, tn = 2, 1, 1, 3

    found = figures(LABEL, SCORE)

    assert found["sen"] == pytest.approx(tp / (tp + fn))
    assert found["spe"] == pytest.approx(tn / (tn + fp))
    assert found["acc"] == pytest.approx((tp + tn) / 7)
    assert found["f1"] == pytest.approx(2 * tp / (2 * tp + fp + fn))
    assert found["balanced_acc"] == pytest.approx((tp / 3 + tn / 4) / 2)
    assert found["f1_macro"] == pytest.approx((4 / 6 + 6 / 8) / 2)
    assert found["brier"] == pytest.approx(np.mean((SCORE - LABEL) ** 2))


def test_accuracy_is_prevalence_times_sen_plus_the_rest_times_spe():
    folds = made_up_folds()
    pooled = FoldScores(
        label=np.concatenate([fold.label for fold in folds]),
        score=np.concatenate([fold.score for fold in folds]),
    )

    for fold in (*folds, pooled):
        found, share = figures(fold.label, fold.score), fold.label.mean()
        mixed = share * found["sen"] + (1 - share) * found["spe"]
        assert found["acc"] == pytest.approx(mixed, abs=1e-9)


def test_what_one_class_cannot_define_is_nothing():
    found = figures(np.zeros(3, dtype=int), np.array([0.2, 0.7, 0.4]))

    undefined = {name for name, value in found.items() if value is None}
    assert undefined == {"auc", "f1", "sen", "f1_macro", "balanced_acc", "ap"}
    assert found["spe"] == pytest.approx(2 / 3)


def test_a_run_has_mean_and_sd_over_folds_and_the_pooled_figure_beside():
    folds = made_up_folds()
    each = [auc(fold.label, fold.score) for fold in folds]

    found = cross_validated(folds, draws=50)

    assert set(NAMES) < set(found)
    assert found["auc"]["mean"] == pytest.approx(np.mean(each))
    assert found["auc"]["sd"] == pytest.approx(np.std(each, ddof=1))
    label = np.concatenate([fold.label for fold in folds])
    score = np.concatenate([fold.score for fold in folds])
    assert found["auc"]["pooled"] == pytest.approx(auc(label, score))
    assert found["n"] == len(label)
    assert found["prevalence"] == pytest.approx(label.mean())
    assert found["majority_acc"] == pytest.approx(1 - label.mean())


def test_a_fold_of_one_class_is_left_out_of_the_mean():
    folds = made_up_folds()
    lone = FoldScores(label=np.zeros(4, dtype=int), score=np.linspace(0.1, 0.4, 4))

    found = cross_validated([*folds, lone], draws=50)

    each = [auc(fold.label, fold.score) for fold in folds]
    assert found["auc"]["mean"] == pytest.approx(np.mean(each))
    assert None not in found["auc"]["ci95"]


def test_the_interval_is_the_bootstrap_of_the_mean_within_fold_and_class():
    folds, draws, rng = made_up_folds(), 1500, np.random.default_rng(1)
    means = []
    for _ in range(draws):
        values = []
        for fold in folds:
            rows = np.concatenate(
                [
                    rng.choice(members, len(members))
                    for members in map(np.flatnonzero, (fold.label == 0, fold.label))
                ]
            )
            yes = fold.score[rows][fold.label[rows] == 1]
            no = fold.score[rows][fold.label[rows] == 0]
            values.append((yes[:, None] > no).mean() + (yes[:, None] == no).mean() / 2)
        means.append(np.mean(values))

    found = cross_validated(folds)["auc"]["ci95"]

    np.testing.assert_allclose(found, np.percentile(means, (2.5, 97.5)), atol=0.012)


def test_every_bootstrap_draw_has_the_metrics_of_its_own_sample():
    # Equal scores within a class: whatever is drawn, every figure stays the same.
    fold = FoldScores(
        label=np.array([1, 1, 1, 0, 0]), score=np.array([0.8, 0.8, 0.8, 0.6, 0.6])
    )

    found = cross_validated([fold, fold], draws=20)

    for name in NAMES:
        mean = found[name]["mean"]
        assert found[name]["ci95"] == pytest.approx([mean, mean]), name


def test_the_inner_threshold_is_told_apart_from_one_half():
    fold = FoldScores(
        label=np.array([1, 0, 0]), score=np.array([0.9, 0.6, 0.1]), threshold=0.8
    )

    found = cross_validated([fold, fold], draws=20)

    assert found["spe"]["mean"] == 0.5
    assert found["at_inner_threshold"]["spe"]["mean"] == 1.0


def test_scores_that_mean_nothing_spread_as_the_null_says():
    rng = np.random.default_rng(0)
    label = (np.arange(40) < 12).astype(int)

    drawn = [auc(label, rng.random(40)) for _ in range(1500)]

    assert np.std(drawn) == pytest.approx(null_standard_error(12, 28), rel=0.08)


def test_nothing_to_measure_is_said():
    with pytest.raises(TrainingError, match="no held-out cases"):
        cross_validated([])
