"""LateFusion: an MRI network and a slide network that meet in the prediction only.

Whatever a network with a true fusion gains must be gained against this one.

Reference: the slide's part is the gated attention of Ilse et al., Attention-based deep
multiple instance learning, ICML 2018; the MRI's encoder is of He et al., Deep residual
learning for image recognition, CVPR 2016; their mean is folklore.

Row of Table 1: none, an anchor beside it (MRI: T1 and T2, pre and post; slide).

*Differs from the paper*:

* Ilse et al. classify small natural and histology images with a convolutional network
  per patch; here patches come as features, which are standardised and projected.
* Both parts are trained in one run, by their own losses and by that of the mean, so
  that they see the same cases and stop at the same epoch.
"""

from collections.abc import Sequence

import torch
from torch import nn

from napari_harm3.cohort.case import ROLES
from napari_harm3.models.baselines.fusion_config import LateFusionConfig
from napari_harm3.models.interface import CaseBatch, Prediction
from napari_harm3.models.layers.attention import Tap, masked_softmax
from napari_harm3.models.layers.gated_attention import GatedAttention
from napari_harm3.models.layers.known_labels import known_cross_entropy
from napari_harm3.models.layers.patch_scale import PatchScale
from napari_harm3.models.layers.resnet3d import ResNet3d


class LateFusion(nn.Module):
    """Four volumes and a bag of patches in, the mean of two log-odds of pCR out.

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
        config: LateFusionConfig,
        *,
        volume_size: Sequence[int],  # noqa: ARG002 - every network is built alike
        patch_width: int,
    ) -> None:
        super().__init__()
        self.config = config
        self.encoder = ResNet3d(
            depth=config.encoder_depth,
            base_channels=config.base_channels,
            output_stride=config.output_stride,
        )
        self.mri_head = nn.Sequential(
            nn.Dropout(config.dropout),
            nn.Linear(len(ROLES) * self.encoder.out_channels, 1),
        )
        self.project = nn.Sequential(
            PatchScale(patch_width),
            nn.Linear(patch_width, config.width),
            nn.ReLU(),
            nn.Dropout(config.dropout),
        )
        self.attention = GatedAttention(
            width=config.width, hidden=config.attention_width
        )
        self.tap = Tap("pooling")
        self.slide_head = nn.Linear(config.width, 1)

    @property
    def loss_weights(self) -> dict[str, float]:
        """What each network's own loss weighs."""
        return {"mri_alone": self.config.alone, "slide_alone": self.config.alone}

    def forward(self, batch: CaseBatch) -> Prediction:
        """Return the mean of both, their own losses, and what explains them."""
        rows = self.encoder(batch.mri.flatten(0, 2))
        maps = {role: rows[number :: len(ROLES)] for number, role in enumerate(ROLES)}
        volumes = [one.mean(dim=(2, 3, 4)) for one in maps.values()]
        mri = self.mri_head(torch.cat(volumes, dim=1)).squeeze(1)
        patches = self.project(batch.wsi)
        scores = self.attention(patches)
        weights = self.tap(masked_softmax(scores, batch.wsi_mask[:, None]))
        slide = self.slide_head((weights @ patches).squeeze(1)).squeeze(1)
        losses = {}
        if self.training:
            losses["mri_alone"] = known_cross_entropy(mri, batch.label)
            losses["slide_alone"] = known_cross_entropy(slide, batch.label)
        return Prediction(
            logit=(mri + slide) / 2,
            losses=losses,
            attn={"pooling": weights},
            feature_maps=maps,
        )
