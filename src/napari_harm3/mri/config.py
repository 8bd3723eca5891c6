"""How volumes become tensors."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from napari_harm3.config import STRICT

Cells = Annotated[int, Field(ge=4, le=1024)]
Millimetres = Annotated[float, Field(gt=0, le=100)]
Coarser = Annotated[int, Field(ge=1, le=16)]
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

    crop: Literal["none", "foreground", "center", "annotation"] = "center"
    """What the grid shows. `none`: it is centred on the scanned box. `center`: on the
    body seen in it. `foreground`: the body fills it, so its spacing follows the body
    and the stated one is not used. `annotation`: it is centred on the annotation,
    which tells the network where the lesion is: for experiments only, since such a
    model cannot be asked about a case."""

    clip: tuple[Percentile, Percentile] = (0.5, 99.5)
    """Percentiles of the foreground at which intensities are clipped."""

    register: Literal["none", "rigid"] = "none"
    """`rigid` lays T2 on the T1 of the same time, and post on pre, before anything
    else; `none` trusts the scanner's coordinates."""

    bias_field: bool = False
    """Even out the slow brightening towards the coil first (N4)."""

    @model_validator(mode="after")
    def _clips_between(self) -> Self:
        if self.clip[0] >= self.clip[1]:
            raise ValueError("clip: give the lower percentile first, the upper second.")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RegisterConfig:
    """How one volume is laid on another, rigidly."""

    pyramid: Annotated[tuple[Coarser, ...], Field(min_length=1)] = (4, 2)
    """How many times coarser than the finest spacing each level is, coarsest first."""

    bins: Annotated[int, Field(ge=8, le=256)] = 50
    """Bins of the joint histogram, for each volume."""

    sampling: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Share of the voxels of a level that the measure is taken from."""

    ignore_air: bool = True
    """Measure in the fixed body alone where both show one contrast: air adds noise.
    Between two contrasts it counts, since the skin's outline is what is surest."""

    iterations: Annotated[int, Field(ge=1, le=1000)] = 100
    """Steps of a level, at most."""

    seed: Annotated[int, Field(ge=1)] = 1
    """Of that draw of voxels: the same volumes always give the same transform."""


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
