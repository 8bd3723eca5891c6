"""Every map of a case against the annotations, and where it might be cut."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from napari_harm3.cohort.case import BEFORE
from napari_harm3.explain.agreement import UNION, Measures, Yardstick, agreement
from napari_harm3.explain.case import ExplainedVolume
from napari_harm3.explain.cells import CellGrid, VolumeMaps
from napari_harm3.explain.gone_lesions import (
    OldPlace,
    magnitude,
    old_places,
    told_of_gone,
)

ByRole = dict[str, Measures]
_Key = tuple[str, tuple[int, ...], bytes]


@dataclass(kw_only=True)
class CaseYardstick:
    """Measures maps of one case; what no map changes is worked out once."""

    volumes: Mapping[str, ExplainedVolume]
    aligned: bool
    """Whether pre and post share a space, so that an old place is known."""

    _yardsticks: dict[_Key, Yardstick | None] = field(default_factory=dict)
    _gone: dict[_Key, dict[str, OldPlace]] = field(default_factory=dict)

    def own(self) -> ByRole:
        """Return the agreement of the model's own maps, and what of lesions is gone."""
        maps = {role: one.map.positive for role, one in self.volumes.items()}
        return {
            role: self._with_gone(role, one.agreement, maps)
            for role, one in self.volumes.items()
        }

    def measure(self, maps: VolumeMaps) -> ByRole:
        """Return agreement by role, and what maps say of lesions that are gone.

        Parameters
        ----------
        maps
            By role, none below zero.
        """
        found = {}
        for role, one in maps.items():
            volume, yardstick = self.volumes[role], self._yardstick(role, one.cells)
            if yardstick is None:  # why, that says
                told = agreement(one.heat, volume.annotation, volume.place, one.cells)
            else:
                told = yardstick.measure(one.heat)
            found[role] = self._with_gone(role, told, maps)
        return found

    def dice_by_share(self, maps: VolumeMaps) -> dict[str, dict[str, list[float]]]:
        """Return Dice at each of `thresholds.SHARES`, by role and label."""
        found = {}
        for role, one in maps.items():
            yardstick = self._yardstick(role, one.cells)
            found[role] = {} if yardstick is None else yardstick.dice_by_share(one.heat)
        return found

    def _with_gone(self, role: str, measures: Measures, maps: VolumeMaps) -> Measures:
        places = self._places(role, maps[role].cells)
        if not places:
            return measures
        before, mean = BEFORE[role], None
        if before in maps:
            place = self.volumes[before].place
            mean = magnitude(maps[before].heat, place, maps[before].cells)
        heat = maps[role].heat
        return told_of_gone(measures, places, heat, magnitude_before=mean)

    def _yardstick(self, role: str, cells: CellGrid) -> Yardstick | None:
        """Return what maps of these cells are measured by, if a lesion is annotated."""
        key = _key(role, cells)
        if key not in self._yardsticks:
            one = self.volumes[role]
            self._yardsticks[key] = (
                one.yardstick
                if key == _key(role, one.cells)
                else Yardstick.of(one.annotation, one.place, cells)
            )
        return self._yardsticks[key]

    def _places(self, role: str, cells: CellGrid) -> dict[str, OldPlace]:
        key = _key(role, cells)
        if key not in self._gone:
            self._gone[key] = old_places(
                self.volumes, role, cells, aligned=self.aligned
            )
        return self._gone[key]


def union_curves(by_role: Mapping[str, Mapping[str, list[float]]]) -> list[list[float]]:
    """Return of `CaseYardstick.dice_by_share` the union of labels, volume by volume."""
    return [curves[UNION] for curves in by_role.values() if UNION in curves]


def _key(role: str, cells: CellGrid) -> _Key:
    return role, cells.shape, cells.affine.tobytes()
