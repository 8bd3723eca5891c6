"""Attention rollout: where the information of a token comes from, layer by layer.

Reference: Abnar and Zuidema, Quantifying attention flow in transformers, ACL 2020. A
layer with a residual connection passes on (A + I) / 2 of its input, A being the mean
over heads and every row scaled to one; layers are multiplied. Rollout says where
information flows, not whether it speaks for or against: it has no sign.

What is rolled out here, by what stands between a patch and the logit:

* HARM3: the pooled tokens. Each takes P[k, p] of the patches, and counts by
  | gradient . activation | of its token at the head, scaled to one. With Eq. (7) the
  head sees the MRI's answer to token k in that place, with Attention-2 left out the
  token itself.
* TransMIL: its two layers, from the class token down. Their attention is rolled out as
  the network computes it, through landmarks, a row at a time, so that no N x N matrix
  is made; what the approximation gives below zero counts as zero. Neither the
  position encoding between them nor the convolution of the values that each adds to
  its answers (`NystromAttention.value_residual`), which mix neighbours, is followed.
* Networks that pool to one vector with nothing between (ABMIL, CLAM, DSMIL, M2Fusion,
  late fusion): a rollout would be the attention itself, and is not offered. HMCAT's
  three levels and its summary transformers are not followed either.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from napari_harm3.models.layers.attention import split_heads
from napari_harm3.models.layers.nystrom import (
    NystromAttention,
    attention_matrix,
    pseudo_inverse,
    segment_means,
)

LEAST = 1e-12


def token_weights(
    tokens: Float[Tensor, "B n C"], gradient: Float[Tensor, "B n C"]
) -> Float[Tensor, "B n"]:
    """Return how much each token counts for the logit; a case's add up to one."""
    weights = (tokens * gradient).sum(dim=-1).abs()
    return weights / weights.sum(dim=1, keepdim=True).clamp(min=LEAST)


def pooled_rollout(
    pooling: Float[Tensor, "B k N"], weights: Float[Tensor, "B k"]
) -> Float[Tensor, "B N"]:
    """Return each patch's share in the pooled tokens, weighed by what they count."""
    return (weights[:, None] @ pooling).squeeze(1)


@contextmanager
def nystrom_inputs(
    network: nn.Module,
) -> Iterator[list[tuple[NystromAttention, Tensor]]]:
    """Yield each call of the attention through landmarks, and the tokens it mixed."""
    calls: list[tuple[NystromAttention, Tensor]] = []

    def note(layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        if isinstance(layer, NystromAttention):
            calls.append((layer, arguments[0].detach()))

    handles = [
        module.register_forward_pre_hook(note)
        for module in network.modules()
        if isinstance(module, NystromAttention)
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def class_token_rollout(
    layers: Sequence[tuple[NystromAttention, Float[Tensor, "1 n C"]]],
) -> Float[Tensor, "n"]:
    """Return what the first token holds of every token before the first layer.

    Parameters
    ----------
    layers
        Each layer's attention and the tokens that it mixed, first layer first.
    """
    last = layers[-1][1]
    row = torch.zeros(last.shape[1], dtype=last.dtype, device=last.device)
    row[0] = 1
    for attention, tokens in reversed(layers):
        mixed = (row + passed_back(row, attention, tokens)).clamp(min=0)
        row = mixed / mixed.sum().clamp(min=LEAST)
    return row


def passed_back(
    row: Float[Tensor, "n"], layer: NystromAttention, tokens: Float[Tensor, "1 n C"]
) -> Float[Tensor, "n"]:
    """Return a row times the mean attention of a layer, without making that matrix."""
    query, key, _ = (
        split_heads(part, layer.heads) for part in layer.to_qkv(tokens).chunk(3, -1)
    )
    rows = row.expand(1, layer.heads, 1, -1)
    if tokens.shape[1] < layer.exact_below:
        return (rows @ attention_matrix(query, key)).mean(dim=1).flatten()
    query_marks = segment_means(query, layer.landmarks)
    key_marks = segment_means(key, layer.landmarks)
    middle = pseudo_inverse(attention_matrix(query_marks, key_marks), layer.iterations)
    marked = rows @ attention_matrix(query, key_marks) @ middle
    return (marked @ attention_matrix(query_marks, key)).mean(dim=1).flatten()
