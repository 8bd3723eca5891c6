"""Multi-modal MRI-WSI fusion: section 2.3 of the paper, Eq. (6) and (7)."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from napari_harm3.models.layers.attention import (
    Tap,
    likeness,
    masked_softmax,
    split_heads,
)
from napari_harm3.models.layers.patch_scale import ClinicalScale, PatchScale


class BagPooling(nn.Module):
    """Multi-head attention that pools a bag to a fixed number of tokens.

    The paper asks for a fixed length; learned queries give it whatever the bag's.

    Parameters
    ----------
    patch_width
        Features of a patch.
    width
        Length of a token.
    tokens
        Number of tokens that come out.
    heads
        Attention heads.
    """

    def __init__(
        self, *, patch_width: int, width: int, tokens: int, heads: int
    ) -> None:
        super().__init__()
        self.heads = heads
        self.scale = PatchScale(patch_width)
        self.project = nn.Sequential(nn.Linear(patch_width, width), nn.LayerNorm(width))
        self.queries = nn.Parameter(torch.randn(tokens, width) / math.sqrt(width))
        self.to_query = nn.Linear(width, width, bias=False)
        self.to_key = nn.Linear(width, width, bias=False)
        self.to_value = nn.Linear(width, width, bias=False)
        self.tap = Tap("pooling")
        self.out = nn.Linear(width, width)

    def forward(
        self,
        bag: Float[Tensor, "B N D"],
        mask: Bool[Tensor, "B N"],
        available: Bool[Tensor, "B"],
    ) -> tuple[Float[Tensor, "B k C"], Float[Tensor, "B k N"]]:
        """Return the pooled tokens, and how much each took of every patch.

        Where there is no slide the queries themselves stand in.
        """
        patches = self.project(self.scale(bag))
        query = split_heads(self.to_query(self.queries)[None], self.heads)
        key, value = (
            split_heads(self.to_key(patches), self.heads),
            split_heads(self.to_value(patches), self.heads),
        )
        scores = likeness(query, key)
        there = (mask & available[:, None])[:, None, None]
        weights = self.tap(masked_softmax(scores, there))
        pooled = self.out((weights @ value).transpose(1, 2).flatten(2))
        tokens = self.queries + torch.where(
            available[:, None, None], pooled, torch.zeros_like(pooled)
        )
        return tokens, weights.mean(dim=1)


class LearnedQueries(nn.Module):
    """What asks the MRI where the slide is left out."""

    def __init__(self, *, tokens: int, width: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(tokens, width) / math.sqrt(width))

    def forward(
        self,
        bag: Float[Tensor, "B N D"],
        mask: Bool[Tensor, "B N"],
        available: Bool[Tensor, "B"],  # noqa: ARG002 - the bag is not looked at
    ) -> tuple[Float[Tensor, "B k C"], Float[Tensor, "B k N"]]:
        """Return the same tokens for every case, which take nothing of its bag."""
        tokens = self.queries.expand(len(bag), -1, -1)
        return tokens, bag.new_zeros(len(bag), len(self.queries), mask.shape[1])


class CrossAttention(nn.Module):
    """Slide tokens ask, MRI tokens answer.

    Parameters
    ----------
    width
        Length of a token, ``d_k`` in Eq. (6).
    heads
        One in the paper.
    residual
        Add the query to the answer; not in the paper.
    """

    def __init__(
        self, *, width: int = 512, heads: int = 1, residual: bool = False
    ) -> None:
        super().__init__()
        self.heads, self.residual = heads, residual
        self.to_query = nn.Linear(width, width, bias=False)  # W_Q
        self.to_key = nn.Linear(width, width, bias=False)  # W_K
        self.to_value = nn.Linear(width, width, bias=False)  # W_V

    def forward(
        self,
        wsi: Float[Tensor, "B k C"],
        mri: Float[Tensor, "B M C"],
        mask: Bool[Tensor, "B M"],
    ) -> tuple[Float[Tensor, "B k C"], Float[Tensor, "B k M"]]:
        """Return the fused tokens and the attention that made them.

        Parameters
        ----------
        wsi
            Pooled slide tokens.
        mri
            Tokens of the MRI.
        mask
            False for tokens of absent volumes, which are no keys.
        """
        query = split_heads(self.to_query(wsi), self.heads)
        key = split_heads(self.to_key(mri), self.heads)
        value = split_heads(self.to_value(mri), self.heads)
        scores = likeness(query, key)
        attention = masked_softmax(scores, mask[:, None, None])  # Eq. (6)
        fused = (attention @ value).transpose(1, 2).flatten(2)  # Eq. (7)
        if self.residual:
            fused = fused + wsi
        return fused, attention.mean(dim=1)


class PredictionHead(nn.Module):
    """The CNN and the MLP that end section 2.3, over the fused tokens."""

    def __init__(
        self, *, width: int, hidden: int, dropout: float, norm: str = "batch"
    ) -> None:
        super().__init__()
        # Fused tokens share most of their content; batch norm brings out what differs
        # from case to case.
        self.tap = Tap("head")
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [
                nn.Conv1d(width, width, 3, padding=1, bias=False),
                nn.BatchNorm1d(width)
                if norm == "batch"
                else nn.GroupNorm(math.gcd(8, width), width),
                nn.ReLU(),
            ]
        self.cnn = nn.Sequential(*layers)
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, 1),
        )

    def forward(self, tokens: Float[Tensor, "B k C"]) -> Float[Tensor, "B"]:
        """Return the log-odds of pCR."""
        maps = self.cnn(self.tap(tokens).transpose(1, 2))
        return self.mlp(maps.mean(dim=-1) + maps.amax(dim=-1)).squeeze(-1)


class ClinicalBranch(nn.Module):
    """The log-odds that columns of the cohort table add; beyond the paper."""

    def __init__(self, columns: int, hidden: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            ClinicalScale(columns),
            nn.Linear(columns, hidden),
            nn.GELU(),
            nn.Linear(hidden, 1),
        )

    def forward(self, clinical: Float[Tensor, "B c"]) -> Float[Tensor, "B"]:
        """Return what the columns say, one number a case."""
        return self.mlp(clinical).squeeze(-1)
