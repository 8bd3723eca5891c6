"""Files of a case as what napari draws; no viewer here, so that a thread may do it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Shaped
from napari.utils.colormaps import Colormap
from numpy.typing import ArrayLike

from napari_harm3.cohort.case import ROLES, TITLES, Case
from napari_harm3.errors import Harm3Error, sentence
from napari_harm3.mri.annotation import read_annotation
from napari_harm3.mri.display import DisplayGrid, display_grid, window_of
from napari_harm3.mri.reading import read_volume
from napari_harm3.mri.resampling import placed
from napari_harm3.mri.volume import Geometry

AXES = ("S", "P", "L")
UNITS = ("mm", "mm", "mm")
NO_VOXELS = np.zeros((1, 1, 1), np.float32)
MISSING = "missing"
SHIFT = "shift_mm"
"""In a layer's metadata: how far along Z it is drawn from where it lies."""

Transforms = Mapping[str, ArrayLike]
"""Role to 4x4, from RAS mm of the common space to RAS mm of the role's file."""

Place = tuple[float, float, float]
"""LPS mm in the order Z, Y, X, where the viewer draws now."""

DrawnMaps = Mapping[str, tuple[DisplayGrid, Float[np.ndarray, "Z Y X"]]]
"""Role to a heat map and the grid on which it is drawn."""

HEAT = Colormap(
    [
        [0.05, 0.15, 0.6, 0.0],
        [0.1, 0.65, 0.85, 0.55],
        [0.98, 0.85, 0.2, 0.8],
        [0.85, 0.1, 0.1, 0.95],
    ],
    name="harm3-heat",
    display_name="HARM3 heat",
)
"""Clear at the low end: where there is no evidence the anatomy shows."""


@dataclass(frozen=True, kw_only=True)
class DrawnVolume:
    """One volume on its display grid; absent parts are None."""

    role: str
    grid: DisplayGrid | None = None
    image: Float[np.ndarray, "Z Y X"] | None = None
    annotation: Shaped[np.ndarray, "Z Y X"] | None = None
    window: tuple[float, float] = (0.0, 1.0)
    """Contrast limits."""

    message: str = ""
    """Why a part is absent."""

    path: Path | None = None
    """The volume's file or folder."""

    annotation_path: Path | None = None
    aligned: bool = False
    """Whether it is drawn in the case's common space, not where it was scanned."""

    @property
    def title(self) -> str:
        """What a person reads above it."""
        return TITLES[self.role]

    @property
    def caption(self) -> str:
        """What a person reads in its cell; why a file is not read is told elsewhere."""
        if self.image is not None:
            return self.title
        why = "missing" if self.message == MISSING else "cannot be read"
        return f"{self.title} ({why})"

    def place(self, kind: Literal["image", "labels"]) -> dict[str, Any]:
        """Return what a writer is told of a layer that lies where the volume does."""
        assert self.grid is not None
        return {
            "name": self.title,
            "scale": self.grid.scale,
            "translate": self.grid.translate,
            "metadata": self.origin(kind),
        }

    def origin(self, kind: Literal["image", "labels"]) -> dict[str, Any]:
        """Return the metadata of its image, or of its annotation.

        An aligned layer has none: what is saved of it lies where it is drawn.
        """
        if self.grid is None or self.path is None or self.aligned:
            return {}
        own = self.path if kind == "image" else self.annotation_path
        return origin(self.grid, self.path, kind=kind, own=own)

    @property
    def focus(self) -> Place | None:
        """Centre of the annotation."""
        if self.annotation is None or self.grid is None or not self.annotation.any():
            return None
        index = np.argwhere(self.annotation).mean(axis=0)
        z, y, x = index * self.grid.scale + self.grid.translate
        return float(z), float(y), float(x)


def origin(
    grid: DisplayGrid,
    volume: Path,
    *,
    kind: Literal["image", "labels"],
    own: Path | None = None,
) -> dict[str, Any]:
    """Return what a layer keeps of its file, so that edits can go back to its grid.

    Parameters
    ----------
    grid
        On which the layer is drawn.
    volume
        The volume that it lies on: a file, or a DICOM folder.
    kind
        What the layer holds.
    own
        The file that holds the layer's own voxels, if there is one.
    """
    return {
        "oblique_degrees": grid.oblique_degrees,
        "affine_ras": grid.native.affine.tolist(),
        "native_shape": list(grid.native.shape),
        "source": volume.name,
        "source_path": str(volume),
        "own_path": None if own is None else str(own),
        "kind": kind,
    }


def draw_case(case: Case, transforms: Transforms | None = None) -> list[DrawnVolume]:
    """Return the four volumes of a case, in the order of the roles.

    A file that cannot be trusted is not drawn, and its message says why.

    Parameters
    ----------
    case
        Whose volumes and annotations are read.
    transforms
        Of the roles that are drawn in the common space.
    """
    return [_draw(case, role, transforms or {}) for role in ROLES]


def _draw(case: Case, role: str, transforms: Transforms) -> DrawnVolume:
    path = case.volumes.get(role)
    if path is None:
        return DrawnVolume(role=role, message=MISSING)
    try:
        volume = read_volume(path)
        grid = _grid(volume, role, transforms)
        annotation, message = None, ""
        if role in case.masks:
            try:
                labels = read_annotation(case.masks[role], volume)
                annotation = grid.show(labels, order=0)
            except Harm3Error as error:
                message = str(error)
        return DrawnVolume(
            role=role,
            grid=grid,
            image=grid.show(volume.array),
            annotation=annotation,
            window=window_of(volume.array),
            message=message,
            path=path,
            annotation_path=case.masks.get(role),
            aligned=role in transforms,
        )
    except (Harm3Error, OSError) as error:
        return DrawnVolume(role=role, message=sentence(error, path.name))


def draw_maps(
    maps: Mapping[str, Path], transforms: Transforms | None = None
) -> DrawnMaps:
    """Return heat maps on the display grids of the volumes that they explain."""
    drawn = {}
    for role, path in maps.items():
        volume = read_volume(path)
        grid = _grid(volume, role, transforms or {})
        drawn[role] = grid, grid.show(volume.array)
    return drawn


def _grid(volume: Geometry, role: str, transforms: Transforms) -> DisplayGrid:
    """Return where a volume is drawn: in its own space, or in the common one."""
    if role not in transforms:
        return display_grid(volume)
    to_own = np.asarray(transforms[role], dtype=float)
    return display_grid(placed(volume, to_own))


def tilt(volumes: list[DrawnVolume]) -> str:
    """Say which volumes were resampled to be drawn, and by how much they lie askew."""
    tilted = [
        f"{TITLES[v.role]} {v.grid.oblique_degrees:.0f}°"
        for v in volumes
        if v.grid is not None and v.grid.oblique_degrees
    ]
    if not tilted:
        return ""
    return f"Oblique, straightened for display only: {', '.join(tilted)}."
