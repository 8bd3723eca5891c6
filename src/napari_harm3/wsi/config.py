"""How a slide becomes a bag of patch features (section 2.3 of the paper)."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from napari_harm3.config import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TissueConfig:
    """How tissue is told from glass."""

    um_per_pixel: Annotated[float, Field(gt=0, le=64)] = 8.0
    """Resolution of the thumbnail on which tissue is sought."""

    saturation: Annotated[int, Field(ge=0, le=255)] = 8
    """Tissue is more saturated than this, on OpenCV's scale of 0 to 255."""

    median_um: Annotated[float, Field(ge=0)] = 56.0
    """Width of the median filter that removes specks; 0 for none."""

    closing_um: Annotated[float, Field(ge=0)] = 32.0
    """Radius of the closing that fills small gaps; 0 for none."""

    least_area_um2: Annotated[float, Field(ge=0)] = 20_000.0
    """Smaller pieces of tissue are left out."""

    least_hole_um2: Annotated[float, Field(ge=0)] = 20_000.0
    """Smaller holes are filled."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PatchConfig:
    """The grid of patches over a slide."""

    patch: Annotated[int, Field(ge=16, le=4096)] = 224
    """Side of a patch in pixels."""

    mpp: Annotated[float, Field(gt=0, le=10)] = 0.5
    """Resolution of the patches, microns per pixel."""

    rule: Literal["corners_any"] = "corners_any"
    """Which patches count as tissue: at least one of the four corners."""

    allow_upsampling: bool = False
    """Accept a slide coarser than the patches by more than 10 %."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EncoderConfig:
    """The vision transformer that turns a patch into features."""

    name: str = "vit_base_patch16_224"
    """Name of a timm model."""

    depth: Annotated[int, Field(ge=1)] | None = None
    """Number of transformer blocks; None for the model's own."""

    weights: Path | None = None
    """Weights on disk; None draws them from seed 0, untrained."""

    pretrained: bool = False
    """Download the model's own weights; nothing else touches the network."""

    batch: Annotated[int, Field(ge=1)] = 64
    """Patches encoded at once."""

    @property
    def untrained(self) -> bool:
        """Whether the weights are only drawn, not learned."""
        return self.weights is None and not self.pretrained


SMALL_ENCODER = EncoderConfig(name="vit_tiny_patch16_224", depth=3)
"""192 features a patch."""
