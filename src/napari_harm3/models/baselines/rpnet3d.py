"""3D-RPNet: two Siamese U-Nets, joined where pre and post are subtracted.

Reference: Jin et al., Predicting treatment response from longitudinal images using
multi-task deep learning, Nature Communications 12, 2021. The U-Net: Isensee et al.,
Brain tumor segmentation and radiomics survival prediction: contribution to the BRATS
2017 challenge, 2018.
Row of Table 1: 3D-RPNET (MRI only; annotations too, where a case has them).

*Differs from the paper*

* T1 and T2 are two channels of one network. The paper trains one for each sequence
  and joins their answers by a logistic regression.
* Pre and post share their weights, as *Siamese* says; the authors' program has two
  networks (``share_weights = False``).
* A case without annotation, or with one of a single time, leaves out the Dice terms
  that it lacks. Without any this is a plain subtraction network.
* A time is annotated where T1 or T2 is: its target is whatever either marks.
* Strides stop at `RpNet3dConfig.output_stride`: the paper's grid of 16x64x64 would
  have one cell along z, ours is thinner still. The first spares the depth axis.
* The tapped differences are rectified: a convolution and an average alone commute,
  so that only the mean of a difference would count. The paper is silent.
* Convolutions before an instance norm have no bias; the norm has one.
"""

from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from napari_harm3.cohort.case import SEQUENCES, TIMES
from napari_harm3.models.baselines.volume_config import RpNet3dConfig
from napari_harm3.models.interface import CaseBatch, Prediction
from napari_harm3.models.layers.masked_mean import masked_mean
from napari_harm3.models.layers.strides import Steps, halving_steps

LEVELS = 5
TAPPED = 2
"""Level, from 0 on, whose maps are compared beside the deepest and the segmentation;
from it upwards every level segments."""

WHOLE: Steps = (1, 1, 1)
FIRST_STRIDE: Steps = (1, 2, 2)
SLOPE = 0.01
"""Of the leaky rectifiers."""

SMOOTH = 1.0
"""Voxels added to both parts of a Dice coefficient: a lesion that has gone has one."""

Taps = tuple[Tensor, Tensor, Tensor]


class RpNet3d(nn.Module):
    """Four volumes in, the log-odds of pCR out, and two segmentations' losses.

    Parameters
    ----------
    config
        Width, output stride, sharing, weights of the tasks.
    shape
        Of the inputs: any will do.
    """

    def __init__(self, config: RpNet3dConfig, **shape: object) -> None:  # noqa: ARG002
        super().__init__()
        self.config = config
        copies = 1 if config.share_weights else len(TIMES)
        self.branches = nn.ModuleList([ResidualUNet(config) for _ in range(copies)])
        base = config.base_channels
        self.taps = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Conv3d(channels, config.tap_channels, 3, padding=1),
                    nn.LeakyReLU(SLOPE, inplace=True),
                    nn.AdaptiveAvgPool3d(1),
                    nn.Flatten(),
                )
                for channels in (base << TAPPED, base << LEVELS - 1, 1)
            ]
        )
        self.head = nn.Linear(len(self.taps) * config.tap_channels, 1)

    @property
    def loss_weights(self) -> dict[str, float]:
        """What each segmentation weighs."""
        return dict.fromkeys(("dice_pre", "dice_post"), self.config.dice_weight)

    def forward(self, batch: CaseBatch) -> Prediction:
        """Return the prediction; the two sequences of a time lie in one map."""
        pre: Taps = self.branches[0](batch.mri[:, :, 0, 0])
        post: Taps = self.branches[-1](batch.mri[:, :, 1, 0])
        compared = [
            tap(before - after)
            for tap, before, after in zip(self.taps, pre, post, strict=True)
        ]
        segmentation = torch.stack([pre[2], post[2]], dim=1)
        return Prediction(
            logit=self.head(torch.cat(compared, dim=1)).squeeze(1),
            losses=_losses(segmentation, batch),
            feature_maps={
                f"{sequence}_{time}": taps[1]
                for sequence in SEQUENCES
                for time, taps in zip(TIMES, (pre, post), strict=True)
            },
        )


class ResidualUNet(nn.Module):
    """The two sequences of one time in; the maps that are compared out."""

    def __init__(self, config: RpNet3dConfig) -> None:
        super().__init__()
        widths = [config.base_channels << level for level in range(LEVELS)]
        later = halving_steps(config.output_stride, reached=FIRST_STRIDE, count=3)
        strides = [WHOLE, FIRST_STRIDE, *later]
        plan = zip(pairwise([len(SEQUENCES), *widths]), strides, strict=True)
        self.down = nn.ModuleList(
            [Context(*ends, stride, config.dropout) for ends, stride in plan]
        )
        upwards = widths[::-1]
        self.up = nn.ModuleList(
            [Localisation(coarse, fine) for coarse, fine in pairwise(upwards)]
        )
        self.segment = nn.ModuleList(
            [nn.Conv3d(width, 1, 1) for width in upwards[-TAPPED - 1 :]]
        )

    def forward(self, maps: Float[Tensor, "B S D H W"]) -> Taps:
        """Return the tapped level, the deepest level, and logits of the lesion."""
        levels: list[Tensor] = []
        for context in self.down:
            maps = context(maps)
            levels.append(maps)
        localised: list[Tensor] = []
        for localise, skipped in zip(self.up, levels[-2::-1], strict=True):
            maps = localise(maps, skipped)
            localised.append(maps)
        # Deep supervision: coarse segmentations are part of the fine one.
        logits, *finer = [
            segment(maps)
            for segment, maps in zip(
                self.segment, localised[-TAPPED - 1 :], strict=True
            )
        ]
        for fine in finer:
            logits = fine + interpolate(logits, size=fine.shape[2:])
        return levels[TAPPED], levels[-1], logits


class Context(nn.Module):
    """A level on the way down: a convolution, and two more beside a shortcut."""

    def __init__(self, before: int, after: int, stride: Steps, dropout: float) -> None:
        super().__init__()
        self.enter = _convolution(before, after, stride=stride)
        self.residual = nn.Sequential(
            _convolution(after, after),
            nn.Dropout3d(dropout),
            _convolution(after, after),
        )

    def forward(self, maps: Float[Tensor, "B c d h w"]) -> Float[Tensor, "B C D H W"]:
        """Return the sum of both ways."""
        entered = self.enter(maps)
        return entered + self.residual(entered)


class Localisation(nn.Module):
    """A level on the way up: what lies below is enlarged and joined."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.enlarged = _convolution(before, after)
        self.joined = nn.Sequential(
            _convolution(2 * after, after), _convolution(after, after, kernel=1)
        )

    def forward(
        self, below: Float[Tensor, "B c d h w"], skipped: Float[Tensor, "B C D H W"]
    ) -> Float[Tensor, "B C D H W"]:
        """Return the maps of this level."""
        enlarged = self.enlarged(interpolate(below, size=skipped.shape[2:]))
        return self.joined(torch.cat([enlarged, skipped], dim=1))


def _convolution(
    before: int, after: int, *, kernel: int = 3, stride: Steps = WHOLE
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(
            before, after, kernel, stride=stride, padding=kernel // 2, bias=False
        ),
        nn.InstanceNorm3d(after, affine=True),
        nn.LeakyReLU(SLOPE, inplace=True),
    )


def _losses(
    segmentation: Float[Tensor, "B T 1 D H W"], batch: CaseBatch
) -> dict[str, Tensor]:
    """Return the Dice loss of each time; none where the batch has no annotations."""
    if batch.tumour_mask is None or batch.tumour_mask_avail is None:
        return {}
    known = batch.tumour_mask_avail
    marked = batch.tumour_mask.masked_fill(~known[..., None, None, None, None], 0)
    target, applies = marked.amax(dim=1), known.any(dim=1)
    return {
        f"dice_{time}": dice_loss(segmentation[:, t], target[:, t], applies[:, t])
        for t, time in enumerate(TIMES)
    }


def dice_loss(
    logits: Float[Tensor, "B 1 D H W"],
    target: Float[Tensor, "B 1 D H W"],
    applies: Bool[Tensor, "B"],
) -> Float[Tensor, ""]:
    """Return one minus the soft Dice coefficient, as a mean over annotated cases."""
    chance, marked = logits.float().sigmoid().flatten(1), target.flatten(1)
    both = (chance * marked).sum(dim=1)
    dice = (2 * both + SMOOTH) / (chance.sum(dim=1) + marked.sum(dim=1) + SMOOTH)
    return masked_mean(1 - dice, applies)
