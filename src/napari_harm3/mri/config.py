"""How volumes become tensors."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from napari_harm3.config import STRICT

Cells = Annotated[int, Field(ge=4, le=1024)]
Millimetres = Annotated[float, Field(gt=0, le=100)]
Percentile = Annotated[float, Field(ge=0, le=100)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MriConfig:
    """The common grid of a case's four volumes, and their intensity.

    The paper gives neither; the defaults cover a neck with 224 mm in plane
    and 128 mm along it.
    """

    size: tuple[Cells, Cells, Cells] = (32, 128, 128)
    """Voxels of the common grid along z, y and x."""

    spacing_mm: tuple[Millimetres, Millimetres, Millimetres] = (4.0, 1.75, 1.75)
    """Distance of its voxels along z, y and x."""

    crop: Literal["none", "center"] = "center"
    """What the grid is centred on: the scanned box, or the body seen in it."""

    clip: tuple[Percentile, Percentile] = (0.5, 99.5)
    """Percentiles of the foreground at which intensities are clipped."""


SMALL_MRI = MriConfig(size=(12, 32, 32), spacing_mm=(8.0, 6.0, 6.0))
"""A grid that trains on two cores: 96 mm along the neck, 192 mm across."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AugmentConfig:
    """How training volumes are varied."""

    flip: bool = True
    """Mirror left and right in half of the draws."""

    degrees: Annotated[float, Field(ge=0, le=45)] = 8.0
    """Largest turn about the body's axis."""

    shift: Annotated[float, Field(ge=0, le=45)] = 1.0
    """Largest shift, in voxels of the common grid."""

    scale: Annotated[float, Field(ge=0, le=0.5)] = 0.08
    """Largest zoom in or out."""

    intensity: Annotated[float, Field(ge=0, le=1)] = 0.10
    """Spread of gain and offset, drawn for each volume."""

    bias: Annotated[float, Field(ge=0, le=1)] = 0.10
    """Spread of a slope from edge to edge along each axis, drawn for each volume."""

    noise: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Spread of the noise, in z-scores."""
