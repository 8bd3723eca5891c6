"""Everything that decides what a network sees of a case."""

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from napari_harm3.config import STRICT
from napari_harm3.mri.config import SMALL_MRI, MriConfig
from napari_harm3.wsi.config import (
    SMALL_ENCODER,
    AnyTissueConfig,
    EncoderConfig,
    PatchConfig,
    TissueConfig,
)

Size = Literal["small", "full"]
"""``small`` trains on two cores; ``full`` is the paper's size, for a GPU."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class InputConfig:
    """How files become tensors."""

    mri: MriConfig = Field(default_factory=MriConfig)
    tissue: AnyTissueConfig = Field(default_factory=TissueConfig)
    patches: PatchConfig = Field(default_factory=PatchConfig)
    encoder: EncoderConfig = Field(default_factory=EncoderConfig)
    clinical: tuple[str, ...] = ("age", "sex", "subsite", "hpv", "stage", "cps")
    """Columns of the cohort table for methods that look at them; those that the table
    lacks are left out."""

    @classmethod
    def of_size(cls, size: Size) -> "InputConfig":
        """Return the inputs of a registered size."""
        if size == "full":
            return cls()
        return cls(mri=SMALL_MRI, encoder=SMALL_ENCODER)
