"""How far a heat map agrees with a voxel annotation.

Every figure stands between two others: what a map that says nothing would reach
(``chance``), and what the best map of the same cells could (``ceiling``). Voxels
outside the model's field of view are not counted, neither of the map nor of the
annotation. Where nothing can be compared, the reason stands instead of a figure.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from napari_harm3.explain.ceiling import best_maps, most_pointing, tents
from napari_harm3.explain.cells import drawn
from napari_harm3.explain.measures import (
    Places,
    dice,
    energy,
    iou_name,
    iou_of,
    pointing_game,
    widened,
)
from napari_harm3.explain.ranking import ranking
from napari_harm3.explain.thresholds import dice_by_share
from napari_harm3.mri.annotation import LABELS
from napari_harm3.mri.volume import Geometry

DICE_AT = {"dice": 0.5, "dice_25": 0.25, "dice_75": 0.75}
"""Dice is taken where the map exceeds this share of its peak; IoU likewise."""

CHOSEN = "dice_chosen"
"""Dice at the share of the peak that was chosen on training cases."""

FALSE_ENERGY = "false_energy"
"""How much of a map lies where a lesion was that has gone: `gone_lesions`."""

UNION = "union"
"""Of all labels: what is measured unless one is named."""

LESS_IS_BETTER = ("peak_distance_mm", "centroid_distance_mm")

MEASURES = (
    "pointing_game",
    "pointing_game_half_cell",
    "energy",
    "energy_gain",
    *(name for cut in (*DICE_AT, CHOSEN) for name in (cut, iou_name(cut))),
    "best_dice",
    "auc",
    "ap",
    "peak_distance_mm",
    "centroid_distance_mm",
)
"""``energy_gain`` is the energy over its chance; ``*_chosen`` need a chosen share."""

NO_EVIDENCE = "no positive evidence in this volume"
OUTSIDE = "outside the model's field of view"
FILLED = "the annotation fills the model's field of view"
ABSENT = "no voxel has this label"

Measures = dict[str, Any]
Figures = dict[str, float]


def agreement(
    heat: Float[np.ndarray, "X Y Z"],
    annotation: UInt8[np.ndarray, "X Y Z"] | None,
    native: Geometry,
    cells: Geometry,
    *,
    yardstick: "Yardstick | None" = None,
) -> Measures:
    """Return every measure, for the union of labels and for each.

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
    yardstick
        Of this annotation and these grids, where it is at hand.

    Returns
    -------
    :
        Of `MEASURES`, all but the chosen, each ``{"value", "chance", "ceiling"}``;
        ``normalised``, for each (value - chance) / (ceiling - chance), None where no
        map of the cells can beat chance; ``lesion_ml``; ``outside``, the share of the
        annotation that the model did not see; and ``labels`` with the same for each.
        Or ``not_applicable``, the reason; of a map without evidence, which is measured
        against a lesion all the same, beside ``lesion_ml``, ``outside``, ``labels``.
    """
    if annotation is None:
        return {"not_applicable": "not annotated"}
    if not annotation.any():
        return {"not_applicable": "annotated as free of visible lesion"}
    yardstick = yardstick or Yardstick(annotation, native, cells)
    return yardstick.measure(heat)


class Yardstick:
    """An annotation with its chance levels and ceilings, to measure maps against.

    Parameters
    ----------
    annotation
        Labels; not empty.
    native, cells
        The volume's grid, and that of the cells of every map to be measured.
    """

    def __init__(
        self, annotation: UInt8[np.ndarray, "X Y Z"], native: Geometry, cells: Geometry
    ) -> None:
        self.annotation, self.native = annotation, native
        self.seen = field_of_view(native, cells)
        inverse = np.linalg.inv(native.affine)[:3, :3]
        half_cell = inverse @ cells.affine[:3, :3] / 2
        self._targets: dict[str, _Target | str] = {}
        for value, label in LABELS.items():
            mask = annotation == value
            # One label is the union: it need not be measured twice.
            if not mask.any() or (annotation[mask].size == (annotation > 0).sum()):
                continue
            self._targets[label] = _target(mask, self.seen, native, cells, half_cell)
        self._union = _target(annotation > 0, self.seen, native, cells, half_cell)

    @classmethod
    def of(
        cls,
        annotation: UInt8[np.ndarray, "X Y Z"] | None,
        native: Geometry,
        cells: Geometry,
    ) -> "Yardstick | None":
        """Return the yardstick of an annotation; None where it marks nothing."""
        if annotation is None or not annotation.any():
            return None
        return cls(annotation, native, cells)

    def measure(self, heat: Float[np.ndarray, "X Y Z"]) -> Measures:
        """Return what `agreement` returns, of one map."""
        heat = np.where(self.seen, heat, 0)
        if isinstance(self._union, str):
            return {"not_applicable": self._union}
        measures = _told(self._union, heat)
        labels = {}
        for value, label in LABELS.items():
            target = self._targets.get(label)
            if target is not None:
                labels[label] = _told(target, heat)
            elif (self.annotation == value).any():
                labels[label] = dict(measures)
            else:
                labels[label] = {"not_applicable": ABSENT}
        return measures | {"labels": labels}

    def dice_by_share(self, heat: Float[np.ndarray, "X Y Z"]) -> dict[str, list[float]]:
        """Return a map's Dice at each of `thresholds.SHARES`, by label and `UNION`.

        What the model did not see, or has no evidence in, is left out.
        """
        values = heat[self.seen]
        if isinstance(self._union, str) or not values.any():
            return {}
        targets: dict[str, _Target | str] = {UNION: self._union}
        for value, label in LABELS.items():
            if (self.annotation == value).any():
                targets[label] = self._targets.get(label, self._union)
        return {
            label: dice_by_share(values, target.mask.marked)
            for label, target in targets.items()
            if isinstance(target, _Target)
        }


@dataclass(frozen=True, kw_only=True)
class _Mask:
    """What is marked of what the model sees; neither nothing nor all of it."""

    seen: Bool[np.ndarray, "X Y Z"]
    marked: Bool[np.ndarray, "n"]
    """Which of the voxels that were seen are of the mask."""

    near: Bool[np.ndarray, "n"]
    """The same with half a cell around it."""

    places: Places

    def figures(self, heat: Float[np.ndarray, "X Y Z"]) -> Figures:
        """Return every measure's value of a map, zero where nothing was seen."""
        peak = heat.max()
        highest = (heat == peak) & self.seen
        values = heat[self.seen]
        order = ranking(values, self.marked)
        figures = {
            "pointing_game": pointing_game(values, self.marked),
            "pointing_game_half_cell": pointing_game(values, self.near),
            "energy": energy(values, self.marked),
            "best_dice": order.best_dice,
            "auc": order.auc,
            "ap": order.ap,
            "peak_distance_mm": self.places.distance(highest),
            "centroid_distance_mm": self.places.centre_distance(heat),
        }
        for name, share in DICE_AT.items():
            figures[name] = dice(values >= share * peak, self.marked)
            figures[iou_name(name)] = iou_of(figures[name])
        return figures


@dataclass(frozen=True, kw_only=True)
class _Target:
    """One mask, and all about it that no map changes."""

    mask: _Mask
    chance: Figures
    ceiling: Figures
    about: Figures

    def measure(self, heat: Float[np.ndarray, "X Y Z"]) -> Measures:
        """Return a map's figures between chance and ceiling."""
        found = self.mask.figures(heat)
        found["energy_gain"] = found["energy"] / self.chance["energy"]
        entries: Measures = {
            name: {
                "value": found[name],
                "chance": self.chance[_alike(name)],
                # A map that is better than the best that was found is the best.
                "ceiling": _better(name, self.ceiling[_alike(name)], found[name]),
            }
            for name in MEASURES
            if name in found
        }
        normalised = {
            name: normalised_score(**entry) for name, entry in entries.items()
        }
        return entries | {"normalised": normalised} | self.about


def _told(target: _Target | str, heat: Float[np.ndarray, "X Y Z"]) -> Measures:
    """Return a map's figures, or why there are none and what the lesion is."""
    if isinstance(target, str):
        return {"not_applicable": target}
    if not heat.any():
        return {"not_applicable": NO_EVIDENCE} | target.about
    return target.measure(heat)


def normalised_score(*, value: float, chance: float, ceiling: float) -> float | None:
    """Return 0 at chance and 1 at the ceiling; None where the two are one."""
    span = ceiling - chance
    return (value - chance) / span if abs(span) > 1e-9 else None


def field_of_view(native: Geometry, cells: Geometry) -> Bool[np.ndarray, "X Y Z"]:
    """Return which voxels of a volume the model saw."""
    return drawn(np.ones(cells.shape, np.float32), cells, native) > 0


def _better(name: str, *figures: float) -> float:
    return min(figures) if name in LESS_IS_BETTER else max(figures)


def _alike(name: str) -> str:
    """Return the measure whose chance and ceiling hold for another threshold too."""
    for kind in ("dice", "iou"):
        if name.startswith(kind):
            return f"best_{kind}"
    return name


def _target(
    mask: Bool[np.ndarray, "X Y Z"],
    seen: Bool[np.ndarray, "X Y Z"],
    native: Geometry,
    cells: Geometry,
    half_cell: Float[np.ndarray, "3 3"],
) -> _Target | str:
    inside = mask & seen
    if not inside.any():
        return OUTSIDE
    if inside.sum() == seen.sum():
        return FILLED
    near = widened(inside, half_cell)
    found = _Mask(
        seen=seen,
        marked=inside[seen],
        near=near[seen],
        places=Places(inside, native.affine),
    )
    # The map that says nothing is even over what it sees, and marks all of it.
    chance = found.figures(seen.astype(np.float32))
    around = tents(inside, seen, native, cells)
    best = [found.figures(one) for one in best_maps(inside, around, native, cells)]
    best.append(chance)  # a map that says nothing is one of them
    ceiling = {
        name: _better(name, *(figures[name] for figures in best)) for name in chance
    }
    ceiling["energy"] = float(around.shares.max())
    for name, place in (("pointing_game", None), ("pointing_game_half_cell", near)):
        ceiling[name] = max(ceiling[name], most_pointing(around, place))
    if ceiling["pointing_game"] == 1:
        ceiling["peak_distance_mm"] = 0.0
    chance["energy_gain"] = 1.0
    ceiling["energy_gain"] = ceiling["energy"] / chance["energy"]
    for figures in (chance, ceiling):
        figures["best_iou"] = iou_of(figures["best_dice"])
    return _Target(
        mask=found,
        chance=chance,
        ceiling=ceiling,
        about={
            "lesion_ml": float(mask.sum() * native.voxel_ml),
            "outside": 1 - float(inside.sum() / mask.sum()),
        },
    )
