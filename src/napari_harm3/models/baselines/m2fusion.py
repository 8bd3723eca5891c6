"""M2Fusion: two times of one MRI sequence and the slide, fused orthogonally.

Pre and post are drawn together where the treatment failed and apart where it worked;
what MRI and slide say alike is taken out of both before they are joined.

Reference: Zhang et al., M2Fusion: Multi-time Multimodal Fusion for Prediction of
Pathological Complete Response in Breast Cancer, MICCAI 2024.

Row of Table 1: M2Fusion (MRI: one sequence, pre and post; slide).

The least certain row. Neither the code nor the full text could be read for it: that
the MRI of two times is contrasted and that the modalities are fused orthogonally is
published, the form below is inferred.

*Differs from the paper*:

* Every size, margin and weight is ours, for want of the published ones.
* The contrast is a cosine with the label: 1 - cos without pCR, max(0, cos) with it. It
  uses nothing of other cases, so that a batch may be small.
* The head-and-neck cases have T1 and T2; the paper one sequence, which ``sequence``
  picks.
* The encoder is HARM3's and patches are standardised first, as for every network here.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from napari_harm3.cohort.case import SEQUENCES, TIMES
from napari_harm3.models.baselines.fusion_config import M2FusionConfig
from napari_harm3.models.interface import CaseBatch, Prediction
from napari_harm3.models.layers.attention import Tap, masked_softmax
from napari_harm3.models.layers.gated_attention import GatedAttention
from napari_harm3.models.layers.masked_mean import masked_mean
from napari_harm3.models.layers.patch_scale import PatchScale
from napari_harm3.models.layers.resnet3d import ResNet3d

LEAST_LENGTH = 1e-6
"""Squared, below which a vector has no direction to project onto."""


class M2Fusion(nn.Module):
    """Two volumes and a bag of patches in, the log-odds of pCR out.

    Parameters
    ----------
    config
        Every choice.
    volume_size
        Voxels of the common grid; the network takes any.
    patch_width
        Features of a patch.
    """

    def __init__(
        self,
        config: M2FusionConfig,
        *,
        volume_size: Sequence[int],  # noqa: ARG002 - every network is built alike
        patch_width: int,
    ) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.encoder = ResNet3d(
            depth=config.encoder_depth,
            base_channels=config.base_channels,
            output_stride=config.output_stride,
        )
        # Rectified averages all point one way; only a projection can part them.
        self.to_time = nn.Linear(self.encoder.out_channels, width)
        self.to_mri = nn.Linear(len(TIMES) * width, width)
        self.project = nn.Sequential(
            PatchScale(patch_width),
            nn.Linear(patch_width, width),
            nn.ReLU(),
            nn.Dropout(config.dropout),
        )
        self.attention = GatedAttention(width=width, hidden=config.attention_width)
        self.tap = Tap("pooling")
        self.to_slide = nn.Linear(width, width)
        self.head = nn.Sequential(
            nn.Linear(2 * width, width),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(width, 1),
        )

    @property
    def loss_weights(self) -> dict[str, float]:
        """What the contrast and the orthogonality weigh."""
        return {
            "contrast_times": self.config.contrast_times,
            "orthogonality": self.config.orthogonality,
        }

    def forward(self, batch: CaseBatch) -> Prediction:
        """Return the prediction, its losses, and what explains it."""
        volumes = batch.mri[:, SEQUENCES.index(self.config.sequence)]
        rows = self.encoder(volumes.flatten(0, 1))
        maps = [rows[number :: len(TIMES)] for number in range(len(TIMES))]
        pre, post = (self.to_time(one.mean(dim=(2, 3, 4))) for one in maps)
        mri = self.to_mri(torch.cat([pre, post], dim=1))
        patches = self.project(batch.wsi)
        scores = self.attention(patches)
        weights = self.tap(masked_softmax(scores, batch.wsi_mask[:, None]))
        slide = self.to_slide((weights @ patches).squeeze(1))
        fused = torch.cat([without(mri, slide), without(slide, mri)], dim=1)
        losses = {"orthogonality": cosine_similarity(mri, slide).square().mean()}
        if self.training:
            losses["contrast_times"] = contrast_of_times(pre, post, batch.label)
        return Prediction(
            logit=self.head(fused).squeeze(1),
            losses=losses,
            attn={"pooling": weights},
            feature_maps={
                f"{self.config.sequence}_{time}": one
                for time, one in zip(TIMES, maps, strict=True)
            },
        )


def without(
    vector: Float[Tensor, "B C"], other: Float[Tensor, "B C"]
) -> Float[Tensor, "B C"]:
    """Return the part of a vector that is orthogonal to another."""
    length = other.square().sum(dim=1, keepdim=True).clamp(min=LEAST_LENGTH)
    return vector - (vector * other).sum(dim=1, keepdim=True) / length * other


def contrast_of_times(
    pre: Float[Tensor, "B C"], post: Float[Tensor, "B C"], label: Float[Tensor, "B"]
) -> Float[Tensor, ""]:
    """Return how far pre and post are from apart in pCR and from alike without it.

    The mean over the cases whose label is known.
    """
    similarity = cosine_similarity(pre, post)
    terms = torch.where(label > 0.5, similarity.relu(), 1 - similarity)
    return masked_mean(terms, ~label.isnan())
