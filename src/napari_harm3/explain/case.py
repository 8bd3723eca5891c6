"""Explain one case: probability, heat maps, slide attention, agreement."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from napari_harm3.data.prepare import PreparedCase
from napari_harm3.explain.agreement import agreement
from napari_harm3.explain.config import ExplainConfig
from napari_harm3.explain.gradcam import FIG_2, heat_maps, upsampled
from napari_harm3.explain.wsi_attention import attention_geojson, patch_attention
from napari_harm3.inference.predictor import Predictor, mean_logit
from napari_harm3.mri.annotation import read_annotation
from napari_harm3.mri.reading import read_volume
from napari_harm3.mri.resampling import placed, to_native
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

    config: ExplainConfig
    """How the maps were made."""

    threshold: float
    """From which probability on the model says pCR."""


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
        prediction, maps = heat_maps(predictor.network(fold), batch, config)
        logits.append(prediction.logit.detach() / predictor.temperature(fold))
        cams.append(maps)
        attention = patch_attention(prediction)
        if attention is not None and item.features is not None:
            shares.append(attention[0])
    size, affine = predictor.inputs.mri.size, item.affine
    volumes: dict[str, ExplainedVolume] = {}
    cells = None
    for role in cams[0]:
        path = case.volumes[role]
        coarse = np.mean([maps[role][0] for maps in cams], axis=0)
        cells = cell_grid(coarse.shape, size, affine)
        volume = read_volume(path)
        mask = case.masks.get(role)
        annotation = None if mask is None else read_annotation(mask, volume)
        # Through the registration, if there was one: the map is drawn on the file.
        place = placed(volume, item.transforms.get(role))
        heat = to_native(upsampled(coarse, size), affine, place)
        volumes[role] = ExplainedVolume(
            volume=volume,
            heat=heat,
            annotation=annotation,
            # What speaks against the target marks no lesion.
            agreement=agreement(np.maximum(heat, 0), annotation, place, cells),
            message="" if heat.any() else NO_EVIDENCE,
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
        config=config,
        threshold=predictor.threshold(sight.folds),
    )


def cell_grid(
    cells: Sequence[int], size: Sequence[int], affine: Float[np.ndarray, "4 4"]
) -> Geometry:
    """Return the grid of a map's cells, given the common grid that they divide."""
    factor = np.array(size) / np.array(cells)
    coarse = affine.copy()
    coarse[:3, :3] = affine[:3, :3] * factor
    coarse[:3, 3] = affine[:3, 3] + affine[:3, :3] @ ((factor - 1) / 2)
    z, y, x = cells
    return Geometry(shape=(z, y, x), affine=coarse)
