"""A mean over what is there."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def masked_mean(
    values: Float[Tensor, "..."], mask: Bool[Tensor, "..."], *, dim: int | None = None
) -> Float[Tensor, "..."]:
    """Return the mean where a mask of the same shape holds; zero if it holds nowhere.

    Parameters
    ----------
    values, mask
        What is there, and where; what the mask leaves out may be NaN.
    dim
        The axis that the mean is taken over; None for all.
    """
    kept = torch.where(mask, values, torch.zeros_like(values))
    return kept.sum(dim=dim) / mask.sum(dim=dim).clamp(min=1)
