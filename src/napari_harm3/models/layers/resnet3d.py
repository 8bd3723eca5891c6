"""The feature extraction network of section 2.1: a 3-D ResNet.

The paper shows class activation maps of its last convolutional layer and calls its
output X, but does not name it. The thin stem keeps the depth axis, since slices are
few and thick, and late stages are dilated once the stride is reached.

Reference: He et al., Deep residual learning for image recognition, CVPR 2016.
"""

import math
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from napari_harm3.models.layers.strides import Steps, halving_steps

BLOCKS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
MOST_DILATION = 2
"""Where a stage is not strided; more would reach past a map of three or four cells."""

STEMS: dict[str, tuple[Steps, Steps, Steps]] = {
    "thin": ((3, 7, 7), (1, 3, 3), (1, 2, 2)),
    "isotropic": ((7, 7, 7), (3, 3, 3), (2, 2, 2)),
}
"""Kernel of the first convolution, kernel of the max-pool, and the stride of each."""


def norm_layer(kind: str, channels: int) -> nn.Module:
    """Return a normalisation of 3-D maps."""
    if kind == "batch":
        return nn.BatchNorm3d(channels)
    return nn.GroupNorm(math.gcd(8, channels), channels)


class PaddedShortcut(nn.Module):
    """Every so many-th voxel, and zeros for the channels that are new: type A."""

    def __init__(self, *, added: int, stride: Steps) -> None:
        super().__init__()
        self.added, self.stride = added, stride

    def forward(self, maps: Float[Tensor, "P c d h w"]) -> Float[Tensor, "P C D H W"]:
        """Return the maps in the shape that the convolutions give them."""
        z, y, x = self.stride
        return pad(maps[..., ::z, ::y, ::x], (0, 0, 0, 0, 0, 0, 0, self.added))


class ResidualBlock(nn.Module):
    """Convolutions beside a shortcut: two of 3x3x3, or 1-3-1 as a bottleneck."""

    def __init__(
        self,
        channels: tuple[int, int, int],
        *,
        stride: Steps,
        dilation: Steps,
        norm: str,
        shortcut: str,
    ) -> None:
        super().__init__()
        before, inside, after = channels
        bottleneck = inside != after
        wide = nn.Conv3d(
            inside if bottleneck else before,
            inside,
            3,
            stride=stride,
            dilation=dilation,
            padding=dilation,
            bias=False,
        )
        if bottleneck:
            first = nn.Conv3d(before, inside, 1, bias=False)
            plan = [first, wide, nn.Conv3d(inside, after, 1, bias=False)]
        else:
            plan = [wide, nn.Conv3d(inside, after, 3, padding=1, bias=False)]
        layers: list[nn.Module] = []
        for convolution in plan:
            layers += [convolution, norm_layer(norm, convolution.out_channels)]
            layers.append(nn.ReLU(inplace=True))
        layers.pop()  # the last is rectified after the shortcut is added
        self.residual = nn.Sequential(*layers)
        self.shortcut: nn.Module = nn.Identity()
        if before != after or any(step > 1 for step in stride):
            self.shortcut = (
                PaddedShortcut(added=after - before, stride=stride)
                if shortcut == "padding"
                else nn.Sequential(
                    nn.Conv3d(before, after, 1, stride=stride, bias=False),
                    norm_layer(norm, after),
                )
            )
        self.activation = nn.ReLU(inplace=True)

    def forward(self, maps: Float[Tensor, "P c d h w"]) -> Float[Tensor, "P C D H W"]:
        """Return the sum of both ways, rectified."""
        return self.activation(self.residual(maps) + self.shortcut(maps))


class ResNet3d(nn.Module):
    """One volume in, one feature map out.

    Parameters
    ----------
    depth
        10, 18, 34 or 50.
    base_channels
        Channels of the first stage.
    output_stride
        Voxels per cell of the map along z, y, x; powers of two.
    norm
        ``batch`` or ``group``.
    in_channels
        1 for one volume.
    stem
        ``thin`` leaves z as it is; ``isotropic`` quarters it, as it does y and x.
    shortcut
        ``projection`` (type B of the reference) or ``padding`` (type A).
    """

    def __init__(  # noqa: PLR0913 - each is a choice of the network
        self,
        *,
        depth: int = 18,
        base_channels: int = 64,
        output_stride: Sequence[int] = (8, 16, 16),
        norm: str = "batch",
        in_channels: int = 1,
        stem: str = "thin",
        shortcut: str = "projection",
    ) -> None:
        super().__init__()
        kernel, pool, step = STEMS[stem]
        self.stem = nn.Sequential(
            nn.Conv3d(
                in_channels,
                base_channels,
                kernel,
                stride=step,
                padding=_half(kernel),
                bias=False,
            ),
            norm_layer(norm, base_channels),
            nn.ReLU(inplace=True),
            nn.MaxPool3d(pool, stride=step, padding=_half(pool)),
        )
        expansion = 4 if depth >= 50 else 1
        channels = base_channels
        stages: list[nn.Module] = []
        plan = zip(BLOCKS[depth], _stage_steps(output_stride, step), strict=True)
        for number, (blocks, (stride, dilation)) in enumerate(plan):
            inside = base_channels << number
            row: list[nn.Module] = []
            for block in range(blocks):
                row.append(
                    ResidualBlock(
                        (channels, inside, inside * expansion),
                        stride=stride if block == 0 else (1, 1, 1),
                        dilation=dilation,
                        norm=norm,
                        shortcut=shortcut,
                    )
                )
                channels = inside * expansion
            stages.append(nn.Sequential(*row))
        self.stages = nn.Sequential(*stages)
        self.out_channels = channels

    def forward(
        self, volumes: Float[Tensor, "P c D H W"]
    ) -> Float[Tensor, "P C d h w"]:
        """Return X as a map; P counts present volumes only."""
        return self.stages(self.stem(volumes))


def _stage_steps(
    output_stride: Sequence[int], stem: Steps
) -> list[tuple[Steps, Steps]]:
    """Return stride and dilation of the four stages along z, y, x."""
    z, y, x = (step * step for step in stem)  # the convolution's and the pool's
    strides = halving_steps(output_stride, reached=(z, y, x), count=3)
    return [
        ((1, 1, 1), (1, 1, 1)),
        *((stride, _dilation(stride)) for stride in strides),
    ]


def _dilation(stride: Steps) -> Steps:
    z, y, x = (1 if step > 1 else MOST_DILATION for step in stride)
    return z, y, x


def _half(kernel: Steps) -> Steps:
    z, y, x = (size // 2 for size in kernel)
    return z, y, x
