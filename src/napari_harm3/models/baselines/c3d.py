"""C3D: a plain 3-D CNN over the four volumes.

Reference: Tran et al., Learning spatiotemporal features with 3D convolutional
networks, ICCV 2015.
Row of Table 1: 3D-CNN (MRI only).

*Differs from the paper*

* Four volumes are the channels, where a clip had three colours.
* The depth axis takes the place of time, and is pooled as time was: not by the first
  pool. The fifth pool is gone, and others where `C3dConfig.output_stride` is reached
  before them: a small grid would have no map left.
* Batch norm follows every convolution; a cohort is too small to do without.
* A global average and one linear layer stand for the two fully connected layers of
  4096, whose 50 million weights a few hundred cases cannot teach.
"""

from jaxtyping import Float
from torch import Tensor, nn

from napari_harm3.cohort.case import ROLES
from napari_harm3.models.baselines.volume_config import C3dConfig
from napari_harm3.models.interface import CaseBatch, Prediction
from napari_harm3.models.layers.strides import halving_steps

GROUPS = ((1, 1), (2, 1), (4, 2), (8, 2), (8, 2))
"""Channels, as multiples of the first group's, and convolutions between two pools."""

FIRST_POOL = (1, 2, 2)


class C3d(nn.Module):
    """Four volumes in, the log-odds of pCR out.

    Parameters
    ----------
    config
        Width, output stride, dropout.
    shape
        Of the inputs: any will do.
    """

    def __init__(self, config: C3dConfig, **shape: object) -> None:  # noqa: ARG002
        super().__init__()
        later = halving_steps(config.output_stride, reached=FIRST_POOL, count=3)
        channels = len(ROLES)
        layers: list[nn.Module] = []
        for (width, count), pool in zip(
            GROUPS, [None, FIRST_POOL, *later], strict=True
        ):
            if pool is not None:
                layers.append(nn.MaxPool3d(pool, ceil_mode=True))
            for _ in range(count):
                layers += _convolution(channels, width * config.base_channels)
                channels = width * config.base_channels
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(channels, 1))

    def forward(self, batch: CaseBatch) -> Prediction:
        """Return the prediction; all volumes lie in one map."""
        volumes: Float[Tensor, "B 4 D H W"] = batch.mri.flatten(1, 3)
        maps = self.features(volumes)
        return Prediction(
            logit=self.head(maps.mean(dim=(2, 3, 4))).squeeze(1),
            feature_maps=dict.fromkeys(ROLES, maps),
        )


def _convolution(before: int, after: int) -> list[nn.Module]:
    return [
        nn.Conv3d(before, after, 3, padding=1, bias=False),
        nn.BatchNorm3d(after),
        nn.ReLU(inplace=True),
    ]
