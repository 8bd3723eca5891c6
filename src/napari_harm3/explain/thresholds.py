"""Where a map is cut: a share of its peak, chosen on the cases of training.

A threshold that is chosen on the very case that is measured flatters the map. Each
network of a cross-validation was fitted on other cases than it is asked about, and on
those the share is chosen.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

from napari_harm3.explain.measures import dice

SHARES = tuple(np.linspace(0.05, 0.95, 19).round(2).tolist())
"""Shares of the peak among which one is chosen."""

FITTED = "the model was fitted on this case"
NONE_FITTED = "the model was fitted on no annotated case of this cohort"
NOT_MADE = "this map is not made of the cases of training"

Curve = Sequence[float]
"""Dice at each of `SHARES`."""


def dice_by_share(
    heat: Float[np.ndarray, "*voxels"], mask: Bool[np.ndarray, "*voxels"]
) -> list[float]:
    """Return the Dice of a map, cut at each share of its peak; it has one."""
    peak = heat.max()
    return [dice(heat >= share * peak, mask) for share in SHARES]


def best_share(curves: Iterable[Curve]) -> float:
    """Return the share of the peak at which the mean Dice is best.

    Parameters
    ----------
    curves
        Of the volumes of cases that the model was fitted on, never of those to be
        measured; by `dice_by_share`, of voxels that the model saw.

    Raises
    ------
    ValueError
        If there are none.
    """
    rows = list(curves)
    if not rows:
        raise ValueError("there is no map with an annotation to choose a share on")
    return SHARES[int(np.argmax(np.mean(rows, axis=0)))]


@dataclass
class TrainingCurves:
    """What maps reach on the cases that each fold was fitted on."""

    _by_map: dict[str, dict[int, list[Curve]]] = field(default_factory=dict)

    def add(self, map_name: str, fold: int, curves: Iterable[Curve]) -> None:
        """Note the volumes of a case that a fold was fitted on."""
        self._by_map.setdefault(map_name, {}).setdefault(fold, []).extend(curves)

    def choice(
        self, map_name: str, folds: Iterable[int], *, seen: str
    ) -> tuple[float | None, str]:
        """Return the share for a case, or None and why there is none.

        Parameters
        ----------
        map_name
            As it was noted.
        folds, seen
            Which folds are asked of the case, and whether they know it; see
            `inference.predictor.Sight`.
        """
        if seen == "in-training":
            return None, FITTED
        by_fold = self._by_map.get(map_name)
        if by_fold is None:
            return None, NOT_MADE if self._by_map else NONE_FITTED
        # Every fold has the same say, however many volumes it was fitted on.
        means = [np.mean(by_fold[f], axis=0) for f in folds if by_fold.get(f)]
        if not means:
            return None, NONE_FITTED
        return best_share([mean.tolist() for mean in means]), ""
