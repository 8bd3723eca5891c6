"""The losses that decouple pre from post: section 2.1, Eq. (4) and (5).

Every term is a mean over elements, so that its weight does not depend on the size of
a map, and a mean over the cases that it applies to; with none it is zero.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

from napari_harm3.models.harm3.config import Harm3Config
from napari_harm3.models.harm3.ld_vae import Latent

PerCase = Float[Tensor, "B"]
Scalar = Float[Tensor, ""]


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
    level = _by_token(aligned, config)[:, None]
    return torch.where(level, by_token, pooled[:, None])


def contrastive_error(
    pre: Latent,
    post: Latent,
    batch_aligned: Bool[Tensor, "B"],
    label: PerCase,
    config: Harm3Config,
) -> PerCase:
    """Return Eq. (5): cosine loss on the variant, MSE on the inherent parts."""
    cosine = variant_cosine(pre, post, batch_aligned, config)
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
    alike = torch.where(_by_token(batch_aligned, config), by_token, pooled)
    balance = config.contrast_balance
    return balance * apart + (1 - balance) * alike


def masked_mean(values: Tensor, mask: Bool[Tensor, "..."]) -> Scalar:
    """Return the mean where a mask holds; zero if it holds nowhere."""
    kept = torch.where(mask, values, torch.zeros_like(values))
    return kept.sum() / mask.sum().clamp(min=1)


def _by_token(aligned: Bool[Tensor, "B"], config: Harm3Config) -> Bool[Tensor, "B"]:
    if config.contrast_level == "auto":
        return aligned
    return torch.full_like(aligned, config.contrast_level == "token")
