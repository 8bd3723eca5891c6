"""ABMIL: attention-based multiple instance learning.

Reference: Ilse, Tomczak and Welling, Attention-based deep multiple instance learning,
ICML 2018.
Row of Table 1: none; an anchor beyond the paper, from the slide alone.

*Differs from the paper*

* Patches come as features of a fixed encoder, standardised, where the paper trains a
  small convolutional network on pixels: slides have too many patches for that.
* The logit is handed out, and the loss takes the sigmoid.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from napari_harm3.models.baselines.bag_config import AbmilConfig
from napari_harm3.models.interface import CaseBatch, Prediction
from napari_harm3.models.layers.attention import Tap
from napari_harm3.models.layers.bags import padded_weights, real_patches
from napari_harm3.models.layers.gated_attention import GatedAttention
from napari_harm3.models.layers.patch_scale import PatchScale


class Abmil(nn.Module):
    """A bag is the mean of its patches, weighed by attention."""

    def __init__(
        self,
        config: AbmilConfig,
        *,
        volume_size: Sequence[int],  # noqa: ARG002 - it takes no volumes
        patch_width: int,
    ) -> None:
        super().__init__()
        self.scale = PatchScale(patch_width)
        self.project = nn.Sequential(nn.Linear(patch_width, config.width), nn.ReLU())
        self.attention = GatedAttention(
            width=config.width, hidden=config.attention_width, gated=config.gated
        )
        self.tap = Tap("pooling")
        self.classify = nn.Linear(config.width, 1)

    def forward(self, batch: CaseBatch) -> Prediction:
        """Return the log-odds, and how much each patch counts."""
        bags = real_patches(batch.wsi, batch.wsi_mask)
        pooled, weights = zip(*[self.pool(patches) for patches in bags], strict=True)
        return Prediction(
            logit=self.classify(torch.cat(pooled)).squeeze(-1),
            attn={"pooling": padded_weights(weights, batch.wsi_mask)},
        )

    def pool(
        self, patches: Float[Tensor, "n D"]
    ) -> tuple[Float[Tensor, "1 C"], Float[Tensor, "1 n"]]:
        """Return a bag's vector, and the attention that made it."""
        hidden = self.project(self.scale(patches))
        weights = self.tap(self.attention(hidden).softmax(dim=-1))
        return weights @ hidden, weights
