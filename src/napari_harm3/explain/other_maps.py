"""Maps of a case beside the model's own, on the volumes' grids.

Occlusion, the gold check; what the two halves of the LD-VAE respond to; and the
baselines that need no model.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from napari_harm3.artifacts import atomic_path
from napari_harm3.cohort.case import ROLES
from napari_harm3.errors import ModelError
from napari_harm3.explain.baselines import baseline_maps
from napari_harm3.explain.capture import LAST, check_layer, evaluating
from napari_harm3.explain.case import ExplainedVolume
from napari_harm3.explain.cells import (
    CellGrid,
    Centres,
    VolumeMap,
    VolumeMaps,
    boxes_of,
    cell_grid,
    drawn,
    equal_shares,
    on_cells,
)
from napari_harm3.explain.config import Also, ExplainRequest, OcclusionConfig, Target
from napari_harm3.explain.decoupled import decoupled_maps
from napari_harm3.explain.occlusion import OcclusionStep, occlusion
from napari_harm3.inference.predictor import Predictor
from napari_harm3.models.interface import CaseBatch
from napari_harm3.models.registry import model_entry

KINDS: dict[Also, tuple[str, ...]] = {
    "occlusion": ("occlusion",),
    "decoupled": ("inherent", "variant", "cross"),
}
"""What each choice makes; files are ``<role>_<kind>.nii.gz``."""


@dataclass(frozen=True, kw_only=True)
class CoarseMap:
    """A map of one volume, one number a cell."""

    array: Float[np.ndarray, "d h w"]
    centres: Centres
    """Where the cells lie on the model's grid."""


CoarseMaps = dict[str, CoarseMap]
"""By role, of one case."""


def check_request(predictor: Predictor, request: ExplainRequest) -> None:
    """Refuse what a model cannot be asked, before any work.

    Raises
    ------
    ModelError
        If it has no LD-VAE to show the halves of, no such layer, or looks at no volume.
    """
    if request.maps.layer != LAST:  # which every network has
        check_layer(predictor.network(predictor.folds[0]), request.maps.layer)
    if not request.also and not request.checks:
        return
    method = predictor.config.method
    if "mri" not in model_entry(method).modalities:
        asked = ", ".join([*request.also, *request.checks])
        raise ModelError(
            f"{method} looks at no volume, so there is no map for: {asked}. Leave "
            "that out, or choose a model that looks at MRI."
        )
    if "decoupled" in request.also and not getattr(
        predictor.config.model, "ld_vae", False
    ):
        raise ModelError(
            f"{method} has no LD-VAE, so nothing is decoupled in it: leave out "
            "'decoupled', or choose a HARM3 method with one, 'harm3' for example."
        )


def on_volumes(
    coarse: CoarseMaps,
    volumes: Mapping[str, ExplainedVolume],
    size: Sequence[int],
    affine: Float[np.ndarray, "4 4"],
) -> VolumeMaps:
    """Return coarse maps on the volumes' own grids, through the registration.

    Parameters
    ----------
    coarse
        By role; those of roles without a volume are left out.
    volumes
        Of the case.
    size, affine
        The model's grid.
    """
    found = {}
    for role, one in coarse.items():
        if role in volumes:
            cells = cell_grid(one.array.shape, size, affine, one.centres)
            heat = drawn(one.array, cells, volumes[role].place)
            found[role] = VolumeMap(heat=heat, cells=cells)
    return found


def cubes_of_cells(network: nn.Module, batch: CaseBatch) -> OcclusionConfig:
    """Return cubes as large as a cell of the network's last layer."""
    with evaluating(network), torch.no_grad():
        maps = network(batch).feature_maps
    if not maps:
        return OcclusionConfig()
    cells = next(iter(maps.values())).shape[-3:]
    z, y, x = (
        -(-edge // count)
        for edge, count in zip(batch.mri.shape[-3:], cells, strict=True)
    )
    return OcclusionConfig(cube=(z, y, x), stride=(z, y, x))


def occlusion_steps(
    network: nn.Module, batch: CaseBatch, config: OcclusionConfig
) -> Iterator[tuple[OcclusionStep, CoarseMaps]]:
    """Yield how far the covering is; the last step comes with the maps of the case.

    They have as many cells as the strides have begun, which share the grid out evenly:
    what the logit loses, as a mean over the cell.
    """
    size = batch.mri.shape[-3:]
    cells = [-(-edge // step) for edge, step in zip(size, config.stride, strict=True)]
    centres = replace(equal_shares(cells, size), assumed=False)
    boxes = boxes_of(cells, centres, size)
    for step in occlusion(network, batch, config):
        maps = step.maps or {}
        yield (
            step,
            {
                role: CoarseMap(array=on_cells(one[0], boxes), centres=centres)
                for role, one in maps.items()
            },
        )


def write_coarse(path: Path, maps: CoarseMaps, key: str) -> None:
    """Write maps cell by cell, with what they were made of."""
    content: dict[str, Any] = {"key": np.array(key)}
    for role, one in maps.items():
        content[role] = one.array
        content[f"{role}.centres"] = np.array([one.centres.start, one.centres.step])
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **content)


def read_coarse(path: Path, key: str) -> CoarseMaps | None:
    """Return the maps of a file, or None if there are none of this key."""
    try:
        with np.load(path, allow_pickle=False) as file:
            content = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, BadZipFile):
        return None
    if str(content.get("key")) != key:
        return None
    return {
        role: CoarseMap(
            array=content[role], centres=Centres.of(*content[f"{role}.centres"])
        )
        for role in ROLES
        if role in content
    }


def halves(networks: Sequence[nn.Module], batch: CaseBatch) -> dict[str, CoarseMaps]:
    """Return ``inherent``, ``variant`` and ``cross`` maps, as a mean over folds.

    Raises
    ------
    ModelError
        If a network has no LD-VAE.
    """
    found = [decoupled_maps(network, batch) for network in networks]
    kinds = {
        "inherent": "inherent",
        "variant": "variant",
        "cross": "cross_reconstruction",
    }
    return {
        kind: {
            role: CoarseMap(
                array=np.mean([getattr(one, name)[role][0] for one in found], axis=0),
                centres=found[0].centres[role],
            )
            for role in getattr(found[0], name)
        }
        for kind, name in kinds.items()
    }


def baselines(batch: CaseBatch, cells: CellGrid) -> dict[str, CoarseMaps]:
    """Return the baselines' maps of one case, on the cells of the model's."""
    centres = cells.centres
    found = baseline_maps(batch.mri[0], batch.mri_avail[0], cells.shape, centres)
    return {
        name: {
            role: CoarseMap(array=one, centres=centres) for role, one in maps.items()
        }
        for name, maps in found.items()
    }


def positive(
    heat: Float[np.ndarray, "..."], kind: str, target: Target
) -> Float[np.ndarray, "..."]:
    """Return what of a map speaks for the target; occlusion speaks for pCR."""
    against = kind == "occlusion" and target == "non-pcr"
    return np.maximum(-heat if against else heat, 0)
