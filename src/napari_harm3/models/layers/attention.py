"""What every attention shares."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def masked_softmax(
    scores: Float[Tensor, "... Q K"], mask: Bool[Tensor, "... K"]
) -> Float[Tensor, "... Q K"]:
    """Return attention over the keys that a mask keeps; zero where it keeps none."""
    lowest = torch.finfo(scores.dtype).min
    weights = scores.masked_fill(~mask, lowest).softmax(dim=-1)
    return weights * mask.any(dim=-1, keepdim=True)


def split_heads(
    tokens: Float[Tensor, "B n C"], heads: int
) -> Float[Tensor, "B heads n c"]:
    """Return every head's share of the tokens."""
    batch, count, width = tokens.shape
    return tokens.reshape(batch, count, heads, width // heads).transpose(1, 2)
