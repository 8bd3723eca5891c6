"""Maps of a slide: what each patch of the bag means to a network.

* ``attention``: what the pooling takes of a patch, the mean over the pooled tokens.
  It adds up to one over a case, and has no sign: a patch may be looked at in order to
  be ruled out.
* ``gradient_attention``: attention times d logit / d attention, summed over heads and
  pooled tokens: the log-odds of the target that rest on the network's looking at a
  patch, to first order. As of a volume, it is rectified for ``pcr`` and for
  ``non-pcr``, and signed for ``contrast``. Raw magnitudes are kept. HMCAT's is of
  its level of patches alone. There is none for TransMIL: what it calls its attention
  is read off beside the approximation that it computes with, so that no logit depends
  on it.
* ``rollout``: attention rollout, see `explain.rollout`; for HARM3 and TransMIL.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from napari_harm3.explain.config import Target
from napari_harm3.explain.patch_places import PatchPlaces
from napari_harm3.explain.rollout import (
    class_token_rollout,
    nystrom_inputs,
    pooled_rollout,
    token_weights,
)
from napari_harm3.models.interface import Prediction
from napari_harm3.models.layers.attention import tapped
from napari_harm3.models.layers.bags import padded_weights
from napari_harm3.models.layers.nystrom import NystromAttention

Kind = Literal["attention", "gradient_attention", "rollout"]
KINDS: tuple[Kind, ...] = ("attention", "gradient_attention", "rollout")
PatchMaps = dict[str, Float[np.ndarray, "B N"]]
"""By kind."""


@dataclass(frozen=True, kw_only=True)
class SlideMaps:
    """Every map of a case's slides, the mean over the folds that were asked."""

    maps: dict[str, Float[np.ndarray, "N"]]
    """By kind; none of a network that looks at no patches."""

    places: PatchPlaces


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What passes within a network on one forward pass, in the graph."""

    taken: dict[str, list[Tensor]]
    """By kind of `Tap`."""

    nystrom: list[tuple[NystromAttention, Tensor]]
    """Each call of TransMIL's attention, and the tokens that it mixed."""


@contextmanager
def listening(network: nn.Module) -> Iterator[Heard]:
    """Hear what slide maps are made of; no hook stays."""
    with tapped(network) as taken, nystrom_inputs(network) as nystrom:
        yield Heard(taken=taken, nystrom=nystrom)


def maps_heard(
    prediction: Prediction,
    heard: Heard,
    mask: Bool[Tensor, "B N"],
    target: Target = "pcr",
) -> PatchMaps:
    """Return each kind of map that a network has of its patches; padding is zero.

    The graph is left for others to ask.

    Parameters
    ----------
    prediction, heard
        Of one forward pass in evaluation mode.
    mask
        False for padding.
    target
        What the map with a gradient is evidence of, as for volumes.
    """
    pooling = prediction.attn.get("pooling")
    if pooling is None or not bool(pooling.any()):
        return {}
    taken, n = heard.taken, heard.nystrom
    gradients = _gradients(prediction, taken)
    pooling = pooling.detach().float()
    maps = {"attention": pooling.mean(dim=1)}
    if "pooling" in taken:
        evidence = _evidence(taken["pooling"], gradients["pooling"], mask)
        if target == "non-pcr":
            evidence = -evidence
        if target != "contrast":
            evidence = evidence.clamp(min=0)
        maps["gradient_attention"] = evidence
    if "head" in taken:
        tokens, slopes = taken["head"][0].detach(), gradients["head"][0]
        # Without Attention-2 the slide's tokens stand behind the MRI's.
        own = slice(tokens.shape[1] - pooling.shape[1], None)
        weights = token_weights(tokens[:, own].float(), slopes[:, own].float())
        maps["rollout"] = pooled_rollout(pooling, weights)
    elif n:
        depth = len({id(layer) for layer, _ in n})
        cases = [n[start : start + depth] for start in range(0, len(n), depth)]
        rows = [
            _without_repeats(class_token_rollout(layers), int(count))
            for layers, count in zip(cases, mask.sum(dim=1), strict=True)
        ]
        maps["rollout"] = padded_weights([row[None] for row in rows], mask)[:, 0]
    return {kind: one.cpu().numpy() for kind, one in maps.items()}


TOP = ("map", "rank", "patch", "slide", "x", "y", "width", "height", "value")
"""Columns of `top_patches`."""


def top_patches(
    shares: Float[np.ndarray, "N"], places: PatchPlaces, *, kind: str, count: int = 10
) -> list[dict[str, Any]]:
    """Return the patches of the highest values, with their slide and level-0 place.

    Ties go by the order of the bag; a patch of no share, or one below zero, is never
    among them.
    """
    order = np.argsort(-shares, kind="stable")[:count]
    rows = []
    for rank, patch in enumerate(order[shares[order] > 0].tolist(), start=1):
        box = [None if np.isnan(one) else one for one in places.box(patch)]
        slide, value = places.names[places.slide[patch]], float(shares[patch])
        found = (kind, rank, patch, slide, *box, value)
        rows.append(dict(zip(TOP, found, strict=True)))
    return rows


def _gradients(
    prediction: Prediction, taken: dict[str, list[Tensor]]
) -> dict[str, list[Tensor]]:
    """Return d logit / d what passed the taps; zero of what the logit does not use."""
    places = [
        (kind, one) for kind in ("pooling", "head") for one in taken.get(kind, ())
    ]
    if not places:
        return {}
    # Cases do not mix in evaluation mode, so the sum's gradient is each one's.
    slopes = torch.autograd.grad(
        prediction.logit.sum(),
        [one for _, one in places],
        retain_graph=True,
        materialize_grads=True,
    )
    found: dict[str, list[Tensor]] = {kind: [] for kind, _ in places}
    for (kind, _), slope in zip(places, slopes, strict=True):
        found[kind].append(slope)
    return found


def _evidence(
    attention: Sequence[Tensor], slopes: Sequence[Tensor], mask: Bool[Tensor, "B N"]
) -> Float[Tensor, "B N"]:
    """Return attention times its gradient, summed over all but cases and patches."""
    products = [
        one.detach().float() * slope.float()
        for one, slope in zip(attention, slopes, strict=True)
    ]
    if products[0].ndim == 2:  # bag by bag
        return padded_weights(products, mask).sum(dim=1)
    # The first call is of the patches themselves; HMCAT asks two coarser levels too.
    return products[0].flatten(1, -2).sum(dim=1)


def _without_repeats(row: Float[Tensor, "n"], count: int) -> Float[Tensor, "p"]:
    """Return the shares of a bag's patches, from the class token's of its square.

    The square is filled with the first patches again; their shares are theirs.
    """
    own, again = row[1 : count + 1].clone(), row[count + 1 :]
    own[: len(again)] += again
    return own / own.sum().clamp(min=torch.finfo(own.dtype).tiny)
