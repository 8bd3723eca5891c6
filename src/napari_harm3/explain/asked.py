"""A case under explanation: networks, batch and maps that all trials share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from torch import nn

from napari_harm3.data.prepare import PreparedCase
from napari_harm3.explain.agreement_cohort import MODEL
from napari_harm3.explain.case import Explanation, explain_case
from napari_harm3.explain.cells import VolumeMaps
from napari_harm3.explain.config import ExplainRequest
from napari_harm3.explain.ensemble import Ensemble
from napari_harm3.explain.gradcam import located_heat_maps
from napari_harm3.explain.measured import ByRole, CaseYardstick
from napari_harm3.explain.other_maps import (
    CoarseMap,
    CoarseMaps,
    baselines,
    cubes_of_cells,
    halves,
    on_volumes,
    positive,
)
from napari_harm3.inference.predictor import CaseInputs, Predictor

COMPARED = ("occlusion",)
"""Of the maps beside the model's own, those that mark what speaks for the target."""


@dataclass(kw_only=True)
class AskedCase:
    """A case, what the model says of it, and the maps made so far."""

    predictor: Predictor
    request: ExplainRequest
    """With occlusion's cubes, if that is asked for."""

    inputs: CaseInputs
    explanation: Explanation
    yardstick: CaseYardstick
    others: dict[str, VolumeMaps] = field(default_factory=dict)
    """Maps beside the model's own, by kind and role."""

    def networks(self) -> list[nn.Module]:
        """Return the folds that may be asked."""
        return [self.predictor.network(fold) for fold in self.inputs.sight.folds]

    def ensemble(self, *, for_target: bool = False) -> Ensemble:
        """Return the folds as one network: its logit is of pCR, or of the target."""
        target = self.request.maps.target if for_target else "pcr"
        return Ensemble.of(self.predictor, self.inputs.sight, target)

    def coarse(self) -> CoarseMaps:
        """Return the model's own maps cell by cell, as a mean over its folds."""
        return self._coarse(self.inputs.sight.folds)

    def add(self, kind: str, coarse: CoarseMaps) -> None:
        """Lay maps on the volumes' grids."""
        self.others[kind] = self._laid(coarse)

    def add_halves(self) -> None:
        """Make the maps of the LD-VAE's halves."""
        for kind, coarse in halves(self.networks(), self.inputs.batch).items():
            self.add(kind, coarse)

    def others_agreement(self) -> dict[str, ByRole]:
        """Return how the other maps agree that mark what speaks for the target."""
        return {
            kind: self.yardstick.measure(self._marked(kind))
            for kind in COMPARED
            if kind in self.others
        }

    def compared(self) -> Iterator[tuple[str, VolumeMaps]]:
        """Yield name and maps of all that is compared, none below zero.

        The model's own come first.
        """
        volumes = self.explanation.volumes
        own = {role: one.map.positive for role, one in volumes.items()}
        yield MODEL, own
        if own:
            cells = next(iter(own.values())).cells
            for name, coarse in baselines(self.inputs.batch, cells).items():
                yield name, self._laid(coarse)
        for kind in COMPARED:
            if kind in self.others:
                yield kind, self._marked(kind)

    def fitted(self) -> tuple[int, ...]:
        """Return the folds that were fitted on this case."""
        sight = self.inputs.sight
        if sight.seen == "in-training":
            return sight.folds
        return tuple(f for f in self.predictor.folds if f not in sight.folds)

    def of_fold(self, fold: int) -> VolumeMaps:
        """Return the maps of one fold, fitted on this case or not; none below zero."""
        laid = self._laid(self._coarse((fold,)))
        return {role: one.positive for role, one in laid.items()}

    def _marked(self, kind: str) -> VolumeMaps:
        target = self.request.maps.target
        return {
            role: replace(one, heat=positive(one.heat, kind, target))
            for role, one in self.others[kind].items()
        }

    def _coarse(self, folds: Sequence[int]) -> CoarseMaps:
        batch, config = self.inputs.batch, self.request.maps
        found = [
            located_heat_maps(self.predictor.network(f), batch, config) for f in folds
        ]
        return {
            role: CoarseMap(
                array=np.mean([one.maps[role][0] for one in found], axis=0),
                centres=centres,
            )
            for role, centres in found[0].centres.items()
        }

    def _laid(self, coarse: CoarseMaps) -> VolumeMaps:
        size, affine = self.predictor.inputs.mri.size, self.inputs.item.affine
        return on_volumes(coarse, self.explanation.volumes, size, affine)


def asked_case(
    predictor: Predictor, prepared: PreparedCase, request: ExplainRequest
) -> AskedCase:
    """Return a case with the model's own maps.

    Raises
    ------
    ModelError, FeatureError, VolumeError
        If the model, the features or a volume cannot be read.
    """
    inputs = predictor.inputs_of(prepared)
    if "occlusion" in request.also and request.occlusion is None:
        network = predictor.network(inputs.sight.folds[0])
        request = replace(request, occlusion=cubes_of_cells(network, inputs.batch))
    explanation = explain_case(predictor, inputs, request.maps)
    return AskedCase(
        predictor=predictor,
        request=request,
        inputs=inputs,
        explanation=explanation,
        yardstick=CaseYardstick(
            volumes=explanation.volumes, aligned=inputs.item.aligned
        ),
    )
