"""Explain one case: probability, heat maps, slide attention, agreement."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from napari_harm3.data.prepare import PreparedCase
from napari_harm3.explain.agreement import Yardstick, agreement
from napari_harm3.explain.cells import CellGrid, cell_grid, drawn
from napari_harm3.explain.config import ExplainConfig
from napari_harm3.explain.gradcam import FIG_2, located_heat_maps
from napari_harm3.explain.wsi_attention import attention_geojson, patch_attention
from napari_harm3.inference.predictor import Predictor, mean_logit
from napari_harm3.mri.annotation import read_annotation
from napari_harm3.mri.reading import read_volume
from napari_harm3.mri.resampling import placed
from napari_harm3.mri.volume import Geometry, Volume

NO_EVIDENCE = "no positive evidence"


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


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What a model says of a case, and why."""

    case_id: str
    probability: float
    seen: str
    folds: tuple[int, ...]
    volumes: dict[str, ExplainedVolume]
    attention: dict[str, Any]
    """GeoJSON of the slide's patches."""

    cell_mm: tuple[float, ...]
    """Size of a heat map's cell along z, y, x, than which no map is finer; empty
    without maps."""

    cells_assumed: bool
    """Whether the network does not say where its cells lie, so that the maps are drawn
    as if they shared its field of view out evenly."""

    config: ExplainConfig
    """How the maps were made."""

    threshold: float
    """From which probability on the model says pCR."""

    made_up: bool
    """Whether the model has learned from made-up patients."""


def explain_case(
    predictor: Predictor, prepared: PreparedCase, config: ExplainConfig = FIG_2
) -> Explanation:
    """Return a case's explanation, averaged over the folds that may be asked.

    Raises
    ------
    ModelError, FeatureError, VolumeError
        If the model, the features or a volume cannot be read.
    """
    case, item = prepared.case, predictor.item(prepared)
    sight = predictor.sight(prepared.sources.values())
    batch = predictor.batch(prepared)
    logits, cams, shares = [], [], []
    for fold in sight.folds:
        found = located_heat_maps(predictor.network(fold), batch, config)
        logits.append(found.prediction.logit.detach() / predictor.temperature(fold))
        cams.append(found)
        attention = patch_attention(found.prediction)
        if attention is not None and item.features is not None:
            shares.append(attention[0])
    size, affine = predictor.inputs.mri.size, item.affine
    volumes: dict[str, ExplainedVolume] = {}
    cells = None
    for role, centres in cams[0].centres.items():
        path = case.volumes[role]
        coarse = np.mean([found.maps[role][0] for found in cams], axis=0)
        cells = cell_grid(coarse.shape, size, affine, centres)
        volume = read_volume(path)
        mask = case.masks.get(role)
        annotation = None if mask is None else read_annotation(mask, volume)
        # Through the registration, if there was one: the map is drawn on the file.
        place = placed(volume, item.transforms.get(role))
        heat = drawn(coarse, cells, place)
        yardstick = Yardstick.of(annotation, place, cells)
        volumes[role] = ExplainedVolume(
            volume=volume,
            heat=heat,
            annotation=annotation,
            # What speaks against the target marks no lesion.
            agreement=agreement(
                np.maximum(heat, 0), annotation, place, cells, yardstick=yardstick
            ),
            message="" if heat.any() else NO_EVIDENCE,
            place=place,
            cells=cells,
            yardstick=yardstick,
        )
    spacing = () if cells is None else tuple(cells.spacing_mm.tolist())
    return Explanation(
        case_id=case.case_id,
        probability=float(mean_logit(logits).sigmoid()[0]),
        seen=sight.seen,
        folds=sight.folds,
        volumes=volumes,
        attention=attention_geojson(
            prepared.bags if shares else (),
            np.mean(shares, axis=0) if shares else np.zeros(0),
        ),
        cell_mm=spacing,
        cells_assumed=any(one.cells.centres.assumed for one in volumes.values()),
        config=config,
        threshold=predictor.threshold(sight.folds),
        made_up=predictor.made_up,
    )
