"""What the two halves of the LD-VAE respond to: Eq. (2) and (4) on the volumes."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from napari_harm3.cohort.case import AXES
from napari_harm3.errors import ModelError
from napari_harm3.explain.capture import evaluating, layer_centres
from napari_harm3.explain.cells import BatchMaps, Centres
from napari_harm3.models.harm3.ld_vae import Decoupled
from napari_harm3.models.harm3.losses import compared_by_token
from napari_harm3.models.harm3.network import Harm3
from napari_harm3.models.interface import CaseBatch, Prediction


@dataclass(frozen=True, kw_only=True)
class DecoupledMaps:
    """A prediction and three maps of each volume, by role.

    All are lengths of vectors, so none is negative. A role that no case has is left
    out; rows of cases that lack it are zero.
    """

    prediction: Prediction

    centres: dict[str, Centres]
    """Where the cells of each volume's maps lie on the model's grid."""

    inherent: BatchMaps
    """How far the inherent component of each token, Eq. (2), lies from its mean over
    the tokens of the volume: a component that is the same everywhere responds to
    nothing. Empty where one latent stands for a whole volume
    (``latent = "global"``)."""

    variant: BatchMaps
    """The same of the variant component."""

    cross_reconstruction: BatchMaps
    """How far each reconstructed token moves, Eq. (4), when the inherent component is
    the other time's: |D_i(inherent_j, variant_i) - D_i(inherent_i, variant_i)|. Zero
    where the time is exchangeable. Only of cases that have both times; where they
    share no grid, the other's inherent component is pooled over its tokens, as in
    training."""


def decoupled_maps(network: nn.Module, batch: CaseBatch) -> DecoupledMaps:
    """Return what the inherent and the variant component see in each volume.

    Parameters
    ----------
    network
        In any mode; the VAE's mean is explained, never a sample.
    batch
        One case or several.

    Raises
    ------
    ModelError
        If the network has no LD-VAE.
    """
    if not isinstance(network, Harm3) or not network.vaes:
        raise ModelError(
            "This network has no LD-VAE, so nothing is decoupled in it: choose a "
            "HARM3 method with one, 'harm3' for example."
        )
    by_token = compared_by_token(batch.aligned, network.config)
    sequences: list[Decoupled] = []
    # A shared VAE is called once a sequence: the list is t1, t2 either way.
    hooks = [
        vae.register_forward_hook(lambda _vae, _maps, out: sequences.append(out))
        for vae in network.vaes
    ]
    try:
        with torch.no_grad(), evaluating(network):
            prediction = network(batch)
            crossed = [
                network.vae_of(number).crossed(
                    one.latents, by_token, network.token_grid
                )
                for number, one in enumerate(sequences)
            ]
    finally:
        for hook in hooks:
            hook.remove()
    found: dict[str, BatchMaps] = {
        "inherent": {},
        "variant": {},
        "cross_reconstruction": {},
    }
    for role, (sequence, time) in AXES.items():
        one, grid = sequences[sequence], network.token_grid
        latent, present = one.latents[time], batch.mri_avail[:, sequence]
        both = present.all(dim=1)
        tokens = {
            "inherent": latent.inherent - latent.inherent.mean(dim=1, keepdim=True),
            "variant": latent.variant - latent.variant.mean(dim=1, keepdim=True),
            "cross_reconstruction": crossed[sequence][time] - one.own[time],
        }
        if network.config.latent == "global":
            del tokens["inherent"], tokens["variant"]
        for name, value in tokens.items():
            there = both if name == "cross_reconstruction" else present[:, time]
            if there.any():
                found[name][role] = _lengths(value, there, grid)
    return DecoupledMaps(
        prediction=prediction, centres=layer_centres(network, batch), **found
    )


def _lengths(
    tokens: Float[Tensor, "B N C"], there: Bool[Tensor, "B"], grid: tuple[int, int, int]
) -> Float[np.ndarray, "B d h w"]:
    lengths = tokens.double().norm(dim=-1) * there[:, None]
    return lengths.unflatten(1, grid).cpu().numpy()
