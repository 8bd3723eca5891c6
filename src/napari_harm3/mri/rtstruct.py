"""RTSTRUCT: the contours of a radiotherapy plan, as voxels of a volume.

A contour is a closed polygon in one plane. It stands for a slab that reaches halfway to
its neighbours, and polygons of one plane take turns: inside two is a hole. What ties
contours to a volume is the scanner's frame of reference; the series that they were
drawn on may be another one, and their planes need not be the volume's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy import ndimage

from napari_harm3.errors import VolumeError
from napari_harm3.mri.affine import RAS_OF_LPS
from napari_harm3.mri.dicom_headers import (
    STRUCTURES,
    dicom_errors,
    is_dicom,
    read_dataset,
    storage_class,
)
from napari_harm3.mri.labels import check_inside, labels_by_name, labels_on_grid
from napari_harm3.mri.volume import Geometry, Volume

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")

PLANE_SHARE = 0.1
"""How far, in slices, the points of one contour may lie off its plane."""

MOST_APART = 2.1
"""Times the usual distance of planes: one may be missing between two of a lesion."""

MOST_CELLS = 1 << 29
"""Voxels of a grid made for contours that cross the volume's slices."""


@dataclass(frozen=True, kw_only=True)
class Structure:
    """One region of interest."""

    name: str
    frame_of_reference: str
    contours: tuple[Float[np.ndarray, "points 3"], ...]
    """Corners of closed ones in LPS mm."""

    open_contours: int = 0
    """Points and lines, which enclose nothing."""


def read_structures(path: Path) -> list[Structure]:
    """Return the structures of an RTSTRUCT file, those without contours too.

    Raises
    ------
    VolumeError
        If the file is damaged or no RTSTRUCT.
    """
    if not is_dicom(path) or storage_class(path) != STRUCTURES:
        raise VolumeError(f"{path.name} is no RTSTRUCT: give the structure set's file.")
    dataset = read_dataset(path, pixels=True)  # it has none, but is read to its end
    with dicom_errors(path.name):
        return _structures(path, dataset)


def read_rtstruct(
    path: Path, volume: Geometry, labels: Mapping[str, int] | None = None
) -> UInt8[np.ndarray, "X Y Z"]:
    """Return labels of a volume's voxels whose centres lie inside contours.

    Where structures overlap, the lowest label is kept.

    Parameters
    ----------
    path
        The RTSTRUCT.
    volume
        What it belongs to; one that states its frame of reference must share it.
    labels
        The label of each structure that counts; otherwise usual names are looked for.

    Raises
    ------
    VolumeError
        If no structure, or an ambiguous one, is named; if it is drawn in another
        frame of reference, lies mostly outside, or has contours that enclose nothing.
    """
    structures = read_structures(path)
    named = labels_by_name([one.name for one in structures], path.name, labels)
    marked = np.zeros(volume.shape, dtype=np.uint8)
    for index, label in sorted(named.items(), key=lambda pair: -pair[1]):
        structure = structures[index]
        _check_frame(path, structure, volume)
        if structure.contours:
            marked[rasterised(structure, volume, path.name)] = label
        elif structure.open_contours:
            raise VolumeError(
                f"{structure.name!r} of {path.name} has points or open lines only, "
                "which enclose nothing: draw closed contours."
            )
    return marked


def rasterised(
    structure: Structure, volume: Geometry, where: str
) -> Bool[np.ndarray, "X Y Z"]:
    """Return the voxels of a volume inside a structure that has contours.

    Parameters
    ----------
    structure
        With contours.
    volume
        Any grid.
    where
        Name of the file, for messages.

    Raises
    ------
    VolumeError
        If the contours lie mostly outside the volume, enclose none of its voxels, or
        are not planar.
    """
    to_volume = np.linalg.inv(volume.affine) @ RAS_OF_LPS
    contours = [
        one @ to_volume[:3, :3].T + to_volume[:3, 3] for one in _distinct(structure)
    ]
    check_inside(np.concatenate(contours).T, volume, f"{structure.name!r} of {where}")
    axis = _flat_axis(contours)
    if axis is None:
        inside = _through_own_grid(structure, volume, where)
    else:
        inside = _slabs(contours, axis, volume.shape)
    if not inside.any():
        raise VolumeError(
            f"The contours of {structure.name!r} of {where} enclose no voxel of the "
            "volume: check that it belongs to this volume."
        )
    return inside


def polygons_filled(
    polygons: Sequence[Float[np.ndarray, "points 2"]], shape: tuple[int, int]
) -> Bool[np.ndarray, "rows columns"]:
    """Return the cells whose centres lie inside an odd number of polygons.

    Parameters
    ----------
    polygons
        Corners as (row, column), in cells; closed by themselves.
    shape
        Rows and columns.

    Examples
    --------
    >>> square = np.array([(0.5, 0.5), (0.5, 2.5), (2.5, 2.5), (2.5, 0.5)])
    >>> int(polygons_filled([square], (4, 4)).sum())
    4
    """
    # Each edge that crosses a row turns inside to outside for all columns after it.
    turns = np.zeros((shape[0], shape[1] + 1), dtype=np.int32)
    for polygon in polygons:
        ends = np.roll(polygon, -1, axis=0)
        low, high = np.minimum(polygon, ends)[:, 0], np.maximum(polygon, ends)[:, 0]
        # Half-open, so that a corner on a row counts for one of its two edges.
        first = np.clip(np.ceil(low), 0, shape[0]).astype(int)
        last = np.clip(np.ceil(high), 0, shape[0]).astype(int)
        counts = last - first
        edges = np.repeat(np.arange(len(polygon)), counts)
        starts = np.repeat(np.cumsum(counts) - counts, counts)
        rows = np.arange(counts.sum()) - starts + first[edges]
        begin, step = polygon[edges], (ends - polygon)[edges]
        columns = begin[:, 1] + (rows - begin[:, 0]) / step[:, 0] * step[:, 1]
        columns = np.clip(np.ceil(columns), 0, shape[1]).astype(int)
        np.add.at(turns, (rows, columns), 1)
    return (turns.cumsum(axis=1)[:, :-1] % 2).astype(bool)


def _structures(path: Path, dataset: Any) -> list[Structure]:
    for keyword in ("StructureSetROISequence", "ROIContourSequence"):
        if keyword not in dataset:  # it may be empty, but must be there
            raise VolumeError(
                f"{path.name} has no {keyword}: it is damaged or was cut short. Copy "
                "or export it again."
            )
    drawn = {
        int(item.ReferencedROINumber): item.get("ContourSequence") or []
        for item in dataset.ROIContourSequence or []
    }
    structures = []
    for item in dataset.StructureSetROISequence or []:
        items = drawn.get(int(item.ROINumber), [])
        contours = _contours(path, items)
        structures.append(
            Structure(
                name=str(item.get("ROIName") or "").strip(),
                frame_of_reference=str(item.get("ReferencedFrameOfReferenceUID") or ""),
                contours=tuple(contours),
                open_contours=len(items) - len(contours),
            )
        )
    return structures


def _contours(path: Path, items: Sequence[Any]) -> list[Float[np.ndarray, "points 3"]]:
    contours = []
    for item in items:
        points = np.array(item.ContourData, dtype=float).reshape(-1, 3)
        if not np.isfinite(points).all():
            raise VolumeError(f"{path.name} has contours that lie nowhere.")
        if item.ContourGeometricType in CLOSED and len(points) >= 3:
            contours.append(points)
    return contours


def _check_frame(path: Path, structure: Structure, volume: Geometry) -> None:
    if not isinstance(volume, Volume) or volume.frame_of_reference is None:
        return
    if structure.frame_of_reference not in ("", volume.frame_of_reference):
        raise VolumeError(
            f"{structure.name!r} of {path.name} was drawn in another frame of "
            f"reference than that of {volume.name}: give the structures of this "
            "examination, or register the volumes first."
        )


def _distinct(structure: Structure) -> list[Float[np.ndarray, "points 3"]]:
    """Return contours without copies, which would take turns and vanish."""
    return list({one.tobytes(): one for one in structure.contours}.values())


def _flat_axis(contours: Sequence[Float[np.ndarray, "points 3"]]) -> int | None:
    """Return the array axis across which every contour is flat, if there is one."""
    thick = np.array([np.ptp(one, axis=0) for one in contours]).max(axis=0)
    axis = int(np.argmin(thick))
    return axis if thick[axis] <= PLANE_SHARE else None


def _slabs(
    contours: Sequence[Float[np.ndarray, "points 3"]],
    axis: int,
    shape: tuple[int, int, int],
) -> Bool[np.ndarray, "X Y Z"]:
    """Fill each slice from the contour plane that is nearest, if it is near enough."""
    planes, members = _planes(np.array([one[:, axis].mean() for one in contours]))
    inside = np.zeros(shape, dtype=bool)
    view = np.moveaxis(inside, axis, 0)
    others = [other for other in range(3) if other != axis]

    def filled(plane: int) -> Bool[np.ndarray, "rows columns"]:
        polygons = [
            one[:, others]
            for one, at in zip(contours, members, strict=True)
            if at == plane
        ]
        return polygons_filled(polygons, view.shape[1:])

    gaps = np.diff(planes)
    apart = float(np.median(gaps)) if len(gaps) else 1.0
    for reach in (apart / 2, 0.5):  # the latter for what lies between coarse slices
        for index in range(shape[axis]):
            off = index - planes
            # Half-open, so that a plane midway between two slices fills one of them.
            near = (off > -reach + 1e-6) & (off <= reach + 1e-6)
            nearest = int(np.where(near, np.abs(off), np.inf).argmin())
            if near.any():
                view[index] = filled(nearest)
            elif planes[0] < index < planes[-1]:
                low = int(np.searchsorted(planes, index)) - 1
                if gaps[low] <= MOST_APART * apart:
                    view[index] = _between(filled(low), filled(low + 1), off[low:])
        if inside.any():
            break
    return inside


def _between(
    low: Bool[np.ndarray, "rows columns"],
    high: Bool[np.ndarray, "rows columns"],
    off: Float[np.ndarray, "P"],
) -> Bool[np.ndarray, "rows columns"]:
    """Return what the nearer of two planes shows of the parts that both show."""
    nearer, other = (low, high) if off[0] <= -off[1] else (high, low)
    parts, _ = ndimage.label(nearer)
    return np.isin(parts, np.unique(parts[nearer & other]))


def _planes(
    heights: Float[np.ndarray, "N"],
) -> tuple[Float[np.ndarray, "P"], Int[np.ndarray, "N"]]:
    """Return distinct heights, in slices, and which of them each contour has."""
    order = np.argsort(heights)
    fresh = np.diff(heights[order], prepend=-np.inf) > PLANE_SHARE
    members = np.empty(len(heights), dtype=int)
    members[order] = np.cumsum(fresh) - 1
    return heights[order][fresh], members


def _through_own_grid(
    structure: Structure, volume: Geometry, where: str
) -> Bool[np.ndarray, "X Y Z"]:
    """Fill a grid along the contours' own planes, and bring it to the volume's."""
    grid = _own_grid(structure, volume, where)
    to_grid = np.linalg.inv(grid.affine) @ RAS_OF_LPS
    contours = [
        one @ to_grid[:3, :3].T + to_grid[:3, 3] for one in _distinct(structure)
    ]
    if max(np.ptp(one[:, 2]) for one in contours) > 2 * PLANE_SHARE:
        raise VolumeError(
            f"{structure.name!r} of {where} has contours that lie in no common "
            "direction of planes: export it as a mask."
        )
    inside = _slabs(contours, 2, grid.shape).astype(np.uint8)
    return labels_on_grid(inside, grid, volume, where).astype(bool)


def _own_grid(structure: Structure, volume: Geometry, where: str) -> Geometry:
    """Return a grid on the contours' planes, twice as fine as the volume in plane."""
    contours = _distinct(structure)
    largest = max(contours, key=lambda one: np.ptp(one, axis=0).sum())
    directions = np.linalg.svd(largest - largest.mean(axis=0))[2]
    if np.linalg.det(directions) < 0:
        directions[2] *= -1
    points = np.concatenate(contours) @ directions.T
    heights = np.sort([one.mean(axis=0) @ directions[2] for one in contours])
    gaps = np.diff(heights)
    gaps = gaps[gaps > 0.05]  # mm; closer ones are one plane, rounded
    along = float(gaps.min()) if gaps.size else float(volume.spacing_mm.min())
    spacing = np.array([*[volume.spacing_mm.min() / 2] * 2, along])
    low = np.array([*points.min(axis=0)[:2] - 2 * spacing[:2], heights[0]])
    high = np.array([*points.max(axis=0)[:2] + 2 * spacing[:2], heights[-1]])
    sizes = np.ceil((high - low) / spacing - 1e-3).astype(int) + 1
    if np.prod(sizes.astype(float)) > MOST_CELLS:
        raise VolumeError(f"{structure.name!r} of {where} is too large to be filled.")
    lps = np.eye(4)
    lps[:3, :3] = directions.T * spacing
    lps[:3, 3] = low @ directions
    shape = (int(sizes[0]), int(sizes[1]), int(sizes[2]))
    return Geometry(shape=shape, affine=RAS_OF_LPS @ lps)
