"""Self-attention through landmarks, linear in the number of tokens.

Reference: Xiong et al., Nystromformer: a Nystrom-based algorithm for approximating
self-attention, AAAI 2021.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from napari_harm3.models.layers.attention import likeness, split_heads

Heads = Float[Tensor, "B heads n c"]


class NystromAttention(nn.Module):
    """Multi-head self-attention, with a convolution of the values added to it.

    Parameters
    ----------
    width
        Length of a token.
    heads
        Attention heads.
    landmarks
        Means of neighbouring tokens that stand for all.
    iterations
        Steps towards the pseudo-inverse.
    exact_below
        Number of tokens below which attention is exact.
    kernel
        Tokens that the convolution of the values spans.
    """

    def __init__(
        self,
        *,
        width: int,
        heads: int,
        landmarks: int,
        iterations: int = 6,
        exact_below: int = 0,
        kernel: int = 33,
    ) -> None:
        super().__init__()
        self.heads, self.landmarks, self.iterations = heads, landmarks, iterations
        self.exact_below, self.reach = exact_below, kernel // 2
        self.to_qkv = nn.Linear(width, 3 * width, bias=False)
        self.value_residual = nn.Conv2d(
            heads,
            heads,
            (kernel, 1),
            padding=(self.reach, 0),
            groups=heads,
            bias=False,
        )
        self.out = nn.Linear(width, width)

    def forward(
        self, tokens: Float[Tensor, "B n C"], *, answers: int | None = None
    ) -> tuple[Float[Tensor, "B a C"], Float[Tensor, "B n"]]:
        """Return the answers, and what the first token takes of each token.

        The latter is the first row of the exact attention, mean over the heads.

        Parameters
        ----------
        tokens
            All that is asked.
        answers
            How many of the first tokens want an answer; None for all.
        """
        query, key, value = (
            split_heads(part, self.heads) for part in self.to_qkv(tokens).chunk(3, -1)
        )
        asking = query[:, :, :answers]
        if tokens.shape[1] < self.exact_below:
            mixed = scaled_dot_product_attention(asking, key, value)
        else:
            query_marks = segment_means(query, self.landmarks)
            key_marks = segment_means(key, self.landmarks)
            middle = attention_matrix(query_marks, key_marks)
            heard = scaled_dot_product_attention(query_marks, key, value)
            heard = pseudo_inverse(middle, self.iterations) @ heard
            mixed = scaled_dot_product_attention(asking, key_marks, heard)
        near = None if answers is None else answers + self.reach
        residual = self.value_residual(value[:, :, :near])[:, :, :answers]
        first = attention_matrix(query[:, :, :1], key).mean(dim=1).squeeze(1)
        return self.out((mixed + residual).transpose(1, 2).flatten(2)), first


def attention_matrix(
    query: Float[Tensor, "B heads q c"], key: Float[Tensor, "B heads k c"]
) -> Float[Tensor, "B heads q k"]:
    """Return what each query takes of each key."""
    return likeness(query, key).softmax(dim=-1)


def segment_means(tokens: Heads, count: int) -> Float[Tensor, "B heads m c"]:
    """Return the means of that many runs of neighbours, or the tokens if fewer.

    The first runs are longer by one where the number does not divide, so that no
    token has to be made up.
    """
    size, longer = divmod(tokens.shape[2], count)
    if size == 0:
        return tokens
    cut = longer * (size + 1)
    batch, heads, _, width = tokens.shape
    head = tokens[:, :, :cut].reshape(batch, heads, longer, size + 1, width)
    tail = tokens[:, :, cut:].reshape(batch, heads, count - longer, size, width)
    return torch.cat([head.mean(dim=3), tail.mean(dim=3)], dim=2)


def pseudo_inverse(
    matrix: Float[Tensor, "B heads m m"], iterations: int
) -> Float[Tensor, "B heads m m"]:
    """Return the Moore-Penrose inverse after some steps of third order."""
    columns = matrix.abs().sum(dim=-2).amax(dim=-1)
    rows = matrix.abs().sum(dim=-1).amax(dim=-1)
    inverse = matrix.transpose(-2, -1) / (columns * rows)[..., None, None]
    one = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    for _ in range(iterations):
        product = matrix @ inverse
        step = 15 * one - product @ (7 * one - product)
        inverse = inverse @ (13 * one - product @ step) / 4
    return inverse
