"""Figures of a run: how it discriminates, and how it was trained."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from napari_harm3.report.look import ACCENT, PAPER, plain
from napari_harm3.training.curves import roc_points


def roc_figure(folds: Sequence[tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Return the ROC curve of each fold, from labels and scores."""
    figure, axis = _framed("False-positive rate", "Sensitivity")
    axis.plot([0, 1], [0, 1], color="#9aa5b1", linewidth=1, linestyle="--")
    for number, (label, score) in enumerate(folds):
        if len(np.unique(label)) == 2:
            axis.plot(
                *roc_points(label, score),
                linewidth=1.6,
                alpha=0.8,
                label=f"fold {number}",
            )
    axis.legend(frameon=False, fontsize=8)
    axis.set_aspect("equal")
    return figure


def training_figure(losses: Mapping[int, Sequence[tuple[int, float]]]) -> Figure:
    """Return the loss of each fold: epochs, from 1 on, each with its loss."""
    figure, axis = _framed("Epoch", "Loss")
    for fold, points in losses.items():
        epochs = [epoch for epoch, _ in points]
        axis.plot(epochs, [loss for _, loss in points], label=f"fold {fold}")
    axis.legend(frameon=False, fontsize=8)
    return figure


def score_figure(label: np.ndarray, score: np.ndarray) -> Figure:
    """Return how the held-out scores of both classes lie."""
    figure, axis = _framed("Held-out probability of pCR", "Cases")
    bins = np.linspace(0, 1, 21).tolist()
    for value, name, colour in ((0, "no pCR", "#8d99ae"), (1, "pCR", ACCENT)):
        axis.hist(score[label == value], bins, alpha=0.7, label=name, color=colour)
    axis.legend(frameon=False, fontsize=8)
    return figure


def _framed(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.4, 3.6), facecolor=PAPER, layout="constrained")
    axis = figure.subplots()
    plain(axis, x, y)
    return figure, axis
