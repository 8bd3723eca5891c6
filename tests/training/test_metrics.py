"""Repeats see the same patients again, and a constant score is still a score."""

import numpy as np
import pytest

from napari_harm3.errors import TrainingError
from napari_harm3.training.metrics import NAMES, FoldScores, auc, cross_validated

LABEL = (np.arange(60) % 3 == 0).astype(int)
SCORE = 1 / (1 + np.exp(-LABEL - np.random.default_rng(0).normal(0, 1.2, 60)))


def folds_of(order: np.ndarray, *, named: bool = True) -> list[FoldScores]:
    return [
        FoldScores(
            label=LABEL[part],
            score=SCORE[part],
            case_id=tuple(f"C{number:02d}" for number in part) if named else (),
        )
        for part in np.array_split(order, 3)
    ]


def width(found: dict, name: str) -> float:
    low, high = found[name]["ci95"]
    return high - low


def test_who_says_the_same_of_everyone_gives_scores_not_labels():
    assert auc(np.array([0, 1, 0]), np.zeros(3)) == 0.5
    assert auc(np.array([0, 1, 0]), np.ones(3)) == 0.5
    with pytest.raises(TrainingError, match="hard labels"):
        auc(np.array([0, 1, 0]), np.array([0.0, 1.0, 1.0]))


def test_the_same_folds_once_more_add_no_case_and_no_certainty():
    once = cross_validated(folds_of(np.arange(60)))

    twice = cross_validated([*folds_of(np.arange(60)), *folds_of(np.arange(60))])

    assert twice["n"] == once["n"] == 60
    for name in NAMES:
        np.testing.assert_allclose(twice[name]["ci95"], once[name]["ci95"], rtol=1e-12)


def test_repeats_draw_the_same_cases():
    orders = [np.random.default_rng(seed).permutation(60) for seed in range(4)]
    one = cross_validated(folds_of(orders[0]))
    repeats = [fold for order in orders for fold in folds_of(order)]
    strangers = [fold for order in orders for fold in folds_of(order, named=False)]

    found, apart = cross_validated(repeats), cross_validated(strangers)

    assert (found["n"], apart["n"]) == (60, 240)
    for name in ("auc", "acc", "brier"):
        assert found[name]["mean"] == pytest.approx(apart[name]["mean"])
        assert width(found, name) == pytest.approx(width(one, name), rel=0.25)
        assert width(apart, name) < 0.7 * width(found, name)


def test_without_repeats_a_name_changes_nothing():
    named = cross_validated(folds_of(np.arange(60)))

    assert named == cross_validated(folds_of(np.arange(60), named=False))
