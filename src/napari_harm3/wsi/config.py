"""How a slide becomes a bag of patch features (section 2.3 of the paper)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from napari_harm3.config import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TissueConfig:
    """How tissue is told from glass, in microns whatever the slide's resolution."""

    um_per_pixel: Annotated[float, Field(gt=0, le=64)] = 8.0
    """Resolution of the picture on which tissue is sought."""

    saturation: Annotated[int, Field(ge=0, le=255)] = 8
    """Tissue is more saturated than this, on OpenCV's scale of 0 to 255."""

    glass: bool = True
    """Subtract the saturation of bare glass first, so that a tint is no tissue."""

    pen: bool = True
    """Leave out pen marks: green, blue, black and pure red ink."""

    median_um: Annotated[float, Field(ge=0)] = 56.0
    """Width of the median filter that removes specks; 0 for none."""

    closing_um: Annotated[float, Field(ge=0)] = 72.0
    """Width of the closing that fills small gaps; 0 for none."""

    least_area_um2: Annotated[float, Field(ge=0)] = 20_000.0
    """Smaller pieces of tissue are left out."""

    least_hole_um2: Annotated[float, Field(ge=0)] = 20_000.0
    """Smaller holes are filled."""


def _require_odd(width: int) -> int:
    if width % 2 == 0:
        raise ValueError("a median needs a middle, so its width is odd")
    return width


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ClamTissueConfig:
    """How CLAM tells tissue from glass, in pixels of the level that it reads."""

    downsample: Annotated[float, Field(ge=1)] = 64.0
    """The coarsest level that is no coarser than this is read."""

    saturation: Annotated[int, Field(ge=0, le=255)] = 8
    """Tissue is more saturated than this."""

    median: Annotated[int, Field(ge=1), AfterValidator(_require_odd)] = 7
    """Width of the median filter, pixels, odd."""

    closing: Annotated[int, Field(ge=0)] = 4
    """Width of the closing, pixels."""

    least_area: Annotated[float, Field(ge=0)] = 100
    """Least tissue of a piece, in squares of 512 level-0 pixels."""

    least_hole: Annotated[float, Field(ge=0)] = 16
    """Smaller holes are filled, in the same unit."""

    most_holes: Annotated[int, Field(ge=0)] = 8
    """Holes kept of a piece, the largest."""


AnyTissueConfig = TissueConfig | ClamTissueConfig

Preset = Literal["harm3", "paper", "clam", "clam_biopsy", "clam_resection", "clam_tcga"]

PRESETS: Mapping[Preset, AnyTissueConfig] = {
    "harm3": TissueConfig(),
    # The paper says how, not how much: 7 and 4 pixels, here of 16 microns, no area.
    "paper": TissueConfig(
        um_per_pixel=16,
        glass=False,
        pen=False,
        median_um=7 * 16,
        closing_um=4 * 16,
        least_area_um2=0,
        least_hole_um2=0,
    ),
    "clam": ClamTissueConfig(),
    "clam_biopsy": ClamTissueConfig(
        saturation=15, median=11, closing=2, least_area=1, least_hole=1, most_holes=2
    ),
    "clam_resection": ClamTissueConfig(saturation=15, median=11),
    "clam_tcga": ClamTissueConfig(least_area=16, least_hole=4),
}
"""Ways to tell tissue from glass, by name."""

Rule = Literal[
    "corners_any",
    "corners_all",
    "center",
    "top_left",
    "clam_four_pt",
    "clam_four_pt_hard",
]


Stain = Literal["none", "macenko", "reinhard"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PatchConfig:
    """The grid of patches over a slide."""

    patch: Annotated[int, Field(ge=16, le=4096)] = 224
    """Side of a patch in pixels."""

    mpp: Annotated[float, Field(gt=0, le=10)] = 0.5
    """Resolution of the patches, microns per pixel."""

    rule: Rule = "corners_any"
    """Which patches count as tissue: any or all of the four corners, the centre or the
    upper left pixel in tissue, or as CLAM has it, whose grid begins anew at every
    piece and whose four points lie a quarter in from the edges."""

    stain: Stain = "none"
    """How colours are brought to one reference, measured once a slide."""

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

    precision: Precision = "auto"
    """Numbers that the encoder calculates with; auto takes half of float32's bits on
    a GPU where a probe shows that it is faster and close."""

    @property
    def untrained(self) -> bool:
        """Whether the weights are only drawn, not learned."""
        return self.weights is None and not self.pretrained


SMALL_ENCODER = EncoderConfig(name="vit_tiny_patch16_224", depth=3)
"""192 features a patch."""
