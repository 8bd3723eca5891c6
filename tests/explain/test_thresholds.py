"""A threshold is chosen on the cases of training, never on the case itself."""

import numpy as np
import pytest

from napari_harm3.explain.thresholds import (
    FITTED,
    NONE_FITTED,
    NOT_MADE,
    SHARES,
    TrainingCurves,
    best_share,
    dice_by_share,
)


def peak_at(share):
    """A curve that is best at one share."""
    return [1.0 - abs(share - other) for other in SHARES]


def test_the_share_is_the_one_with_most_dice_on_the_training_cases():
    mask = np.arange(100) < 30
    heat = np.where(mask, 0.6, 0.3)
    heat[0] = 1.0

    share = best_share([dice_by_share(heat, mask)])

    assert 0.3 < share <= 0.6
    with pytest.raises(ValueError, match="no map"):
        best_share([])


def test_dice_is_that_of_the_cut_map():
    heat, mask = np.array([1.0, 0.5, 0.2, 0.0]), np.array([1, 0, 1, 0], bool)

    curve = dict(zip(SHARES, dice_by_share(heat, mask), strict=True))

    assert curve[0.95] == pytest.approx(2 / 3)
    assert curve[0.5] == pytest.approx(0.5)
    assert curve[0.2] == pytest.approx(4 / 5)


def test_each_fold_says_where_its_own_training_cases_are_cut_best():
    training = TrainingCurves()
    training.add("model", 0, [peak_at(0.2), peak_at(0.2)])
    training.add("model", 1, [peak_at(0.7)])

    assert training.choice("model", (0,), seen="held-out") == (0.2, "")
    assert training.choice("model", (1,), seen="held-out") == (0.7, "")


def test_where_nothing_can_be_chosen_the_reason_is_said():
    training = TrainingCurves()
    assert training.choice("model", (0,), seen="new") == (None, NONE_FITTED)

    training.add("model", 0, [peak_at(0.5)])
    training.add("model", 1, [])

    assert training.choice("model", (0,), seen="in-training") == (None, FITTED)
    assert training.choice("model", (1,), seen="held-out") == (None, NONE_FITTED)
    assert training.choice("occlusion", (0,), seen="held-out") == (None, NOT_MADE)
