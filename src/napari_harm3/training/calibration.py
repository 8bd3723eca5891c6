"""Whether a probability of pCR can be taken at its word, and what acting on it gains.

Thresholds are never chosen on the cases they are used on: a fold's own threshold comes
from its inner part, the decision curve shows all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import expit, logit

from napari_harm3.training.metrics import FoldScores

BINS = 15
CLIP = 1e-6
"""Scores are kept this far from 0 and 1, where a logit has no end."""

STEEPEST = 1e3
"""A slope beyond this means that the classes are separate: there is none to fit."""

Label = Int[np.ndarray, "n"]
Score = Float[np.ndarray, "n"]


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Cases in bins of equal size by their score."""

    score: Float[np.ndarray, "bins"]
    """Mean probability of a bin."""

    observed: Float[np.ndarray, "bins"]
    """Share of pCR in it."""

    low: Float[np.ndarray, "bins"]
    high: Float[np.ndarray, "bins"]
    """Wilson's 95 % interval of that share."""

    count: Int[np.ndarray, "bins"]


@dataclass(frozen=True, kw_only=True)
class DecisionCurve:
    """Net benefit per case of treating as pCR whoever reaches a threshold."""

    threshold: Float[np.ndarray, "t"]
    model: Float[np.ndarray, "t"]
    treat_all: Float[np.ndarray, "t"]
    treat_none: Float[np.ndarray, "t"]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Of all held-out scores together; None where not defined."""

    brier: float
    ece: float
    """Expected calibration error over bins of equal size."""

    slope: float | None
    """1 is right; below it, the scores are too extreme."""

    intercept: float | None
    """Fitted together with the slope; 0 is right."""

    in_the_large: float | None
    """Intercept with the slope held at 1: above 0, pCR is said too rarely."""


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Counts of decisions; pCR is positive."""

    tp: int
    fn: int
    fp: int
    tn: int

    @property
    def sen(self) -> float | None:
        """The share of pCR that was found."""
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else None

    @property
    def spe(self) -> float | None:
        """The share of the others that was left alone."""
        return self.tn / (self.tn + self.fp) if self.tn + self.fp else None


def calibration(folds: Sequence[FoldScores]) -> Calibration:
    """Return how far the held-out probabilities can be taken at their word."""
    label, score = pooled(folds)
    slope, intercept = slope_and_intercept(label, score)
    return Calibration(
        brier=float(np.mean((score - label) ** 2)),
        ece=expected_error(label, score),
        slope=slope,
        intercept=intercept,
        in_the_large=in_the_large(label, score),
    )


def expected_error(label: Label, score: Score, *, bins: int = BINS) -> float:
    """Return the mean distance of said and observed pCR over bins of equal size."""
    found = reliability(label, score, bins=bins)
    return float(np.average(np.abs(found.score - found.observed), weights=found.count))


def reliability(label: Label, score: Score, *, bins: int = BINS) -> Reliability:
    """Return what came of the cases of each bin; equal scores share a bin."""
    below = np.searchsorted(np.sort(score), score)  # how many cases score less
    member = below * bins // len(score)
    every = np.bincount(member, minlength=bins)
    used = every > 0
    count = every[used]
    observed = np.bincount(member, label, bins)[used] / count
    low, high = _wilson(observed, count)
    return Reliability(
        score=np.bincount(member, score, bins)[used] / count,
        observed=observed,
        low=low,
        high=high,
        count=count,
    )


def slope_and_intercept(
    label: Label, score: Score
) -> tuple[float | None, float | None]:
    """Return the logistic regression of the label on the score's logit.

    Unpenalised, by Newton's method; None where there is one class, or the classes are
    separate, or all scores are equal.
    """
    said = _logit(score)
    if len(np.unique(label)) < 2 or np.ptp(said) == 0:
        return None, None
    design = np.stack([said, np.ones_like(said)], axis=1)
    fitted = _newton(design, label, np.zeros_like(said))
    return (None, None) if fitted is None else (float(fitted[0]), float(fitted[1]))


def in_the_large(label: Label, score: Score) -> float | None:
    """Return the intercept of that regression with the slope held at 1."""
    if len(np.unique(label)) < 2:
        return None
    fitted = _newton(np.ones((len(label), 1)), label, _logit(score))
    return None if fitted is None else float(fitted[0])


def decision_curve(
    label: Label,
    score: Score,
    thresholds: Float[np.ndarray, "t"] | None = None,
) -> DecisionCurve:
    """Return the net benefit of acting at each threshold (Vickers and Elkin 2006).

    A false alarm costs the odds of the threshold at which one would act.
    """
    at = np.linspace(0.01, 0.99, 99) if thresholds is None else thresholds
    odds = at / (1 - at)
    treated = score >= at[:, None]
    prevalence = label.mean()
    right = (treated & (label == 1)).mean(axis=1)
    wrong = (treated & (label == 0)).mean(axis=1)
    return DecisionCurve(
        threshold=at,
        model=right - odds * wrong,
        treat_all=prevalence - odds * (1 - prevalence),
        treat_none=np.zeros_like(at),
    )


def confusion(
    folds: Sequence[FoldScores], *, threshold: float | None = None
) -> Confusion:
    """Return the decisions of all folds.

    Parameters
    ----------
    folds
        Held-out scores.
    threshold
        None for each fold's own, chosen on its inner part.
    """
    label = np.concatenate([fold.label for fold in folds])
    said = np.concatenate(
        [
            fold.score >= (fold.threshold if threshold is None else threshold)
            for fold in folds
        ]
    )
    counts = np.bincount(2 * label + said, minlength=4)
    tn, fp, fn, tp = counts.tolist()
    return Confusion(tp=tp, fn=fn, fp=fp, tn=tn)


def pooled(folds: Sequence[FoldScores]) -> tuple[Label, Score]:
    """Return the labels and the scores of all folds together."""
    return (
        np.concatenate([fold.label for fold in folds]),
        np.concatenate([fold.score for fold in folds]),
    )


def _logit(score: Score) -> Score:
    return np.asarray(logit(np.clip(score, CLIP, 1 - CLIP)))


def _newton(
    design: Float[np.ndarray, "n k"], label: Label, offset: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "k"] | None:
    """Return the coefficients of a logistic regression, or None if none are best."""
    beta = np.zeros(design.shape[1])
    for _ in range(100):
        said = expit(design @ beta + offset)
        weight = said * (1 - said)
        curvature = (design * weight[:, None]).T @ design
        if np.linalg.cond(curvature) > 1e12:
            return None
        step = np.linalg.solve(curvature, design.T @ (label - said))
        beta += np.clip(step, -5, 5)  # a full step from far off may overshoot
        if np.abs(beta).max() > STEEPEST:
            return None
        if np.abs(step).max() < 1e-10:
            return beta
    return None


def _wilson(
    share: Float[np.ndarray, "bins"], count: Int[np.ndarray, "bins"]
) -> tuple[Float[np.ndarray, "bins"], Float[np.ndarray, "bins"]]:
    z = 1.959964
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    reach = np.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    reach = reach * z / (1 + z**2 / count)
    return np.maximum(centre - reach, 0), np.minimum(centre + reach, 1)
