"""Multi-sequence MRI fusion: self-attention over T1 and T2, section 2.2."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from napari_harm3.models.layers.attention import (
    likeness,
    masked_softmax,
    split_heads,
)

Grid = tuple[int, int, int]


class RelativePosition(nn.Module):
    """A bias for every pair of tokens: by 3-D offset, and by pair of streams.

    An offset alone could not tell T1 from T2, which lie on one grid, and that is
    what the paper wants of its relative positions.
    """

    def __init__(self, *, grid: Grid, streams: int, heads: int) -> None:
        super().__init__()
        self.streams = streams
        spans = [2 * size - 1 for size in grid]
        self.by_offset = nn.Parameter(torch.zeros(math.prod(spans), heads))
        self.by_stream = nn.Parameter(torch.zeros(streams, streams, heads))
        cells = torch.cartesian_prod(*[torch.arange(size) for size in grid])
        offset = cells[:, None] - cells[None] + torch.tensor(grid) - 1
        index = (offset[..., 0] * spans[1] + offset[..., 1]) * spans[2] + offset[..., 2]
        self.index: Tensor
        self.register_buffer("index", index, persistent=False)

    def forward(self) -> Float[Tensor, "heads M M"]:
        """Return the bias; tokens run through a stream's cells, then the streams."""
        # Heads first before the sum: scores are added to it as they lie in memory.
        offset = self.by_offset[self.index].permute(2, 0, 1).contiguous()
        stream = self.by_stream.permute(2, 0, 1).contiguous()
        bias = stream[:, :, None, :, None] + offset[:, None, :, None]
        return bias.flatten(3).flatten(1, 2)


class SelfAttentionLayer(nn.Module):
    """Pre-norm multi-head self-attention and a feed-forward part."""

    def __init__(self, *, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(
        self,
        tokens: Float[Tensor, "B M C"],
        bias: Float[Tensor, "heads M M"] | None,
        mask: Bool[Tensor, "B M"],
        origin: Float[Tensor, "M C"] | None = None,
    ) -> Float[Tensor, "B M C"]:
        """Return the tokens after both parts; masked tokens answer nobody.

        Parameters
        ----------
        tokens
            Of all streams.
        bias
            Added to the scores, by pair of tokens.
        mask
            False for tokens of absent volumes.
        origin
            What each part is told besides of where a token is from.
        """
        told = 0 if origin is None else origin
        query, key, value = (
            split_heads(part, self.heads)
            for part in self.to_qkv(self.norm_1(tokens) + told).chunk(3, dim=-1)
        )
        scores = likeness(query, key)
        if bias is not None:
            scores = scores + bias
        attention = masked_softmax(scores, mask[:, None, None])
        mixed = (attention @ value).transpose(1, 2).flatten(2)
        tokens = tokens + self.out(mixed)
        return tokens + self.feed_forward(self.norm_2(tokens) + told)


class SequenceFusion(nn.Module):
    """Attention-1 of Table 2.

    Parameters
    ----------
    width
        Length of a token.
    heads, layers
        Of the self-attention.
    position
        Bias of its scores by where tokens lie; none if None.
    streams
        Sequences times time points that are told apart by a learned vector each, or 0.
    """

    def __init__(
        self,
        *,
        width: int,
        heads: int,
        layers: int,
        position: RelativePosition | None,
        streams: int = 0,
    ) -> None:
        super().__init__()
        self.position = position
        # A bias says whom to attend to, not what it is that was found there: without
        # these, before and after would be added up as one.
        self.streams = nn.Parameter(torch.randn(streams, width)) if streams else None
        self.layers = nn.ModuleList(
            [SelfAttentionLayer(width=width, heads=heads) for _ in range(layers)]
        )

    def forward(
        self, tokens: Float[Tensor, "B M C"], mask: Bool[Tensor, "B M"]
    ) -> Float[Tensor, "B M C"]:
        """Return the MRI tokens with what the sequences know of each other."""
        bias = None if self.position is None else self.position()
        origin = None
        if self.streams is not None:
            cells = tokens.shape[1] // len(self.streams)
            origin = self.streams.repeat_interleave(cells, dim=0)
        for layer in self.layers:
            tokens = layer(tokens, bias, mask, origin)
        return tokens
