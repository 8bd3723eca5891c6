"""What the configurations of all networks have in common; no torch here."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from napari_harm3.cohort.case import ROLES
from napari_harm3.config import STRICT

SLIDE = "wsi"
INPUTS = (*ROLES, SLIDE)
"""Everything that a network may need of a case."""

Count = Annotated[int, Field(ge=1, le=4096)]
Share = Annotated[float, Field(ge=0, le=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
"""A share that leaves something."""

Depth = Literal[1, 2, 4, 8]
OutputStride = tuple[Depth, Literal[4, 8, 16, 32], Literal[4, 8, 16, 32]]
"""Voxels per cell along z, y, x of a ResNet's map; its stem quarters y and x."""

HalvedStride = tuple[Depth, Literal[2, 4, 8, 16], Literal[2, 4, 8, 16]]
"""The same where the first layer only halves them."""


def require_whole_heads(width: int, *, called: str = "width", **heads: int) -> None:
    """Require that attention heads, by field, share a token's width without rest.

    Raises
    ------
    ValueError
        If one does not divide it; the width is told as it is ``called``.
    """
    for name, count in heads.items():
        if width % count:
            raise ValueError(f"{name} = {count} does not divide {called} = {width}")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelConfig:
    """The choices of one network."""

    network: str
    """Which network these are the choices of; a subclass fixes it."""

    @property
    def required(self) -> tuple[str, ...]:
        """The inputs without which the network says nothing, of `INPUTS`."""
        return INPUTS
