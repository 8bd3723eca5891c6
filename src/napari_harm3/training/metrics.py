"""The paper's five metrics (section 3.1), and four that it lacks.

pCR is the positive class. AUC and AP come from scores only. A mean over folds is the
paper's figure; its interval resamples patients within fold and class.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from sklearn import metrics as sk

from napari_harm3.errors import TrainingError
from napari_harm3.training.resampling import drawn_patients, weighted_auc

NAMES = ("auc", "acc", "f1", "sen", "spe", "f1_macro", "balanced_acc", "ap", "brier")
DRAWS = 2000
Figures = dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class FoldScores:
    """The held-out cases of one fold."""

    label: Int[np.ndarray, "n"]
    score: Float[np.ndarray, "n"]
    """Probability of pCR."""

    threshold: float = 0.5
    """Chosen on the fold's inner part; never on the cases here."""

    case_id: tuple[str, ...] = ()
    """By which repeats know a case again; without them, each row is one of its own."""

    patient: tuple[str, ...] = ()
    """Whose each case is; without them, each case is a patient of its own."""


def auc(label: Int[np.ndarray, "n"], score: Float[np.ndarray, "n"]) -> float | None:
    """Return the area under the ROC curve; None if there is one class only.

    Raises
    ------
    TrainingError
        If the scores are hard labels, whose "AUC" is the balanced accuracy. Scores
        that are all alike are none: whoever always says the same may say 0.
    """
    if np.array_equal(np.unique(score), (0, 1)):
        raise TrainingError(
            "AUC needs scores, and these are hard labels (all 0 or 1): give the "
            "probabilities."
        )
    if len(np.unique(label)) < 2:
        return None
    return float(sk.roc_auc_score(label, score))


def figures(
    label: Int[np.ndarray, "n"],
    score: Float[np.ndarray, "n"],
    threshold: float = 0.5,
    *,
    logit: Float[np.ndarray, "n"] | None = None,
) -> Figures:
    """Return every metric of one set of cases; an undefined one is None.

    Parameters
    ----------
    label, score
        Of each case; the score is a probability.
    threshold
        From which on pCR is said.
    logit
        By which AUC and AP order the cases, where it is known: of high probabilities
        many are 1.
    """
    order = score if logit is None else logit
    said = (score >= threshold).astype(int)
    both = len(np.unique(label)) == 2
    positives = bool((label == 1).any())
    sen = float(said[label == 1].mean()) if positives else None
    spe = float((1 - said[label == 0]).mean()) if (label == 0).any() else None
    halves = None if sen is None or spe is None else (sen + spe) / 2
    return {
        "auc": auc(label, order),
        "acc": float(sk.accuracy_score(label, said)),
        "f1": float(sk.f1_score(label, said, zero_division=0)) if positives else None,
        "sen": sen,
        "spe": spe,
        "f1_macro": float(
            sk.f1_score(label, said, labels=[0, 1], average="macro", zero_division=0)
        )
        if both
        else None,
        "balanced_acc": halves,
        "ap": float(sk.average_precision_score(label, order)) if positives else None,
        "brier": float(np.mean((score - label) ** 2)),
    }


def cross_validated(
    folds: Sequence[FoldScores], *, draws: int = DRAWS, seed: int = 0
) -> dict[str, Any]:
    """Return the ``metrics`` object of a run.

    Each metric has ``mean`` and ``sd`` over the folds that define it, ``pooled`` over
    all held-out scores, and ``ci95`` of the mean by bootstrap of patients within fold
    and class, where the folds of every repeat see the same draw; ``n`` counts a case
    once.

    Raises
    ------
    TrainingError
        If there are no cases, or the scores are hard labels.
    """
    if not folds:
        raise TrainingError("There are no held-out cases with a label to measure on.")
    label = np.concatenate([fold.label for fold in folds])
    score = np.concatenate([fold.score for fold in folds])
    prevalence = float(label.mean())
    result = _summary(folds, figures(label, score), draws=draws, seed=seed)
    inner = [figures(fold.label, fold.score, fold.threshold) for fold in folds]
    chosen = ("acc", "f1", "sen", "spe", "f1_macro", "balanced_acc")
    return result | {
        "n": _cases(folds),
        "prevalence": prevalence,
        "majority_acc": max(prevalence, 1 - prevalence),
        "at_inner_threshold": {
            name: _mean_and_sd([fold[name] for fold in inner]) for name in chosen
        },
    }


def null_standard_error(positives: int, negatives: int) -> float:
    """Return the standard error of the AUC of scores that mean nothing."""
    return float(np.sqrt((positives + negatives + 1) / (12 * positives * negatives)))


def _summary(
    folds: Sequence[FoldScores], pooled: Figures, *, draws: int, seed: int
) -> dict[str, Any]:
    each = [figures(fold.label, fold.score) for fold in folds]
    rng = np.random.default_rng(seed)
    labels = [fold.label for fold in folds]
    groups = list(zip(labels, _patients(folds), strict=True))
    weights = drawn_patients(groups, draws, rng)
    resampled = [_resampled(*pair) for pair in zip(folds, weights, strict=True)]
    summary: dict[str, Any] = {}
    for name in NAMES:
        draw = np.stack([fold[name] for fold in resampled])
        defined = ~np.isnan(draw)
        interval: list[float | None] = [None, None]
        if defined.any():
            seen = defined.any(axis=0)
            means = np.nansum(draw[:, seen], axis=0) / defined[:, seen].sum(axis=0)
            interval = [float(v) for v in np.percentile(means, (2.5, 97.5))]
        summary[name] = {
            **_mean_and_sd([fold[name] for fold in each]),
            "pooled": pooled[name],
            "ci95": interval,
        }
    return summary


def _mean_and_sd(values: Sequence[float | None]) -> Figures:
    defined = [value for value in values if value is not None]
    return {
        "mean": float(np.mean(defined)) if defined else None,
        "sd": float(np.std(defined, ddof=1)) if len(defined) > 1 else None,
    }


def _cases(folds: Sequence[FoldScores]) -> int:
    """Return how many cases there are; repeats hold each out more than once."""
    named = {name for fold in folds for name in fold.case_id}
    return len(named) + sum(len(f.label) for f in folds if not f.case_id)


def _patients(folds: Sequence[FoldScores]) -> list[Sequence[Hashable]]:
    """Return whose each case of each fold is, as far as the folds say it."""
    return [
        fold.patient
        or fold.case_id
        or [(number, row) for row in range(len(fold.label))]
        for number, fold in enumerate(folds)
    ]


def _resampled(
    fold: FoldScores, weight: Float[np.ndarray, "draws n"]
) -> Mapping[str, Float[np.ndarray, "draws"]]:
    """Return every metric on bootstrap samples of a fold; NaN where it has none.

    How often each case was drawn is a weight; all metrics are sums of weights.
    """
    label, score = fold.label, fold.score
    positive, said = label == 1, score >= 0.5
    tp = weight[:, positive & said].sum(1)
    fn = weight[:, positive & ~said].sum(1)
    fp = weight[:, ~positive & said].sum(1)
    tn = weight[:, ~positive & ~said].sum(1)
    yes, no = tp + fn > 0, tn + fp > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        sen, spe = tp / (tp + fn), tn / (tn + fp)
        f1_no = np.nan_to_num(2 * tn / (2 * tn + fp + fn))
        f1_yes = np.nan_to_num(2 * tp / (2 * tp + fp + fn))
        return {
            "auc": weighted_auc(label, score, weight),
            "acc": (tp + tn) / weight.sum(1),
            "f1": np.where(yes, f1_yes, np.nan),
            "sen": sen,
            "spe": spe,
            "f1_macro": np.where(yes & no, (f1_yes + f1_no) / 2, np.nan),
            "balanced_acc": (sen + spe) / 2,
            "ap": _weighted_ap(label, score, weight),
            "brier": (weight * (score - label) ** 2).sum(1) / weight.sum(1),
        }


def _weighted_ap(
    label: Int[np.ndarray, "n"],
    score: Float[np.ndarray, "n"],
    weight: Float[np.ndarray, "draws n"],
) -> Float[np.ndarray, "draws"]:
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.diff(score[order]) != 0, True)  # ties share one threshold
    tp = (weight[:, order] * label[order]).cumsum(1)[:, ends]
    taken = weight[:, order].cumsum(1)[:, ends]
    precision = np.nan_to_num(tp / taken)
    recall = tp / tp[:, -1:]
    steps = np.diff(recall, axis=1, prepend=0)
    return np.asarray((precision * steps).sum(1))
