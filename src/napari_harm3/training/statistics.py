"""Whether two methods differ, by tests on the held-out scores of the same cases.

The AUC of a run is the mean of its folds' AUCs, so DeLong's variances are taken fold
by fold and combined; pooled scores would mix models of different calibration. What
is not defined is None.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from napari_harm3.errors import TrainingError
from napari_harm3.training.metrics import FoldScores, auc

Interval = tuple[float | None, float | None]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A difference with what is known of its error."""

    difference: float | None = None
    se: float | None = None
    statistic: float | None = None
    """z of DeLong's test, t of the corrected one."""

    p: float | None = None
    """Two-sided, against no difference."""

    ci95: Interval = (None, None)


@dataclass(frozen=True, kw_only=True)
class Against:
    """A method against the reference, on the same cases; positive is better."""

    auc: Difference = Difference()
    """By DeLong's variances."""

    p_holm: float | None = None
    """DeLong's p, corrected for all methods compared."""

    corrected_t: Difference = Difference()
    """Of the folds' AUCs, after Nadeau and Bengio."""

    sen_p: float | None = None
    """McNemar's exact p on the cases with pCR."""

    spe_p: float | None = None
    """McNemar's exact p on the cases without."""


def delong(
    label: Int[np.ndarray, "n"], scores: Float[np.ndarray, "methods n"]
) -> tuple[Float[np.ndarray, "methods"], Float[np.ndarray, "methods methods"]]:
    """Return the AUC of each row of scores, and the covariance of these AUCs.

    DeLong et al. 1988, by mid-ranks as Sun and Xu 2014. The covariance is NaN where a
    class has a single case; both classes must be there.
    """
    yes, no = scores[:, label == 1], scores[:, label == 0]
    positives, negatives = yes.shape[1], no.shape[1]
    ranks = stats.rankdata(np.hstack([yes, no]), axis=1)
    # The share of the other class that each case is on the right side of.
    placed_yes = (ranks[:, :positives] - stats.rankdata(yes, axis=1)) / negatives
    placed_no = 1 - (ranks[:, positives:] - stats.rankdata(no, axis=1)) / positives
    if min(positives, negatives) < 2:
        covariance = np.full((len(scores), len(scores)), np.nan)
    else:
        covariance = np.cov(placed_yes) / positives + np.cov(placed_no) / negatives
    return placed_yes.mean(axis=1), np.atleast_2d(covariance)


def delong_paired(
    folds: Sequence[FoldScores], reference: Sequence[FoldScores], *, repeats: int = 1
) -> Difference:
    """Return how much better the mean AUC is than that of the reference.

    Parameters
    ----------
    folds, reference
        The same cases in the same order.
    repeats
        Of the cross-validation. A repeat sees the same patients again, so it makes the
        error no smaller than that of one.

    Raises
    ------
    TrainingError
        If the cases are not the same, or the scores are hard labels.
    """
    _require_pairs(folds, reference)
    aucs, covariance = _combined([folds, reference], repeats)
    if aucs is None or covariance is None:
        return Difference()
    contrast = np.array([1.0, -1.0])
    return _normal(float(contrast @ aucs), float(contrast @ covariance @ contrast))


def corrected_t(
    differences: Sequence[float | None], *, test_over_train: float
) -> Difference:
    """Return the resampled t-test of fold differences, corrected for shared cases.

    Nadeau and Bengio 2003: the folds' training parts overlap, so the variance of their
    mean is (1/K + test/train) of theirs, not 1/K.
    """
    values = np.array([value for value in differences if value is not None])
    if len(values) == 0:
        return Difference()
    mean = float(values.mean())
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    if np.isclose(spread, 0, atol=1e-12):
        return Difference(difference=mean)
    se = spread * float(np.sqrt(1 / len(values) + test_over_train))
    freedom = len(values) - 1
    reach = float(stats.t.ppf(0.975, freedom)) * se
    return Difference(
        difference=mean,
        se=se,
        statistic=mean / se,
        p=float(2 * stats.t.sf(abs(mean / se), freedom)),
        ci95=(mean - reach, mean + reach),
    )


def mcnemar(
    right: Bool[np.ndarray, "n"], reference: Bool[np.ndarray, "n"]
) -> float | None:
    """Return the exact p of one method being right more often than the other."""
    if len(right) == 0:
        return None
    mine = int((right & ~reference).sum())
    theirs = int((~right & reference).sum())
    if mine + theirs == 0:
        return 1.0
    return float(stats.binomtest(mine, mine + theirs, 0.5).pvalue)


def mcnemar_paired(
    folds: Sequence[FoldScores],
    reference: Sequence[FoldScores],
    *,
    threshold: float = 0.5,
) -> tuple[float | None, float | None]:
    """Return McNemar's p of sensitivity and of specificity, on pooled decisions.

    Raises
    ------
    TrainingError
        If the cases are not the same.
    """
    _require_pairs(folds, reference)
    label = np.concatenate([fold.label for fold in folds])
    right, theirs = (
        (np.concatenate([fold.score for fold in each]) >= threshold) == label
        for each in (folds, reference)
    )
    sen, spe = (mcnemar(right[label == v], theirs[label == v]) for v in (1, 0))
    return sen, spe


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p values corrected for their number, in their order; None is no test."""
    given = np.array([np.nan if p is None else p for p in p_values], dtype=float)
    order = np.argsort(given)[: int((~np.isnan(given)).sum())]
    factors = np.arange(len(order), 0, -1)
    steps = np.maximum.accumulate(np.minimum(given[order] * factors, 1))
    corrected: list[float | None] = [None] * len(p_values)
    for position, value in zip(order.tolist(), steps.tolist(), strict=True):
        corrected[position] = value
    return corrected


def against(
    reference: Sequence[FoldScores],
    others: Mapping[str, Sequence[FoldScores]],
    *,
    repeats: int = 1,
) -> dict[str, Against]:
    """Return every test of each method against the reference.

    Raises
    ------
    TrainingError
        If the cases of a method are not those of the reference.
    """
    aucs = {
        name: delong_paired(folds, reference, repeats=repeats)
        for name, folds in others.items()
    }
    corrected = holm([found.p for found in aucs.values()])
    once = len(reference) // repeats  # each case once, as McNemar's test wants it
    compared = {}
    for (name, folds), p_holm in zip(others.items(), corrected, strict=True):
        sen_p, spe_p = mcnemar_paired(folds[:once], reference[:once])
        compared[name] = Against(
            auc=aucs[name],
            p_holm=p_holm,
            corrected_t=corrected_t(
                fold_differences(folds, reference),
                test_over_train=1 / max(once - 1, 1),
            ),
            sen_p=sen_p,
            spe_p=spe_p,
        )
    return compared


def fold_differences(
    folds: Sequence[FoldScores], reference: Sequence[FoldScores]
) -> list[float | None]:
    """Return the AUC of each fold less that of the reference."""
    pairs = [
        (auc(mine.label, mine.score), auc(theirs.label, theirs.score))
        for mine, theirs in zip(folds, reference, strict=True)
    ]
    return [
        None if mine is None or theirs is None else mine - theirs
        for mine, theirs in pairs
    ]


def _combined(
    methods: Sequence[Sequence[FoldScores]], repeats: int
) -> tuple[Float[np.ndarray, "m"] | None, Float[np.ndarray, "m m"] | None]:
    """Return the mean AUCs over folds and their covariance, sum over K squared."""
    found = []
    for same_cases in zip(*methods, strict=True):
        label = same_cases[0].label
        # `auc` refuses hard labels, and knows a fold of one class.
        if None not in [auc(fold.label, fold.score) for fold in same_cases]:
            found.append(delong(label, np.stack([fold.score for fold in same_cases])))
    if not found:
        return None, None
    aucs, covariances = (np.stack(part) for part in zip(*found, strict=True))
    return aucs.mean(axis=0), repeats * covariances.sum(axis=0) / len(found) ** 2


def _normal(value: float, variance: float) -> Difference:
    if np.isnan(variance):
        return Difference(difference=value)
    se = float(np.sqrt(max(variance, 0.0)))
    reach = float(stats.norm.ppf(0.975)) * se
    if np.isclose(se, 0, atol=1e-12):
        return Difference(difference=value, se=0.0, ci95=(value, value))
    z = value / se
    return Difference(
        difference=value,
        se=se,
        statistic=z,
        p=float(2 * stats.norm.sf(abs(z))),
        ci95=(value - reach, value + reach),
    )


def _require_pairs(one: Sequence[FoldScores], other: Sequence[FoldScores]) -> None:
    same = len(one) == len(other) and all(
        np.array_equal(mine.label, theirs.label)
        and (mine.case_id == theirs.case_id or not (mine.case_id and theirs.case_id))
        for mine, theirs in zip(one, other, strict=True)
    )
    if not same:
        raise TrainingError(
            "Two methods can be compared only on the same cases in the same folds: "
            "train both on one cohort table with one seed."
        )
