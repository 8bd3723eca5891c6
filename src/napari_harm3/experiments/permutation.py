"""Shuffled labels: whatever still finds something is wrong."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_harm3.data.prepare import PreparedCase
from napari_harm3.training.metrics import null_standard_error

MOST_ERRORS = 3
"""Standard errors of chance within which each method's AUC must lie."""

MOST_MEAN = 0.05
"""Distance from 0.5 within which the mean over methods and permutations must lie."""


@dataclass(frozen=True, kw_only=True)
class Sanity:
    """What shuffled labels came to."""

    auc: Mapping[str, Sequence[float]]
    """Of each method, by permutation."""

    bound: float
    """Furthest from 0.5 that chance explains."""

    @property
    def mean(self) -> float | None:
        """Return the mean over methods and permutations; None if there is none."""
        values = [value for values in self.auc.values() for value in values]
        return float(np.mean(values)) if values else None

    @property
    def outside(self) -> tuple[str, ...]:
        """Return the methods whose mean AUC chance does not explain."""
        return tuple(
            name
            for name, values in self.auc.items()
            if values and abs(float(np.mean(values)) - 0.5) > self.bound
        )

    @property
    def unmeasured(self) -> tuple[str, ...]:
        """Return the methods of which no permutation gave an AUC."""
        return tuple(name for name, values in self.auc.items() if not values)

    @property
    def passed(self) -> bool:
        """Whether every method was tried, and nothing was found where nothing is."""
        return (
            not self.outside
            and not self.unmeasured
            and self.mean is not None
            and abs(self.mean - 0.5) <= MOST_MEAN
        )

    @property
    def notes(self) -> list[str]:
        """Return what a table says of it, in sentences."""
        told = "passed" if self.passed else "NOT passed"
        mean = "undefined" if self.mean is None else f"{self.mean:.3f}"
        note = (
            f"Shuffled labels: {told}; mean AUC {mean} over methods and permutations, "
            f"each within {self.bound:.3f} of 0.5 but for "
            f"{', '.join(self.outside) or 'none'}."
        )
        if not self.unmeasured:
            return [note]
        names = ", ".join(self.unmeasured)
        unsaid = f"Shuffled labels say nothing of {names}: no permutation gave an AUC."
        return [note, unsaid]

    def to_plain(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "auc": {name: list(values) for name, values in self.auc.items()},
            "bound": self.bound,
            "mean": self.mean,
            "outside": list(self.outside),
            "unmeasured": list(self.unmeasured),
            "passed": self.passed,
        }


def chance_bound(labels: Sequence[int]) -> float:
    """Return how far from 0.5 the AUC of scores that mean nothing may lie."""
    positives = sum(labels)
    return MOST_ERRORS * null_standard_error(positives, len(labels) - positives)


def permuted(prepared: Sequence[PreparedCase], *, seed: int) -> list[PreparedCase]:
    """Return cases with each other's labels; given folds are dropped with them."""
    labels = [one.case.pcr for one in prepared]
    random.Random(f"{seed}/permuted").shuffle(labels)
    return [
        replace(one, case=replace(one.case, pcr=label, fold=None))
        for one, label in zip(prepared, labels, strict=True)
    ]
