"""Columns of the cohort table as numbers."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from pydantic.dataclasses import dataclass

from napari_harm3.cohort.case import Case
from napari_harm3.config import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ClinicalColumn:
    """How one column is read."""

    name: str
    categories: tuple[str, ...] = ()
    """Its values, each a number of its own; none for a column of numbers."""

    @property
    def width(self) -> int:
        """Numbers that stand for it: its own, and whether it is blank."""
        return len(self.categories or (self.name,)) + 1

    def of(self, case: Case) -> list[float]:
        """Return the numbers; what is not known is NaN, and marked."""
        text = case.extra.get(self.name, "").strip()
        if self.categories:
            known = text in self.categories
            values = [float(text == one) for one in self.categories]
            return [*(values if known else [np.nan] * len(values)), float(not known)]
        value = _number(text)
        return [value, float(np.isnan(value))]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ClinicalEncoding:
    """How a run reads the clinical columns; it learns from no label."""

    columns: tuple[ClinicalColumn, ...] = ()

    @property
    def width(self) -> int:
        """Numbers that stand for a case."""
        return sum(column.width for column in self.columns)

    def of(self, case: Case) -> Float[np.ndarray, "c"]:
        """Return a case as numbers."""
        numbers = [number for column in self.columns for number in column.of(case)]
        return np.array(numbers, dtype=np.float32)


def clinical_encoding(cases: Sequence[Case], names: Sequence[str]) -> ClinicalEncoding:
    """Return how the named columns are read; one that is blank throughout is left out.

    A column whose every value is a number is one number, any other is one of its
    values.
    """
    columns = []
    for name in names:
        texts = {case.extra.get(name, "").strip() for case in cases} - {""}
        if not texts:
            continue
        numeric = not any(np.isnan(_number(text)) for text in texts)
        categories = () if numeric else tuple(sorted(texts))
        columns.append(ClinicalColumn(name=name, categories=categories))
    return ClinicalEncoding(columns=tuple(columns))


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return np.nan
    return value if np.isfinite(value) else np.nan
