"""Explain one case: probability, heat maps, slide maps, their link, agreement."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from napari_harm3.data.dataset import CaseItem
from napari_harm3.explain.agreement import NO_EVIDENCE, Yardstick, agreement
from napari_harm3.explain.answer import Answer, answer
from napari_harm3.explain.bag_places import patch_places
from napari_harm3.explain.capture import LAST, layer_centres
from napari_harm3.explain.case_link import link_of, link_space
from napari_harm3.explain.cells import CellGrid, VolumeMap, cell_grid, drawn
from napari_harm3.explain.config import ExplainConfig
from napari_harm3.explain.gradcam import FIG_2
from napari_harm3.explain.link import CaseLink
from napari_harm3.explain.slide_maps import SlideMaps
from napari_harm3.inference.predictor import CaseInputs, Predictor, mean_logit
from napari_harm3.mri.annotation import read_annotation
from napari_harm3.mri.reading import read_volume
from napari_harm3.mri.resampling import placed
from napari_harm3.mri.volume import Geometry, Volume


@dataclass(frozen=True, kw_only=True)
class ExplainedVolume:
    """One volume with its heat map, on its own grid."""

    volume: Volume
    heat: Float[np.ndarray, "X Y Z"]
    annotation: UInt8[np.ndarray, "X Y Z"] | None
    agreement: dict[str, Any]
    message: str
    """Empty, or that the map shows no positive evidence."""

    place: Geometry
    """The volume's grid in the space that all volumes share, see `placed`."""

    cells: CellGrid
    """Grid of the map's cells in that space."""

    yardstick: Yardstick | None
    """What maps of these cells are measured by; None where no lesion is annotated."""

    @property
    def map(self) -> VolumeMap:
        """The map, with what speaks against the target."""
        return VolumeMap(heat=self.heat, cells=self.cells)


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What a model says of a case, and why."""

    case_id: str
    probability: float
    seen: str
    folds: tuple[int, ...]
    volumes: dict[str, ExplainedVolume]
    slide: SlideMaps
    link: CaseLink | None
    """None where nothing is linked, see `link_of`."""

    config: ExplainConfig
    """How the maps were made."""

    threshold: float
    """From which probability on the model says pCR."""

    made_up: bool
    """Whether the model has learned from made-up patients."""

    @property
    def cell_mm(self) -> tuple[float, ...]:
        """Size of a heat map's cell along z, y, x, than which no map is finer.

        Empty without maps.
        """
        for one in self.volumes.values():
            return tuple(one.cells.spacing_mm.tolist())
        return ()

    @property
    def cells_assumed(self) -> bool:
        """Whether the network does not say where its cells lie.

        The maps are drawn as if they shared its field of view out evenly.
        """
        return any(one.cells.centres.assumed for one in self.volumes.values())


def explain_case(
    predictor: Predictor, inputs: CaseInputs, config: ExplainConfig = FIG_2
) -> Explanation:
    """Return a case's explanation, averaged over the folds that may be asked.

    Raises
    ------
    ModelError, FeatureError, VolumeError
        If the model, the features or a volume cannot be read.
    """
    item, batch, sight = inputs.item, inputs.batch, inputs.sight
    networks = [predictor.network(fold) for fold in sight.folds]
    answers = [answer(network, batch, config) for network in networks]
    logits = [one.heat.prediction.logit.detach() for one in answers]
    size, centres = predictor.inputs.mri.size, answers[0].heat.centres
    volumes = {}
    for role in centres:
        coarse = np.mean([one.heat.maps[role][0] for one in answers], axis=0)
        cells = cell_grid(coarse.shape, size, item.affine, centres[role])
        volumes[role] = _explained(role, coarse, cells, item)
    slide, links = _slide(answers, inputs.prepared.bags), [one.link for one in answers]
    if any(links) and config.layer != LAST:  # whose cells are the link's tokens
        centres = layer_centres(networks[0], batch)
    return Explanation(
        case_id=item.case.case_id,
        probability=float(mean_logit(logits).sigmoid()[0]),
        seen=sight.seen,
        folds=sight.folds,
        volumes=volumes,
        slide=slide,
        link=link_of(
            links,
            link_space(networks[0], item, size, centres),
            slide.places,
            case_id=item.case.case_id,
            folds=sight.folds,
        ),
        config=config,
        threshold=predictor.threshold(sight.folds),
        made_up=predictor.made_up,
    )


def _explained(
    role: str,
    coarse: Float[np.ndarray, "d h w"],
    cells: CellGrid,
    item: CaseItem,
) -> ExplainedVolume:
    """Return a volume with its map and annotation, read anew from its files."""
    case = item.case
    volume, mask = read_volume(case.volumes[role]), case.masks.get(role)
    annotation = None if mask is None else read_annotation(mask, volume)
    # Through the registration, if there was one: the map is drawn on the file.
    place = placed(volume, item.transforms.get(role))
    heat = drawn(coarse, cells, place)
    yardstick = Yardstick.of(annotation, place, cells)
    return ExplainedVolume(
        volume=volume,
        heat=heat,
        annotation=annotation,
        # What speaks against the target marks no lesion.
        agreement=agreement(
            np.maximum(heat, 0), annotation, place, cells, yardstick=yardstick
        ),
        message="" if (heat > 0).any() else NO_EVIDENCE,
        place=place,
        cells=cells,
        yardstick=yardstick,
    )


def _slide(answers: Sequence[Answer], bags: Sequence[Path]) -> SlideMaps:
    """Return the mean of the folds' slide maps."""
    kinds = answers[0].slide
    return SlideMaps(
        maps={
            kind: np.mean([one.slide[kind][0] for one in answers], axis=0)
            for kind in kinds
        },
        places=patch_places(bags if kinds else ()),
    )
