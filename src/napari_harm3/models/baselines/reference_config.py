"""Choices of the rows that say what is easy; no torch here."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from napari_harm3.cohort.case import ROLES
from napari_harm3.config import STRICT
from napari_harm3.models.config import ModelConfig

Penalty = Annotated[float, Field(ge=0)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MajorityConfig(ModelConfig):
    """The share of pCR in the training part, for everybody."""

    network: Literal["majority"] = "majority"

    @property
    def required(self) -> tuple[str, ...]:
        """Nothing: it looks at nothing."""
        return ()


@dataclass(frozen=True, kw_only=True, config=STRICT)
class VolumeRatioConfig(ModelConfig):
    """Logistic regression on how much of the annotated lesion is left."""

    network: Literal["volume-ratio"] = "volume-ratio"
    penalty: Penalty = 0.01
    """L2 of the slope, a mean loss's share."""

    @property
    def required(self) -> tuple[str, ...]:
        """The volumes, on which the annotations lie."""
        return ROLES


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ClinicalConfig(ModelConfig):
    """Logistic regression on columns of the cohort table."""

    network: Literal["clinical"] = "clinical"
    penalty: Penalty = 0.01
    """L2 of the slopes, a mean loss's share."""

    @property
    def required(self) -> tuple[str, ...]:
        """Nothing but the table itself."""
        return ()
