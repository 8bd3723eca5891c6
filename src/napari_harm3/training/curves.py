"""The points of ROC and precision-recall curves."""

import numpy as np
from jaxtyping import Float, Int
from sklearn import metrics as sk

Curve = tuple[Float[np.ndarray, "points"], Float[np.ndarray, "points"]]


def roc_points(label: Int[np.ndarray, "n"], score: Float[np.ndarray, "n"]) -> Curve:
    """Return false-positive rate and sensitivity; both classes must be there."""
    false, true, _ = sk.roc_curve(label, score)
    return false, true


def pr_points(label: Int[np.ndarray, "n"], score: Float[np.ndarray, "n"]) -> Curve:
    """Return recall, rising, and precision; some case must have pCR."""
    precision, recall, _ = sk.precision_recall_curve(label, score)
    return recall[::-1], precision[::-1]
