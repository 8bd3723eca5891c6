"""TransMIL: a transformer over the bag, laid out as a square.

Reference: Shao et al., TransMIL: transformer based correlated multiple instance
learning for whole slide image classification, NeurIPS 2021.
Row of Table 1: TransMIL, from the slide alone.

*Differs from the paper*

* Attention is exact below 2,000 tokens (`exact_below`): it costs no more there, and
  landmarks are an approximation for the sake of cost.
* Landmarks are means of the tokens there are; none is made up to fill the last one.
* One logit instead of two, which is the same for two classes.
* The three kernels of the position encoding are added up, with one bias, and convolved
  once; of the last layer only the class token's answer is computed. That gives the same
  numbers sooner.
* Patch features are standardised first; the paper's encoder is another one.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from napari_harm3.models.baselines.bag_config import TransMilConfig
from napari_harm3.models.interface import CaseBatch, Prediction
from napari_harm3.models.layers.bags import padded_weights, real_patches
from napari_harm3.models.layers.nystrom import NystromAttention
from napari_harm3.models.layers.patch_scale import PatchScale

Tokens = Float[Tensor, "1 n C"]


class TransMil(nn.Module):
    """Attention, position, attention; the class token answers.

    The order of the bag matters: the patches fill a square in it, which the position
    encoding convolves, and landmarks are means of neighbours in it.
    """

    def __init__(
        self,
        config: TransMilConfig,
        *,
        volume_size: Sequence[int],  # noqa: ARG002 - it takes no volumes
        patch_width: int,
    ) -> None:
        super().__init__()
        width = config.width
        self.scale = PatchScale(patch_width)
        self.project = nn.Sequential(nn.Linear(patch_width, width), nn.ReLU())
        self.class_token = nn.Parameter(torch.randn(1, width))
        self.first, self.second = AttentionLayer(config), AttentionLayer(config)
        self.position = PositionEncoding(width)
        self.norm = nn.LayerNorm(width)
        self.classify = nn.Linear(width, 1)

    def forward(self, batch: CaseBatch) -> Prediction:
        """Return the log-odds, and what the class token takes of each patch."""
        bags = real_patches(batch.wsi, batch.wsi_mask)
        answers, weights = zip(*[self.look(patches) for patches in bags], strict=True)
        return Prediction(
            logit=self.classify(self.norm(torch.cat(answers))).squeeze(-1),
            attn={"pooling": padded_weights(weights, batch.wsi_mask)},
        )

    def look(
        self, patches: Float[Tensor, "n D"]
    ) -> tuple[Float[Tensor, "1 C"], Float[Tensor, "1 n"]]:
        """Return the class token of a bag, and the last layer's attention to patches.

        The first patches are repeated to fill the square.
        """
        count = len(patches)
        side = math.isqrt(count - 1) + 1
        again = side**2 - count
        hidden = self.project(self.scale(patches))
        tokens = torch.cat([self.class_token, hidden, hidden[:again]])[None]
        tokens, _ = self.first(tokens)
        tokens = self.position(tokens, side)
        tokens, attention = self.second(tokens, answers=1)
        taken = attention[:, 1 : count + 1]
        taken = taken + pad(attention[:, count + 1 :], (0, count - again))
        return tokens[:, 0], taken / taken.sum()


class AttentionLayer(nn.Module):
    """Pre-norm attention, added to its tokens; there is no feed-forward part."""

    def __init__(self, config: TransMilConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.width)
        self.attention = NystromAttention(
            width=config.width,
            heads=config.heads,
            landmarks=config.landmarks,
            iterations=config.inverse_iterations,
            exact_below=config.exact_below,
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, tokens: Tokens, *, answers: int | None = None
    ) -> tuple[Float[Tensor, "1 a C"], Float[Tensor, "1 n"]]:
        """Return the first tokens, or all, and what the very first one looks at."""
        mixed, attention = self.attention(self.norm(tokens), answers=answers)
        return tokens[:, :answers] + self.dropout(mixed), attention


class PositionEncoding(nn.Module):
    """PPEG, the pyramid position encoding generator: what lies around a patch."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.large = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.middle = nn.Conv2d(width, width, 5, padding=2, groups=width, bias=False)
        self.small = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)

    def forward(self, tokens: Tokens, side: int) -> Tokens:
        """Return the tokens with their surroundings on the square added."""
        maps = tokens[:, 1:].transpose(1, 2).reshape(1, -1, side, side)
        # Convolution is linear: small kernels fit into the middle of the large one.
        weight = self.large.weight
        weight = weight + pad(self.middle.weight, [1] * 4)
        weight = weight + pad(self.small.weight, [2] * 4)
        around = conv2d(maps, weight, self.large.bias, padding=3, groups=len(weight))
        around = around.flatten(2).transpose(1, 2)
        return torch.cat([tokens[:, :1], tokens[:, 1:] + around], dim=1)
