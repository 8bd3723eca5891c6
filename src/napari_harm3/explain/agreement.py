"""How far a heat map agrees with a voxel annotation.

Every figure stands between two others: what a map that says nothing would reach
(``chance``), and what the best map of the same coarseness could (``ceiling``): the
annotation itself, averaged over the cells of the map.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from napari_harm3.mri.annotation import LABELS
from napari_harm3.mri.resampling import resample, to_native
from napari_harm3.mri.volume import Geometry

DICE_SHARE = 0.5
"""Dice is taken where the map exceeds this share of its peak."""

Measures = dict[str, Any]


def agreement(
    heat: Float[np.ndarray, "X Y Z"],
    annotation: UInt8[np.ndarray, "X Y Z"] | None,
    native: Geometry,
    cells: Geometry,
) -> Measures:
    """Return pointing game, energy and Dice, for the union of labels and for each.

    Parameters
    ----------
    heat
        Map on the volume's own grid; zero outside the model's field of view.
    annotation
        Labels on the same grid, or None.
    native
        That grid.
    cells
        Grid of the map's cells, whose coarseness sets the ceiling.

    Returns
    -------
    :
        ``{"pointing_game": {"value", "chance", "ceiling"}, "energy", "dice"}`` and
        ``labels``, or ``{"not_applicable": reason}``.
    """
    reason = _not_applicable(heat, annotation)
    if reason or annotation is None:
        return {"not_applicable": reason}
    seen = _seen(native, cells)
    measures = _measures(heat, annotation > 0, seen, native, cells)
    labels = [value for value in LABELS if (annotation == value).any()]
    measures["labels"] = {
        LABELS[value]: _measures(heat, annotation == value, seen, native, cells)
        for value in labels
    }
    return measures


def _not_applicable(
    heat: Float[np.ndarray, "X Y Z"], annotation: UInt8[np.ndarray, "X Y Z"] | None
) -> str:
    if annotation is None:
        return "not annotated"
    if not annotation.any():
        return "annotated as free of visible lesion"
    if not heat.any():
        return "no positive evidence in this volume"
    return ""


def _measures(
    heat: Float[np.ndarray, "X Y Z"],
    mask: Bool[np.ndarray, "X Y Z"],
    seen: Bool[np.ndarray, "X Y Z"],
    native: Geometry,
    cells: Geometry,
) -> Measures:
    best = _best_map(mask, native, cells)
    share = float((mask & seen).sum() / seen.sum())
    return {
        "pointing_game": {
            "value": pointing_game(heat, mask),
            "chance": share,
            "ceiling": pointing_game(best, mask),
        },
        "energy": {
            "value": energy(heat, mask),
            "chance": share,
            "ceiling": energy(best, mask),
        },
        "dice": {
            "value": dice(heat >= DICE_SHARE * heat.max(), mask),
            # A map that says nothing marks everything that it sees.
            "chance": dice(seen, mask),
            "ceiling": _best_dice(best, mask),
        },
    }


def pointing_game(
    heat: Float[np.ndarray, "X Y Z"], mask: Bool[np.ndarray, "X Y Z"]
) -> float:
    """Return the share of the map's highest voxels that lie in the annotation."""
    peak = heat.max()
    return float(mask[heat == peak].mean()) if peak > 0 else 0.0


def energy(heat: Float[np.ndarray, "X Y Z"], mask: Bool[np.ndarray, "X Y Z"]) -> float:
    """Return the share of the map's sum that lies in the annotation."""
    total = float(heat.sum(dtype=np.float64))
    return float(heat[mask].sum(dtype=np.float64) / total) if total > 0 else 0.0


def dice(one: Bool[np.ndarray, "X Y Z"], other: Bool[np.ndarray, "X Y Z"]) -> float:
    """Return twice the overlap over the sum of both."""
    both = int(one.sum()) + int(other.sum())
    return float(2 * (one & other).sum() / both) if both else 0.0


def _best_map(
    mask: Bool[np.ndarray, "X Y Z"], native: Geometry, cells: Geometry
) -> Float[np.ndarray, "X Y Z"]:
    """Return the annotation as a map of these cells would show it."""
    coarse = resample(mask.astype(np.float32), native, cells)
    return to_native(coarse, cells.affine, native)


def _best_dice(
    best: Float[np.ndarray, "X Y Z"], mask: Bool[np.ndarray, "X Y Z"]
) -> float:
    """Return the best Dice over all thresholds of the best map."""
    order = np.argsort(-best.ravel())
    hits = mask.ravel()[order].cumsum()
    scores = 2 * hits / (np.arange(1, hits.size + 1) + hits[-1])
    return float(scores.max())


def _seen(native: Geometry, cells: Geometry) -> Bool[np.ndarray, "X Y Z"]:
    whole = np.ones(cells.shape, np.float32)
    return to_native(whole, cells.affine, native) > 0
