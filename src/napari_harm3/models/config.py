"""What the configurations of all networks have in common; no torch here."""

from pydantic.dataclasses import dataclass

from napari_harm3.cohort.case import ROLES
from napari_harm3.config import STRICT

SLIDE = "wsi"
INPUTS = (*ROLES, SLIDE)
"""Everything that a network may need of a case."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelConfig:
    """The choices of one network."""

    network: str
    """Which network these are the choices of; a subclass fixes it."""

    @property
    def required(self) -> tuple[str, ...]:
        """The inputs without which the network says nothing, of `INPUTS`."""
        return INPUTS
