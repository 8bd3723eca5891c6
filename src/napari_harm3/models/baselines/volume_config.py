"""Choices of the networks that look at volumes alone; no torch here."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from napari_harm3.cohort.case import ROLES
from napari_harm3.config import STRICT
from napari_harm3.models.config import (
    Count,
    Dropout,
    HalvedStride,
    ModelConfig,
    OutputStride,
)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class VolumeConfig(ModelConfig):
    """What they share: all four volumes must be there."""

    @property
    def required(self) -> tuple[str, ...]:
        """The four volumes."""
        return ROLES


@dataclass(frozen=True, kw_only=True, config=STRICT)
class C3dConfig(VolumeConfig):
    """A plain 3-D CNN of eight convolutions, C3D."""

    network: Literal["c3d"] = "c3d"

    base_channels: Count = 64
    """Channels of the first convolution; the last have eight times as many."""

    output_stride: HalvedStride = (8, 16, 16)
    """Grid voxels per cell of the last map along z, y, x. The paper's pools come to
    this stride before its last convolution; smaller ones leave late pools out."""

    dropout: Dropout = 0.5
    """Before the last layer, as in the paper."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ResNet3dConfig(VolumeConfig):
    """A 3-D ResNet over all four volumes."""

    network: Literal["resnet3d"] = "resnet3d"

    depth: Literal[10, 18, 34, 50] = 18
    """Layers; HARM3-Fusion does not say which ResNet its table compares with."""

    base_channels: Count = 64
    """Channels of the first stage; the last has eight times as many (four times
    that in a ResNet-50)."""

    output_stride: OutputStride = (8, 16, 16)
    """Grid voxels per cell of the last map along z, y, x; later stages are dilated
    instead of strided once it is reached. The paper's is 32, for flat photographs."""

    norm: Literal["batch", "group"] = "batch"
    """Normalisation layers."""

    fusion: Literal["early", "late"] = "early"
    """``early`` takes the volumes as four channels; ``late`` shows each to the same
    encoder and joins the four vectors."""

    stem: Literal["thin", "isotropic"] = "thin"
    """``thin`` leaves z as it is, since slices are few and thick; ``isotropic`` is a
    convolution of 7x7x7, which MedicalNet's weights need."""

    shortcut: Literal["projection", "padding"] = "projection"
    """Where channels grow: a convolution (type B), or zeros (type A), which
    MedicalNet's ResNet-18 and 34 have."""

    weights: Path | None = None
    """A ``.pth`` file of MedicalNet to begin training with; None draws all weights.
    It needs stem ``isotropic``. A trained model holds its own weights and never asks
    for the file again."""

    @model_validator(mode="after")
    def _the_stem_can_be_reached(self) -> Self:
        if self.stem == "isotropic" and self.output_stride[0] < 4:
            raise ValueError(
                f"output_stride = {self.output_stride} is less than the 4 voxels "
                "along z that stem 'isotropic' takes to a cell"
            )
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RpNet3dConfig(VolumeConfig):
    """3D-RPNet: what changed from pre to post, at three depths of a U-Net."""

    network: Literal["rpnet3d"] = "rpnet3d"

    base_channels: Count = 16
    """Channels of the U-Net's first level; the fifth has sixteen times as many."""

    output_stride: HalvedStride = (8, 16, 16)
    """Grid voxels per cell of the fifth level along z, y, x; later levels are not
    strided once it is reached. The authors' is 16 along every axis."""

    share_weights: bool = True
    """One U-Net for pre and post, as *Siamese* says; the authors' program has two."""

    tap_channels: Count = 32
    """Channels that each of the three differences is brought to."""

    dropout: Dropout = 0.3
    """Share of channels dropped between the two convolutions of a level."""

    dice_weight: Annotated[float, Field(ge=0)] = 0.2
    """What the segmentation of pre, and that of post, weighs beside the response."""


SMALL_C3D = C3dConfig(base_channels=16, output_stride=(4, 8, 8))
SMALL_RESNET3D = ResNet3dConfig(base_channels=8, output_stride=(4, 8, 8))
SMALL_RPNET3D = RpNet3dConfig(base_channels=4, output_stride=(4, 8, 8))

RECIPES: dict[str, dict[str, Any]] = {
    # UCF-101 from scratch. Its rate falls to a tenth every four epochs; ours stays.
    "c3d": {
        "epochs": 16,
        "batch": 30,
        "learning_rate": 3e-3,
        "weight_decay": 5e-3,
        "optimizer": "sgd",
        "momentum": 0.9,
        "patience": 16,
    },
    # Hara et al., CVPR 2018, from scratch. Its rate falls on a plateau; ours stays.
    "resnet3d": {
        "epochs": 200,
        "batch": 128,
        "learning_rate": 0.1,
        "weight_decay": 1e-3,
        "optimizer": "sgd",
        "momentum": 0.9,
        "patience": 200,
    },
    # A step over the whole training part, in pieces that fit; its epochs are not known
    # to us. Its rate is halved after 100 epochs without gain; ours stays.
    "rpnet3d": {
        "batch": 239,
        "accumulate": 60,
        "learning_rate": 1e-2,
        "weight_decay": 0.0,
        "optimizer": "sgd",
        "momentum": 0.9,
        "patience": 200,
    },
}
"""How each method's authors trained it, as fields of the training recipe."""
