"""What a made-up cohort is like."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from napari_harm3.config import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PhantomConfig:
    """A made-up cohort; the same configuration gives the same bytes."""

    cases: Annotated[int, Field(ge=1, le=9999)] = 120
    """Number of patients; 30 % of them reach pCR."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of everything that is drawn."""

    signal: Literal["default", "strong"] = "default"
    """How clearly lesion change, T2 signal and cell density tell the label."""

    permute_labels: bool = False
    """Shuffle the label over the cases, so that nothing can be learned."""

    missing: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the cases that lack a sequence, a time point or the slide."""
