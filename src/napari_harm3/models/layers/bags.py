"""Bags of different sizes, for networks that look at one bag at a time.

So padding costs nothing and has no say, and every bag is the plain matrix of the
papers. A small bag is quickly done, and a large one fills the machine by itself.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def real_patches(
    bags: Float[Tensor, "B N D"], mask: Bool[Tensor, "B N"]
) -> list[Float[Tensor, "_ D"]]:
    """Return each case's patches without padding; a view where it is at the end."""
    return [
        bag[:count] if kept[:count].all() else bag[kept]
        for bag, kept, count in zip(bags, mask, mask.sum(dim=1).tolist(), strict=True)
    ]


def padded_weights(
    weights: Sequence[Float[Tensor, "k _"]], mask: Bool[Tensor, "B N"]
) -> Float[Tensor, "B k N"]:
    """Return what each patch weighs as one tensor, with zeros on padding."""
    rows = [
        one.new_zeros(len(one), len(kept)).masked_scatter(kept, one)
        for one, kept in zip(weights, mask, strict=True)
    ]
    return torch.stack(rows)
