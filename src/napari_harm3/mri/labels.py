"""Labels of an annotation: their meaning, their usual names, and their grid."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage

from napari_harm3.errors import VolumeError
from napari_harm3.mri.affine import within
from napari_harm3.mri.volume import Geometry

LABELS = {1: "primary", 2: "nodes"}
LEAST_INSIDE = 0.5
"""Share of what is marked that must lie inside the volume."""

NAMES = {
    1: r"gtv ?[pt]\d*|gtv ?primary|gtv|primary|primary tumou?r|tumou?r|tv|lesion",
    2: r"gtv ?n\d*|gtv ?ln\d*|gtv ?nod\w*|nodes?|nodal|lymph\w*|ln\d*|gtvn\w*",
}
"""What clinics call them, in small letters."""

PLANNED = r"c ?tv|p ?tv|i ?tv|ctv\w*|ptv\w*|itv\w*|margin|ring|minus|avoid|bed"
"""Volumes that radiotherapy plans with are larger than what was seen."""

DENIED = (
    r"\b(?:no|not|without|kein\w*|ohne|sans|pas|sin) (?=[a-z]).*"  # "no 2" is a number
    rf"|\bnon (?:{NAMES[1]}|{NAMES[2]})\b.*"  # but "non enhancing tumour" is one
)
"""What a name says that there is not."""


def label_named(name: str) -> int | None:
    """Return the label that a structure's name says, if it says one."""
    words = re.sub(r"[^a-z0-9]+", " ", name.lower()).strip()
    words = re.sub(DENIED, "", words)
    if re.search(rf"\b(?:{PLANNED})\b", words):
        return None
    says = [label for label in NAMES if re.search(rf"\b(?:{NAMES[label]})\b", words)]
    # "lymph node tumour" and "GTV nodes" name nodes; the word for a tumour is wider.
    return says[-1] if says else None


def labels_by_name(
    names: Sequence[str], where: str, given: Mapping[str, int] | None = None
) -> dict[int, int]:
    """Return the label of each structure that has one, by its position.

    Parameters
    ----------
    names
        Of the structures, in the order of their file.
    where
        Name of the file, for messages.
    given
        The label of each name that counts; otherwise usual names are looked for.

    Raises
    ------
    VolumeError
        If a given name is not there, no name is a usual one, or several of them may
        be the primary tumour.
    """
    listed = ", ".join(repr(name) for name in names) or "none"
    if given is not None:
        absent = [name for name in given if name not in names]
        if absent:
            raise VolumeError(
                f"{where} has no structure named {absent[0]!r}; it has: {listed}."
            )
        return {i: given[name] for i, name in enumerate(names) if name in given}
    found = {i: label for i, name in enumerate(names) if (label := label_named(name))}
    if not found:
        raise VolumeError(
            f"{where} has no structure whose name says primary tumour or nodes; it "
            f"has: {listed}. Name them GTVp and GTVn."
        )
    primary = [names[i] for i, label in found.items() if label == 1]
    if len({re.sub(r"[\W_]*\d*$", "", name.lower()) for name in primary}) > 1:
        told = ", ".join(repr(name) for name in primary)
        raise VolumeError(
            f"{where} has several structures that may be the primary tumour ({told}): "
            "keep one of them."
        )
    return found


def labels_on_grid(
    labels: UInt8[np.ndarray, "X Y Z"], grid: Geometry, volume: Geometry, where: str
) -> UInt8[np.ndarray, "X Y Z"]:
    """Return labels of one grid on a volume's, by the nearest voxel.

    A part too small for the volume's voxels takes the one that holds most of it, so
    that no lesion is lost.

    Raises
    ------
    VolumeError
        If less than half of what is marked lies inside the volume.
    """
    marked = np.argwhere(labels).T
    if not marked.size:
        return np.zeros(volume.shape, dtype=np.uint8)
    to_volume = np.linalg.inv(volume.affine) @ grid.affine
    check_inside(to_volume[:3, :3] @ marked + to_volume[:3, 3:], volume, where)
    if grid.same_as(volume):
        return labels
    to_grid = np.linalg.inv(to_volume)
    moved = np.asarray(
        ndimage.affine_transform(
            labels,
            to_grid[:3, :3],
            to_grid[:3, 3],
            output_shape=volume.shape,
            order=0,
            mode="grid-constant",  # "constant" drops the outer half of edge voxels
            cval=0,
        )
    )
    for label in np.unique(labels[labels > 0]):
        _keep_parts(labels == label, to_volume, moved, int(label))
    return moved


def check_inside(
    indices: Float[np.ndarray, "3 N"], volume: Geometry, where: str
) -> None:
    """Refuse marks, in voxels of a volume, that lie mostly outside it.

    Raises
    ------
    VolumeError
        If less than half of them lie inside.
    """
    share = within(indices, volume.shape).mean()
    if share < LEAST_INSIDE:
        raise VolumeError(
            f"Only {share:.0%} of the annotation {where} lies inside its volume: "
            "check that it belongs to this volume and keeps its orientation."
        )


def _keep_parts(
    mask: Bool[np.ndarray, "X Y Z"],
    to_volume: Float[np.ndarray, "4 4"],
    moved: UInt8[np.ndarray, "X Y Z"],
    label: int,
) -> None:
    """Mark one voxel for each connected part that no voxel of the volume holds."""
    parts, count = ndimage.label(mask, np.ones((3, 3, 3)))
    boxes = ndimage.find_objects(parts)
    for number in range(1, count + 1):
        box = boxes[number - 1]
        first = np.array([side.start for side in box])
        places = np.argwhere(parts[box] == number) + first
        indices = np.round(to_volume[:3, :3] @ places.T + to_volume[:3, 3:]).astype(int)
        indices = indices[:, within(indices, moved.shape)]
        if not indices.size or (moved[tuple(indices)] == label).any():
            continue
        voxels, held = np.unique(indices, axis=1, return_counts=True)
        moved[tuple(voxels[:, held.argmax()])] = label
