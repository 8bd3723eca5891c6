"""What stands as JSON beside a prepared array; one of other types is made anew."""

from typing import Any

import numpy as np
from jaxtyping import Shaped
from pydantic import FiniteFloat
from pydantic.dataclasses import dataclass

from napari_harm3.config import STRICT

Row = tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
Affine = tuple[Row, Row, Row, Row]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MadeMri:
    """Of what volumes on their common grid were made, and how they lie."""

    recipe: dict[str, Any]
    sources: dict[str, str]
    """SHA-256 of each role's file."""

    contents: dict[str, str]
    """`Volume.unpacked` of each role's file, where it is known."""

    stamps: dict[str, list[Any] | None]
    affine: Affine
    available: tuple[tuple[bool, bool], tuple[bool, bool]]
    aligned: bool
    transforms: dict[str, Affine]
    registrations: dict[str, Any]
    warnings: dict[str, str]
    """What is to be said of them, by role."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MadeMasks:
    """Of what annotations on the common grid were made."""

    key: dict[str, Any]
    """Their files, and the volumes."""

    warnings: dict[str, str]
    """What is to be said of them, by role."""


def rows_of(matrix: Shaped[np.ndarray, "n m"]) -> Any:
    """Return a matrix as tuples of plain numbers, as these records hold it."""
    return tuple(tuple(row) for row in matrix.tolist())
