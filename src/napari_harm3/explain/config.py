"""Choices of an explanation; no torch here."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic.dataclasses import dataclass

from napari_harm3.config import STRICT

Method = Literal["gradcam", "gradcam++", "hirescam", "layercam", "xgradcam"]
Target = Literal["pcr", "non-pcr", "contrast"]
Also = Literal["occlusion", "decoupled"]
"""Maps that are made beside a model's own when asked for."""

KIND_TITLES = {
    "occlusion": "Occlusion",
    "inherent": "Inherent part",
    "variant": "Variant part",
    "cross": "Cross-reconstruction",
}
"""What a person reads of these maps, by kind, the end of a file's name."""

Check = Literal["randomisation", "faithfulness"]
"""Trials of a map: does it hang on the weights, and does the model need it."""

Voxels = Annotated[int, Field(ge=1, le=512)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ExplainConfig:
    """How heat maps are made; the defaults are those of the paper's Fig. 2."""

    method: Method = "gradcam"
    """How the channels of a layer are weighed. Choose ``layercam`` or ``hirescam``
    for layers before the last, whose gradients differ from place to place."""

    layer: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")] = "last"
    """Layer of the volumes' encoder: ``last``, or ``stem``, ``stage1`` and so on from
    the finest to the coarsest. A map is as fine as its layer."""

    target: Target = "pcr"
    """What the map is evidence of: ``pcr``, ``non-pcr``, or ``contrast``, the evidence
    for pCR minus the evidence against it."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OcclusionConfig:
    """How volumes are covered, cube by cube, to see what the logit loses."""

    cube: tuple[Voxels, Voxels, Voxels] = (4, 8, 8)
    """Sides of the cube along z, y, x, in voxels of the model's grid. Half as long
    takes eight times as long."""

    stride: tuple[Voxels, Voxels, Voxels] = (4, 8, 8)
    """Voxels from one cube to the next along z, y, x; those of the cube leave no gap
    and no overlap."""

    fill: Literal["mean", "zero"] = "mean"
    """What stands in the cube: the mean of the volume, or zero, which is the mean of
    the tissue after the z-score."""

    batch: Annotated[int, Field(ge=1, le=512)] = 8
    """Covered volumes that the network sees at once."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ExplainRequest:
    """All that may be asked of one case."""

    maps: ExplainConfig = ExplainConfig()
    """How the model's own maps are made."""

    also: tuple[Also, ...] = ()
    """Maps beside these."""

    checks: tuple[Check, ...] = ()
    """Trials of these."""

    occlusion: OcclusionConfig | None = None
    """Cubes that cover the volumes; as large as a cell of the maps if not given."""

    @field_validator("also", "checks")
    @classmethod
    def _each_once(cls, asked: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(asked))

    @model_validator(mode="after")
    def _cubes_cover_something(self) -> Self:
        if self.occlusion and "occlusion" not in self.also:
            raise ValueError("a cube is occlusion's: ask for occlusion also")
        return self
