"""The losses that decouple pre from post: section 2.1, Eq. (4) and (5).

Every term is a mean over elements, so that its weight does not depend on the size of
a map, and a mean over the cases that it applies to; with none it is zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

from napari_harm3.models.harm3.config import Harm3Config
from napari_harm3.models.harm3.ld_vae import Decoupled, Latent
from napari_harm3.models.layers.masked_mean import masked_mean

PerCase = Float[Tensor, "B"]
Scalar = Float[Tensor, ""]


@dataclass(frozen=True, kw_only=True)
class Term:
    """A loss of each case, and the cases that it applies to."""

    value: PerCase
    applies: Bool[Tensor, "B"]


def decoupling_terms(
    decoupled: Decoupled,
    crossed: Sequence[Float[Tensor, "B N C"]],
    *,
    available: Bool[Tensor, "B T"],
    aligned: Bool[Tensor, "B"],
    label: PerCase,
    config: Harm3Config,
) -> dict[str, Term]:
    """Return Eq. (4) and (5) of one sequence, by name.

    ``reconstruction`` and ``kl`` are the two parts of Eq. (4), ``contrast`` is Eq. (5);
    ``own``, ``cross`` and ``cosine`` are for the log. A case with one time point has
    only its own terms, a case with none has nothing.

    Parameters
    ----------
    decoupled
        What the LD-VAE made of both times.
    crossed
        What it made with the other time's inherent part.
    available
        Which times are present.
    aligned
        Whether pre and post share a grid.
    label
        1 = pCR, 0 = none, NaN = not known; read by the label-aware cosine alone.
    config
        The forms of the losses.
    """
    some, both = available.any(dim=1), available.all(dim=1)
    pre, post = decoupled.latents
    own, cross = (
        _over_times(
            [
                reconstruction_error(one, latent.features, config)
                for one, latent in zip(rebuilt, decoupled.latents, strict=True)
            ],
            present,
        )
        for rebuilt, present in (
            (decoupled.own, available),
            (crossed, available & both[:, None]),
        )
    )
    divergence = [kl_divergence(latent, config) for latent in decoupled.latents]
    cosine = variant_cosine(pre, post, aligned, config).mean(dim=1).detach()
    return {
        # The four (i, j) of Eq. (4) weigh the same.
        "reconstruction": Term(
            value=torch.where(both, (own + cross) / 2, own), applies=some
        ),
        "kl": Term(value=_over_times(divergence, available), applies=some),
        "contrast": Term(
            value=contrastive_error(pre, post, aligned, label, config), applies=both
        ),
        "own": Term(value=own.detach(), applies=some),
        "cross": Term(value=cross.detach(), applies=both),
        "cosine": Term(value=cosine, applies=both),
    }


def mean_over_cases(terms: Sequence[Term]) -> Scalar:
    """Return the mean of a loss over the cases, and sequences, that it applies to."""
    values = torch.stack([term.value for term in terms])
    return masked_mean(values, torch.stack([term.applies for term in terms]))


def reconstruction_error(
    rebuilt: Float[Tensor, "B N C"],
    features: Float[Tensor, "B N C"],
    config: Harm3Config,
) -> PerCase:
    """Return the squared norm of Eq. (4), as a mean over a case's elements."""
    if config.reconstruction_target == "detached":
        features = features.detach()
    return (rebuilt - features).square().mean(dim=(1, 2))


def kl_divergence(latent: Latent, config: Harm3Config) -> PerCase:
    """Return KL(q(Z|X) || N(0, 1)) of Eq. (4), as a mean over a case's latents."""
    mean, log_variance = latent.mean, latent.log_variance
    each = (mean.square() + log_variance.exp() - 1 - log_variance) / 2
    if config.free_bits:
        each = each.clamp(min=config.free_bits)
    count = 2 if config.kl_count == "literal" else 1
    return count * each.mean(dim=(1, 2))


def variant_cosine(
    pre: Latent, post: Latent, aligned: Bool[Tensor, "B"], config: Harm3Config
) -> Float[Tensor, "B n"]:
    """Return the cosine of the variant parts, per token or once for all of them."""
    by_token = cosine_similarity(pre.variant, post.variant, dim=-1)
    pooled = cosine_similarity(pre.variant.mean(1), post.variant.mean(1), dim=-1)
    level = compared_by_token(aligned, config)[:, None]
    return torch.where(level, by_token, pooled[:, None])


def contrastive_error(
    pre: Latent,
    post: Latent,
    aligned: Bool[Tensor, "B"],
    label: PerCase,
    config: Harm3Config,
) -> PerCase:
    """Return Eq. (5): cosine loss on the variant, MSE on the inherent parts."""
    cosine = variant_cosine(pre, post, aligned, config)
    apart = {
        "hinge": cosine.clamp(min=0),
        "raw": cosine,
        "squared": cosine.square(),
        # Without a label the case tells nothing, and NaN fails both comparisons.
        "label": torch.where(
            (label == 1)[:, None],
            cosine.clamp(min=0),
            torch.where((label == 0)[:, None], 1 - cosine, cosine * 0),
        ),
    }[config.cosine].mean(dim=1)
    by_token = (pre.inherent - post.inherent).square().mean(dim=(1, 2))
    pooled = (pre.inherent.mean(1) - post.inherent.mean(1)).square().mean(dim=1)
    alike = torch.where(compared_by_token(aligned, config), by_token, pooled)
    balance = config.contrast_balance
    return balance * apart + (1 - balance) * alike


def compared_by_token(
    aligned: Bool[Tensor, "B"], config: Harm3Config
) -> Bool[Tensor, "B"]:
    """Return for which cases pre and post meet token by token."""
    if config.contrast_level == "auto":
        return aligned
    return torch.full_like(aligned, config.contrast_level == "token")


def _over_times(values: Sequence[PerCase], present: Bool[Tensor, "B T"]) -> PerCase:
    """Return the mean over the present times; zero where there is none."""
    return masked_mean(torch.stack(list(values), dim=1), present, dim=1)
