"""Where the patches of a case's bag lie on its slides; free of torch and HDF5."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from napari_harm3.wsi.files import unique_names


@dataclass(frozen=True, kw_only=True)
class PatchPlaces:
    """The places of N patches on S slides, in the order of the bag.

    All lengths are level-0 pixels, x then y; NaN where a file does not say it.
    """

    names: tuple[str, ...]
    """Of the slides; no two are the same, see `unique_names`."""

    slide: Int[np.ndarray, "N"]
    """Number of each patch's slide."""

    corners: Float[np.ndarray, "N 2"]
    """Upper left."""

    sides: Float[np.ndarray, "S 2"]
    """Width and height of a slide's patches."""

    sizes: Float[np.ndarray, "S 2"]
    """Width and height of the slides."""

    mpp: Float[np.ndarray, "S 2"]
    """Microns per level-0 pixel."""

    def __len__(self) -> int:
        return len(self.slide)

    @property
    def known(self) -> Bool[np.ndarray, "N"]:
        """Whose place is known."""
        there = np.isfinite(self.corners).all(axis=1)
        return there & np.isfinite(self.sides[self.slide]).all(axis=1)

    def box(self, patch: int) -> tuple[float, float, float, float]:
        """Return x, y, width and height of a patch."""
        x, y = self.corners[patch].tolist()
        width, height = self.sides[self.slide[patch]].tolist()
        return x, y, width, height

    def at(self, name: str, x: float, y: float) -> int | None:
        """Return the patch that covers a point of a slide; None if there is none."""
        on = np.array([other == name for other in self.names], bool)[self.slide]
        offset = np.array([x, y]) - self.corners
        covers = ((offset >= 0) & (offset < self.sides[self.slide])).all(axis=1) & on
        found = np.flatnonzero(covers)
        return int(found[0]) if len(found) else None

    def to_arrays(self) -> dict[str, Shaped[np.ndarray, "..."]]:
        """Return the fields as plain arrays, to be stored."""
        return {one.name: np.asarray(getattr(self, one.name)) for one in fields(self)}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, Shaped[np.ndarray, "..."]]
    ) -> "PatchPlaces":
        """Return what `to_arrays` gave."""
        # Earlier versions did not tell slides of one name apart.
        names = unique_names(arrays["names"].tolist())
        own: dict[str, Any] = {**arrays, "names": names}
        return cls(**own)
