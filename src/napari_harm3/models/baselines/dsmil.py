"""DSMIL: the most telling patch, and every patch by its likeness to it.

Reference: Li, Li and Eliceiri, Dual-stream multiple instance learning network for whole
slide image classification with self-supervised contrastive learning, CVPR 2021.
Row of Table 1: none; an anchor beyond the paper, from the slide alone.

*Differs from the paper*

* One magnification instead of a pyramid of them, and features of a fixed encoder
  instead of contrastive learning on the slides: all methods here see the same features.
  A learned layer fits them to the task in its place.
* The products of queries are divided by the root of their length, as attention does;
  without it a long query sees itself alone.
* The bag's loss is that of the mean of both streams, which the paper gives as the score
  of a bag: what is trained is what is told.
* Values are made after the weighted mean, which is the same for a linear map.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from napari_harm3.models.baselines.bag_config import DsmilConfig
from napari_harm3.models.interface import CaseBatch, Prediction
from napari_harm3.models.layers.attention import Tap, likeness
from napari_harm3.models.layers.bags import padded_weights, real_patches
from napari_harm3.models.layers.known_labels import known_cross_entropy
from napari_harm3.models.layers.patch_scale import PatchScale


class Dsmil(nn.Module):
    """Two streams over a bag, and their mean."""

    def __init__(
        self,
        config: DsmilConfig,
        *,
        volume_size: Sequence[int],  # noqa: ARG002 - it takes no volumes
        patch_width: int,
    ) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.scale = PatchScale(patch_width)
        self.project = nn.Sequential(nn.Linear(patch_width, width), nn.ReLU())
        self.classify_instance = nn.Linear(width, 1)
        self.to_query = nn.Linear(width, config.query_width)
        self.to_value = nn.Linear(width, width)
        self.tap = Tap("pooling")
        self.classify_bag = nn.Linear(width, 1)

    @property
    def loss_weights(self) -> dict[str, float]:
        """What the bag's and the critical patch's loss weigh."""
        weight = self.config.bag_weight
        return {"bce": weight, "max_instance": 1 - weight}

    def forward(self, batch: CaseBatch) -> Prediction:
        """Return the log-odds, the attention, and in training the first stream's loss.

        A case without a label has no such loss.
        """
        bags = real_patches(batch.wsi, batch.wsi_mask)
        streams = [self.streams(patches) for patches in bags]
        best, pooled, weights = zip(*streams, strict=True)
        first = torch.cat(best)
        second = self.classify_bag(self.to_value(torch.cat(pooled))).squeeze(-1)
        losses = {}
        if self.training:
            losses["max_instance"] = known_cross_entropy(first, batch.label)
        return Prediction(
            logit=(first + second) / 2,
            losses=losses,
            attn={"pooling": padded_weights(weights, batch.wsi_mask)},
        )

    def streams(
        self, patches: Float[Tensor, "n D"]
    ) -> tuple[Float[Tensor, "1"], Float[Tensor, "1 C"], Float[Tensor, "1 n"]]:
        """Return the critical patch's score, the mean by likeness, and the likeness."""
        hidden = self.project(self.scale(patches))
        best, critical = self.classify_instance(hidden).max(dim=0)
        query = self.to_query(hidden)
        weights = self.tap(likeness(query[critical], query).softmax(dim=-1))
        return best, weights @ hidden, weights
