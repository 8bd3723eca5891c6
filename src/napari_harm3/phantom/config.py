"""What a made-up cohort is like."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from napari_harm3.config import STRICT

Strength = Literal["default", "strong"]
"""How clearly a made-up cohort tells its label."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PhantomConfig:
    """A made-up cohort; the same configuration gives the same bytes."""

    cases: Annotated[int, Field(ge=1, le=9999)] = 120
    """Number of patients; 30 % of them reach pCR."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of everything that is drawn."""

    signal: Strength = "default"
    """How clearly lesion change, T2 signal and cell density tell the label."""

    permute_labels: bool = False
    """Shuffle the label over the cases, so that nothing can be learned."""

    missing: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the cases that lack a sequence, a time point or the slide."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ImplantConfig:
    """Lesions of real shape in real volumes; the same files give the same bytes."""

    anatomy: Path
    """Folder of patients' volumes, T1 and T2, before and after treatment."""

    lesions: Path
    """Folder of voxel annotations (NIfTI; 1 primary, 2 nodes) to take shapes from."""

    slides: Path | None = None
    """Folder of slides to take biopsies from; they are drawn if it is not given."""

    cases: Annotated[int, Field(ge=1, le=9999)] = 120
    """Number of cases; in every ten of them three reach pCR."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of everything that is drawn."""

    null: bool = False
    """Draw lesions and slides without regard to the label."""

    unchanged: bool = False
    """Leave the lesion as it was before treatment, and the slide regardless of the
    label: what is still learned is a leak."""

    fractions: bool = False
    """Also write which share of each voxel is lesion, as `fraction_<role>.nii.gz`."""
