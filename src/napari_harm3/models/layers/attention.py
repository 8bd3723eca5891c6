"""What every attention shares."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class Tap(nn.Module):
    """Hands on what it is given; here an explanation takes hold of it, in the graph.

    Nothing is kept unless somebody asks by `tapped`, so that training pays nothing.

    Parameters
    ----------
    kind
        What passes: ``pooling`` (what patches weigh, [B, heads, k, N], [B, k, N] or,
        bag by bag, [k, n]), or ``head`` [B, k, C] for the tokens that are judged.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, passing: Tensor) -> Tensor:
        """Return the same tensor."""
        return passing


@contextmanager
def tapped(network: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """Yield what passes a network's taps, by kind, in the order of the calls.

    No hook is left behind, whatever happens within.
    """
    taken: dict[str, list[Tensor]] = {}

    def keep(tap: nn.Module, _: object, passing: Tensor) -> None:
        taken.setdefault(str(tap.kind), []).append(passing)

    taps = [module for module in network.modules() if isinstance(module, Tap)]
    handles = [tap.register_forward_hook(keep) for tap in taps]
    try:
        yield taken
    finally:
        for handle in handles:
            handle.remove()


def likeness(
    query: Float[Tensor, "... Q c"], key: Float[Tensor, "... K c"]
) -> Float[Tensor, "... Q K"]:
    """Return how alike queries and keys are: their products over the root of c.

    The queries are divided, which is far less than to divide the products.
    """
    return (query / math.sqrt(query.shape[-1])) @ key.transpose(-2, -1)


def masked_softmax(
    scores: Float[Tensor, "... Q K"], mask: Bool[Tensor, "... K"]
) -> Float[Tensor, "... Q K"]:
    """Return attention over the keys that a mask keeps; zero where it keeps none."""
    weights: Tensor = _MaskedSoftmax.apply(scores, mask)
    return weights


class _MaskedSoftmax(torch.autograd.Function):
    """Keeps the weights alone for the way back, not what masking made on the way."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, mask: Tensor) -> Tensor:
        lowest = torch.finfo(scores.dtype).min
        weights = scores.masked_fill(~mask, lowest).softmax(dim=-1)
        weights *= mask.any(dim=-1, keepdim=True)
        ctx.save_for_backward(weights)
        return weights

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (weights,) = ctx.saved_tensors
        slope = gradient * weights
        return slope.addcmul_(weights, slope.sum(-1, keepdim=True), value=-1), None


def split_heads(
    tokens: Float[Tensor, "B n C"], heads: int
) -> Float[Tensor, "B heads n c"]:
    """Return every head's share of the tokens."""
    batch, count, width = tokens.shape
    return tokens.reshape(batch, count, heads, width // heads).transpose(1, 2)
