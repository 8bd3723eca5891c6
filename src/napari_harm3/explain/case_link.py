"""Make the link between slide and MRI of a case, from what a model attends to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import nn

from napari_harm3.data.dataset import CaseItem
from napari_harm3.explain.cells import CellGrid, Centres, cell_grid
from napari_harm3.explain.link import CaseLink
from napari_harm3.explain.patch_places import PatchPlaces
from napari_harm3.models.interface import Prediction


@dataclass(frozen=True, kw_only=True)
class LinkTokens:
    """What the pooled tokens of one network take and ask, for one case."""

    pooling: Float[np.ndarray, "k N"]
    cross: Float[np.ndarray, "k M"]


@dataclass(frozen=True, kw_only=True)
class LinkSpace:
    """Where the MRI tokens of a case lie."""

    layout: Int[np.ndarray, "M 5"]
    available: Bool[np.ndarray, "2 2"]
    cells: CellGrid
    """The grid of a volume's cells in the common space."""

    transforms: Mapping[str, Float[np.ndarray, "4 4"]]
    """From there to each role's own RAS mm, where a registration moved it."""


def link_space(
    network: nn.Module,
    item: CaseItem,
    size: Sequence[int],
    centres: Mapping[str, Centres],
) -> LinkSpace | None:
    """Return where the MRI tokens of a case lie; None of a network without Eq. (6).

    Parameters
    ----------
    network
        Any fold: all are built alike.
    item
        The case.
    size
        Voxels of the model's grid along z, y, x.
    centres
        Of the last layer's cells, by role; a token is one of them.
    """
    token_layout = getattr(network, "token_layout", None)
    if token_layout is None:
        return None
    layout = token_layout().cpu().numpy()
    cells = (layout[:, 2:].max(axis=0) + 1).tolist()
    return LinkSpace(
        layout=layout,
        available=item.available,
        cells=cell_grid(cells, size, item.affine, next(iter(centres.values()), None)),
        transforms=item.transforms,
    )


def tokens_of(prediction: Prediction) -> LinkTokens | None:
    """Return what a prediction of one case says of the link; None if nothing.

    A network may have no Eq. (6), and a case no slide, whose patches would ask, or no
    MRI.
    """
    attention = prediction.attn
    if "pooling" not in attention or "cross" not in attention:
        return None
    pooling, cross = (
        attention[name][0].detach().float().cpu().numpy()
        for name in ("pooling", "cross")
    )
    # Without any MRI, what stands in for it is asked, and lies nowhere.
    if not pooling.any() or not bool(attention["mri_mask"][0].any()):
        return None
    return LinkTokens(pooling=pooling, cross=cross)


def link_of(
    asked: Sequence[LinkTokens | None],
    space: LinkSpace | None,
    places: PatchPlaces,
    *,
    case_id: str,
    folds: tuple[int, ...] = (),
) -> CaseLink | None:
    """Return one link of one network or several, whose say is the same.

    Padding of the bag is left off. None where nothing is linked.
    """
    tokens = [one for one in asked if one is not None]
    if space is None or not tokens:
        return None
    return CaseLink(
        case_id=case_id,
        pooling=np.concatenate([one.pooling[:, : len(places)] for one in tokens]),
        cross=np.concatenate([one.cross for one in tokens]),
        layout=space.layout,
        available=space.available,
        affine=space.cells.affine,
        view=space.cells.view,
        places=places,
        transforms=space.transforms,
        folds=folds,
    )
