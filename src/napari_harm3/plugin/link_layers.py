"""The link between slide and MRI in the viewer's own places; no Qt here.

The link speaks of cells and of each volume's own RAS mm; the viewer draws LPS mm in the
order Z, Y, X, as scanned or laid on each other by a registration.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from napari_harm3.explain.link import CaseLink
from napari_harm3.mri.display import ZYX_OF_RAS, DisplayGrid
from napari_harm3.mri.resampling import to_native
from napari_harm3.mri.volume import Geometry
from napari_harm3.plugin.layers import DrawnMaps, Place, Transforms

SAMPLE_MM = 6.0
"""Cells are far larger: sampled finer, a map would only be slower to draw."""


@dataclass(frozen=True, kw_only=True)
class Strongest:
    """The cell that an answer weighs most."""

    role: str
    place: Place
    """Its centre."""

    share: float
    """What the answer says of it."""


def link_maps(
    link: CaseLink,
    shares: Float[np.ndarray, "M"],
    grids: Mapping[str, DisplayGrid],
    transforms: Transforms,
    into: DrawnMaps | None = None,
) -> DrawnMaps:
    """Return an answer of the link as heat over the volumes that hang.

    Between the cells' centres it is trilinear, as the other heat maps are.

    Parameters
    ----------
    link
        Of the case.
    shares
        One number for each MRI token.
    grids
        On which the volumes are drawn, by role.
    transforms
        Of the roles that are drawn in the common space.
    into
        Another answer, whose arrays are written into where they fit: a layer shows
        what has changed in its array much sooner than an array that is new to it.
    """
    drawn, others = {}, into or {}
    for role, cells in link.maps(shares).items():
        if role in grids:
            grid = _coarser(grids[role])
            own = Geometry(
                shape=grid.shape,
                affine=_to_own(role, transforms) @ grid.affine,
            )
            affine, heat = link.cell_affine(role), cells.astype(np.float32)
            heat = to_native(heat, affine, own, view=link.view)
            _, other = others.get(role, (grid, heat))
            if other.shape == heat.shape:
                other[:], heat = heat, other
            drawn[role] = grid, heat
    return drawn


def strongest(
    link: CaseLink, shares: Float[np.ndarray, "M"], transforms: Transforms
) -> Strongest:
    """Return the cell of the largest share; of equal ones the first."""
    maps = link.maps(shares)
    role = max(maps, key=lambda one: float(maps[one].max()))
    cell = np.unravel_index(int(maps[role].argmax()), maps[role].shape)
    ras = (link.cell_affine(role) @ [*(int(along) for along in cell), 1])[:3]
    place = place_of(role, ras.tolist(), transforms)
    return Strongest(role=role, place=place, share=float(maps[role].max()))


def place_of(role: str, ras_mm: Sequence[float], transforms: Transforms) -> Place:
    """Return where the viewer draws a place of a volume; see `own_ras`."""
    z, y, x, _ = (np.linalg.inv(_to_own(role, transforms)) @ [*ras_mm, 1]).tolist()
    return z, y, x


def own_ras(
    role: str, place: Sequence[float], transforms: Transforms
) -> Float[np.ndarray, "3"]:
    """Return a place of the viewer in the RAS mm of a volume's own file."""
    return np.asarray((_to_own(role, transforms) @ [*place, 1])[:3])


def cell_mm(link: CaseLink) -> tuple[float, float, float]:
    """Return the size of a cell along z, y, x in mm."""
    z, y, x = np.linalg.norm(link.affine[:3, :3], axis=0).tolist()
    return z, y, x


def _to_own(role: str, transforms: Transforms) -> Float[np.ndarray, "4 4"]:
    """Return the way from the viewer's Z, Y, X to the RAS mm of a role's file."""
    to_ras = np.linalg.inv(ZYX_OF_RAS)
    if role not in transforms:
        return to_ras
    return np.asarray(transforms[role], dtype=float) @ to_ras


def _coarser(grid: DisplayGrid) -> DisplayGrid:
    """Return every n-th voxel of a grid; it begins where the grid does."""
    steps = [max(round(SAMPLE_MM / mm), 1) for mm in grid.scale]
    z, y, x = (
        (size - 1) // step + 1 for size, step in zip(grid.shape, steps, strict=True)
    )
    along_z, along_y, along_x = (
        mm * step for mm, step in zip(grid.scale, steps, strict=True)
    )
    return DisplayGrid(
        native=grid.native,
        shape=(z, y, x),
        scale=(along_z, along_y, along_x),
        translate=grid.translate,
        oblique_degrees=grid.oblique_degrees,
    )
