"""A 3-D ResNet over the four volumes.

Reference: He et al., Deep residual learning for image recognition, CVPR 2016; in
three dimensions: Hara et al., Can spatiotemporal 3D CNNs retrace the history of 2D
CNNs and ImageNet?, CVPR 2018.
Row of Table 1: ResNet (MRI only); with ``fusion = "late"`` the row ``resnet-late``.

*Differs from the paper*

* Four volumes are the channels, or one encoder sees them in turn and the head their
  four vectors, where a photograph had three colours.
* The stem keeps the depth axis, and late stages are dilated once
  `ResNet3dConfig.output_stride` is reached: the usual stride of 32 would leave a thin
  grid one cell or none. Both can be had as usual.
* Training can begin with MedicalNet's weights. Its stages three and four are dilated
  by 2 and 4 at a stride of 8, ours by 2 at most; kernels are the same.
* One logit stands for two or more classes.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from napari_harm3.cohort.case import ROLES
from napari_harm3.models.baselines.volume_config import ResNet3dConfig
from napari_harm3.models.interface import CaseBatch, Prediction
from napari_harm3.models.layers.medicalnet import load_medicalnet
from napari_harm3.models.layers.resnet3d import ResNet3d


class ResNet3dClassifier(nn.Module):
    """Four volumes in, the log-odds of pCR out.

    Parameters
    ----------
    config
        Encoder and fusion.
    shape
        Of the inputs: any will do.
    """

    def __init__(self, config: ResNet3dConfig, **shape: object) -> None:  # noqa: ARG002
        super().__init__()
        self.config = config
        self.streams = len(ROLES) if config.fusion == "late" else 1
        self.encoder = ResNet3d(
            depth=config.depth,
            base_channels=config.base_channels,
            output_stride=config.output_stride,
            norm=config.norm,
            in_channels=len(ROLES) // self.streams,
            stem=config.stem,
            shortcut=config.shortcut,
        )
        self.head = nn.Linear(self.streams * self.encoder.out_channels, 1)

    def forward(self, batch: CaseBatch) -> Prediction:
        """Return the prediction, and a map a volume, or one for all."""
        maps = self._maps(batch.mri.flatten(1, 3))
        pooled = torch.cat([one.mean(dim=(2, 3, 4)) for one in maps], dim=1)
        return Prediction(
            logit=self.head(pooled).squeeze(1),
            feature_maps={
                role: maps[number % self.streams] for number, role in enumerate(ROLES)
            },
        )

    def load_pretrained(self) -> None:
        """Begin with the weights that the configuration names, if it names any.

        Whoever begins a training calls it; a trained model is loaded without.

        Raises
        ------
        ModelError
            If the file cannot be read, or does not fit the encoder.
        """
        if self.config.weights is not None:
            load_medicalnet(self.encoder, self.config.weights)

    def _maps(self, volumes: Float[Tensor, "B 4 D H W"]) -> tuple[Tensor, ...]:
        """Return the last map of each stream; a stream is one volume, or all."""
        cases, _, *grid = volumes.shape
        maps = self.encoder(volumes.reshape(cases * self.streams, -1, *grid))
        return maps.reshape(cases, self.streams, *maps.shape[1:]).unbind(1)
