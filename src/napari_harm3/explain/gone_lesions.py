"""What a map says of a volume whose lesion has gone.

Such a volume has no agreement. That the map still points to the old place is no proof
of a fault: a lesion's absence is a sign of response, too.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from napari_harm3.cohort.case import BEFORE
from napari_harm3.explain.agreement import (
    FALSE_ENERGY,
    NO_EVIDENCE,
    OUTSIDE,
    UNION,
    Measures,
    field_of_view,
    normalised_score,
)
from napari_harm3.explain.case import ExplainedVolume
from napari_harm3.explain.ceiling import tents
from napari_harm3.explain.measures import energy
from napari_harm3.mri.annotation import LABELS
from napari_harm3.mri.resampling import resample_labels
from napari_harm3.mri.volume import Geometry

UNKNOWN_PLACE = "the old place is not known: the two sessions are not registered"

Heat = Float[np.ndarray, "X Y Z"]


class OldPlace:
    """Where a lesion was, to measure maps of the volume that it is gone from.

    Parameters
    ----------
    lesion_before
        The lesion before treatment on this volume's grid, by `carried_over`; None
        where its place is not known.
    native, cells
        The volume's grid, and that of the cells of every map to be measured.
    """

    def __init__(
        self,
        lesion_before: Bool[np.ndarray, "X Y Z"] | None,
        native: Geometry,
        cells: Geometry,
    ) -> None:
        self._seen = field_of_view(native, cells)
        self._reason, self._ceiling = UNKNOWN_PLACE, 0.0
        self._old = None if lesion_before is None else lesion_before & self._seen
        if self._old is not None and not self._old.any():
            self._old, self._reason = None, OUTSIDE
        if self._old is not None:
            around = tents(self._old, self._seen, native, cells)
            self._ceiling = float(around.shares.max())

    def measure(self, heat: Heat, *, magnitude_before: float | None = None) -> Measures:
        """Return how much of a map lies where the lesion was.

        Parameters
        ----------
        heat
            On the volume's own grid.
        magnitude_before
            `magnitude` of the map of the same sequence before treatment.

        Returns
        -------
        :
            ``false_energy`` ``{"value", "chance", "ceiling"}``, the share of the map's
            sum in the old place, with ``normalised`` as of `agreement.agreement`, or
            ``{"not_applicable": reason}``; and ``magnitude``
            ``{"value", "relative_to_pre"}``.
        """
        values = heat[self._seen]
        mean = float(values.mean(dtype=np.float64))
        relative = mean / magnitude_before if magnitude_before else None
        strength = {"value": mean, "relative_to_pre": relative}
        return self._false_energy(values) | {"magnitude": strength}

    def _false_energy(self, values: Float[np.ndarray, "n"]) -> Measures:
        if self._old is None:
            return {FALSE_ENERGY: {"not_applicable": self._reason}}
        if not values.any():
            return {FALSE_ENERGY: {"not_applicable": NO_EVIDENCE}}
        old = self._old[self._seen]
        entry = {
            "value": energy(values, old),
            "chance": float(old.mean()),
            "ceiling": self._ceiling,
        }
        normalised = {FALSE_ENERGY: normalised_score(**entry)}
        return {FALSE_ENERGY: entry, "normalised": normalised}


def magnitude(heat: Heat, native: Geometry, cells: Geometry) -> float:
    """Return the mean of a map over the model's field of view."""
    return float(heat[field_of_view(native, cells)].mean(dtype=np.float64))


def carried_over(
    annotation: UInt8[np.ndarray, "X Y Z"], before: Geometry, after: Geometry
) -> Bool[np.ndarray, "..."]:
    """Return where the lesions of one volume lie on another.

    Parameters
    ----------
    annotation, before
        Labels, and their grid in the space that both volumes share: of a registration,
        see `mri.resampling.placed`. Headers alone do not register two sessions.
    after
        The other volume's grid in that space.
    """
    return resample_labels(annotation, before, after).labels > 0


def old_places(
    volumes: Mapping[str, ExplainedVolume],
    role: str,
    cells: Geometry,
    *,
    aligned: bool,
) -> dict[str, OldPlace]:
    """Return where the lesions were that have gone from a volume, by label and union.

    Parameters
    ----------
    volumes
        Of the case, by role.
    role
        The volume that they may be gone from.
    cells
        Of the maps to be measured.
    aligned
        Whether sessions share a space: elsewhere no old place is known.

    Returns
    -------
    :
        Empty for a volume before treatment, without an annotation, or with all the
        lesions that it had.
    """
    after, before = volumes[role], volumes.get(BEFORE.get(role, ""))
    if after.annotation is None:
        return {}
    if before is None or before.annotation is None or not before.annotation.any():
        return {}
    gone = {
        name: np.where(before.annotation == value, value, 0).astype(np.uint8)
        for value, name in LABELS.items()
        if (before.annotation == value).any() and not (after.annotation == value).any()
    }
    if not after.annotation.any():
        gone[UNION] = before.annotation
    return {
        name: OldPlace(
            carried_over(lesion, before.place, after.place) if aligned else None,
            after.place,
            cells,
        )
        for name, lesion in gone.items()
    }


def told_of_gone(
    measures: Measures,
    places: Mapping[str, OldPlace],
    heat: Heat,
    *,
    magnitude_before: float | None,
) -> Measures:
    """Return a volume's agreement with what its map says of the lesions that are gone.

    ``false_energy`` and ``magnitude`` stand beside ``not_applicable``, of the union or
    of a label.
    """
    found: dict[str, Any] = {
        name: place.measure(heat, magnitude_before=magnitude_before)
        for name, place in places.items()
    }
    told = measures | found.pop(UNION, {})
    if found:
        # Where labels are not told apart, the whole volume cannot be compared.
        labels = told.get("labels") or {
            name: {"not_applicable": told["not_applicable"]} for name in found
        }
        told["labels"] = labels | {name: labels[name] | found[name] for name in found}
    return told
