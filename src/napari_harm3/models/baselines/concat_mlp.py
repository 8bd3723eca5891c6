"""ConcatMlp: the average of every volume's map and of the bag, side by side, in an MLP.

The least that can be called a fusion: what attention, and the order of the two times,
are worth is read against it.

Reference: none of its own; the encoder is of He et al., Deep residual learning for
image recognition, CVPR 2016.

Row of Table 1: none, an anchor beside it (MRI: T1 and T2, pre and post; slide).

*Differs from the paper*: there is none to differ from. Patches are standardised first,
as for every network here.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from napari_harm3.cohort.case import ROLES
from napari_harm3.models.baselines.fusion_config import ConcatMlpConfig
from napari_harm3.models.interface import CaseBatch, Prediction
from napari_harm3.models.layers.patch_scale import PatchScale
from napari_harm3.models.layers.resnet3d import ResNet3d


class ConcatMlp(nn.Module):
    """Four volumes and a bag of patches in, the log-odds of pCR out.

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
        config: ConcatMlpConfig,
        *,
        volume_size: Sequence[int],  # noqa: ARG002 - every network is built alike
        patch_width: int,
    ) -> None:
        super().__init__()
        self.encoder = ResNet3d(
            depth=config.encoder_depth,
            base_channels=config.base_channels,
            output_stride=config.output_stride,
        )
        self.scale = PatchScale(patch_width)
        self.mlp = nn.Sequential(
            nn.Linear(
                len(ROLES) * self.encoder.out_channels + patch_width, config.hidden
            ),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, 1),
        )

    def forward(self, batch: CaseBatch) -> Prediction:
        """Return the prediction and the maps that explain it."""
        rows = self.encoder(batch.mri.flatten(0, 2))
        maps = {role: rows[number :: len(ROLES)] for number, role in enumerate(ROLES)}
        volumes = [one.mean(dim=(2, 3, 4)) for one in maps.values()]
        slide = mean_patch(self.scale(batch.wsi), batch.wsi_mask)
        return Prediction(
            logit=self.mlp(torch.cat([*volumes, slide], dim=1)).squeeze(1),
            feature_maps=maps,
        )


def mean_patch(
    patches: Float[Tensor, "B N D"], mask: Bool[Tensor, "B N"]
) -> Float[Tensor, "B D"]:
    """Return the mean of the real patches; zero where there are none."""
    share = mask / mask.sum(dim=1, keepdim=True).clamp(min=1)
    return (share[:, None] @ patches).squeeze(1)
