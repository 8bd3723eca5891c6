"""Make the link between slide and MRI of a case, from what a model attends to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import nn

from napari_harm3.data.dataset import CaseItem
from napari_harm3.data.prepare import PreparedCase
from napari_harm3.explain.capture import evaluating, layer_centres
from napari_harm3.explain.cells import CellGrid, Centres, cell_grid
from napari_harm3.explain.link import CaseLink
from napari_harm3.explain.patch_places import PatchPlaces
from napari_harm3.explain.rollout import attention_rollout
from napari_harm3.explain.slide_maps import patch_places
from napari_harm3.inference.predictor import Predictor
from napari_harm3.models.interface import CaseBatch, Prediction
from napari_harm3.models.layers.attention import tapped


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


def case_link(
    predictor: Predictor,
    prepared: PreparedCase,
    *,
    through_self_attention: bool = False,
) -> CaseLink | None:
    """Return a case's link over the folds that may be asked of it.

    None of a model that has no Eq. (6), and of a case without a slide or without MRI.

    Raises
    ------
    ModelError, FeatureError
        If the model or the features cannot be read.
    """
    batch = predictor.batch(prepared)
    folds = predictor.sight(prepared.identities.values()).folds
    networks = [predictor.network(fold) for fold in folds]
    asked = [
        link_tokens(network, batch, through_self_attention=through_self_attention)
        for network in networks
    ]
    space = link_space(
        networks[0],
        predictor.item(prepared),
        predictor.inputs.mri.size,
        layer_centres(networks[0], batch),
    )
    return link_of(
        asked,
        space,
        patch_places(prepared.bags),
        case_id=prepared.case.case_id,
        folds=folds,
        through_self_attention=through_self_attention,
    )


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


@torch.inference_mode()
def link_tokens(
    network: nn.Module,
    batch: CaseBatch,
    *,
    row: int = 0,
    through_self_attention: bool = False,
) -> LinkTokens | None:
    """Return who asks whom in one case of a batch; None where nothing is linked.

    Parameters
    ----------
    network
        In any mode; asked in evaluation mode.
    batch
        Cases.
    row
        Which of them.
    through_self_attention
        Follow the question back through the self-attention of section 2.2, by
        attention rollout; a network without it is left as it is.
    """
    with evaluating(network), tapped(network) as taken:
        found = tokens_of(network(batch), row)
    if not through_self_attention:
        return found
    layers = [
        one[row].float().mean(dim=0).cpu().numpy() for one in taken.get("self", ())
    ]
    if found is None or not layers:
        return found
    cross = found.cross @ attention_rollout(layers)
    return LinkTokens(pooling=found.pooling, cross=cross.astype(np.float32))


def tokens_of(prediction: Prediction, row: int = 0) -> LinkTokens | None:
    """Return what a prediction says of the link; None if it has none, or it is empty.

    It is empty without a slide, whose patches would ask, and without MRI.
    """
    attention = prediction.attn
    if "pooling" not in attention or "cross" not in attention:
        return None
    pooling, cross = (
        attention[name][row].detach().float().cpu().numpy()
        for name in ("pooling", "cross")
    )
    # Without any MRI, what stands in for it is asked, and lies nowhere.
    if not pooling.any() or not bool(attention["mri_mask"][row].any()):
        return None
    return LinkTokens(pooling=pooling, cross=cross)


def link_of(
    asked: Sequence[LinkTokens | None],
    space: LinkSpace | None,
    places: PatchPlaces,
    *,
    case_id: str,
    folds: tuple[int, ...] = (),
    through_self_attention: bool = False,
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
        through_self_attention=through_self_attention,
        folds=folds,
    )
