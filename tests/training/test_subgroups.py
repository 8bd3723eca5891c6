"""Groups of patients: measured where there is something to measure, else named."""

import numpy as np
import pytest

from comparison_cases import made_up_run
from napari_harm3.errors import ModelError, TrainingError
from napari_harm3.training.held_out import (
    HeldOut,
    read_held_out,
    require_same_cases,
)
from napari_harm3.training.metrics import auc
from napari_harm3.training.subgroups import LEAST, NOT_STATED, subgroups


def share_in_order(label: np.ndarray, score: np.ndarray) -> float:
    yes, no = score[label == 1][:, None], score[label == 0]
    return float((yes > no).mean() + (yes == no).mean() / 2)


def by_half(run: HeldOut) -> dict[str, str]:
    return {name: "ab"[number % 2] for number, name in enumerate(run.case_id)}


def test_groups_part_the_cases_and_keep_their_counts():
    run = made_up_run(1.5)

    found = subgroups(run, by_half(run), column="center", draws=20)

    assert [group.value for group in found] == ["a", "b"]
    assert sum(group.n for group in found) == len(run.label)
    assert sum(group.positives for group in found) == run.label.sum()
    for group in found:
        assert group.prevalence == pytest.approx(group.positives / group.n)


def test_auc_compares_cases_of_one_fold_only():
    run = made_up_run(1.5)
    # Another model in each fold: shifts between folds must not matter.
    shifted = HeldOut(
        case_id=run.case_id,
        fold=run.fold,
        label=run.label,
        score=(run.score + run.fold) / 4,
        threshold=run.threshold,
    )

    plain = subgroups(run, by_half(run), column="center", draws=20)
    moved = subgroups(shifted, by_half(run), column="center", draws=20)

    assert [g.auc for g in plain] == pytest.approx([g.auc for g in moved])
    assert [g.ci95 for g in plain] == [pytest.approx(g.ci95) for g in moved]


def test_in_one_fold_it_is_the_plain_auc_with_its_bootstrap():
    run = made_up_run(1.0)
    run = HeldOut(
        case_id=run.case_id,
        fold=np.zeros_like(run.fold),
        label=run.label,
        score=run.score,
        threshold=run.threshold,
    )
    everyone = dict.fromkeys(run.case_id, "all")

    (found,) = subgroups(run, everyone, column="center")

    assert found.auc == pytest.approx(auc(run.label, run.score))
    rng, drawn = np.random.default_rng(3), []
    for _ in range(1500):
        rows = np.concatenate(
            [
                rng.choice(m, len(m))
                for m in (np.flatnonzero(run.label == v) for v in (0, 1))
            ]
        )
        drawn.append(share_in_order(run.label[rows], run.score[rows]))
    np.testing.assert_allclose(found.ci95, np.percentile(drawn, (2.5, 97.5)), atol=0.02)


def test_a_small_group_is_said_and_not_measured():
    run = made_up_run(1.5)
    few = np.flatnonzero(run.label == 1)[: LEAST - 1]
    values = {
        name: "rare" if number in few else "common"
        for number, name in enumerate(run.case_id)
    }

    _, rare = subgroups(run, values, column="subsite", draws=20)

    assert rare.note == f"too few to measure: {LEAST - 1} with pCR and 0 without"
    assert (rare.auc, rare.sen, rare.ci95) == (None, None, (None, None))
    assert rare.n == LEAST - 1


def test_a_blank_cell_is_a_group_of_its_own_and_comes_last():
    run = made_up_run(1.5)
    values = by_half(run)
    values[run.case_id[0]] = " "
    del values[run.case_id[1]]

    found = subgroups(run, values, column="center", draws=20)

    assert [group.value for group in found] == ["a", "b", NOT_STATED]
    assert found[-1].n == 2


def test_a_case_of_several_repeats_counts_once():
    run = made_up_run(1.5)
    twice = HeldOut(
        case_id=run.case_id * 2,
        fold=np.concatenate([run.fold, run.fold + 3]),
        label=np.tile(run.label, 2),
        score=np.tile(run.score, 2),
        threshold=np.tile(run.threshold, 2),
    )

    once = subgroups(run, by_half(run), column="center", draws=200)
    found = subgroups(twice, by_half(run), column="center", draws=200)

    assert [(g.n, g.auc) for g in found] == [(g.n, g.auc) for g in once]
    widths = [[g.ci95[1] - g.ci95[0] for g in groups] for groups in (once, found)]
    assert widths[0] == pytest.approx(widths[1], rel=0.15)


def test_predictions_are_read_in_an_order_that_pairs_runs(tmp_path):
    (tmp_path / "predictions.csv").write_text(
        "case_id,fold,pcr,probability,threshold\n"
        "C2,1,0,0.2,0.4\nC9,0,1,0.7,0.5\nC1,1,1,0.8,0.4\nC5,0,,0.3,0.5\n"
    )

    found = read_held_out(tmp_path)

    assert found.case_id == ("C9", "C1", "C2")
    assert [fold.threshold for fold in found.folds] == [0.5, 0.4]
    np.testing.assert_array_equal(found.folds[1].score, [0.8, 0.2])


def test_a_run_without_predictions_is_said(tmp_path):
    with pytest.raises(ModelError, match="train it to its end"):
        read_held_out(tmp_path)
    (tmp_path / "predictions.csv").write_text("case_id,fold,pcr\nC1,0,1\n")
    with pytest.raises(ModelError, match="cannot be read"):
        read_held_out(tmp_path)


def test_runs_on_other_cases_are_not_compared():
    run, other = made_up_run(1.5), made_up_run(1.5, cases=63)

    require_same_cases(run, made_up_run(0.5, seed=4), names=("one", "two"))
    with pytest.raises(TrainingError, match=r"one and two .* first C060"):
        require_same_cases(run, other, names=("one", "two"))
