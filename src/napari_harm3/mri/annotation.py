"""Voxel annotations, on the grid of the volume that they belong to."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from napari_harm3.errors import VolumeError
from napari_harm3.mri.dicom_headers import (
    SEGMENTATIONS,
    STRUCTURES,
    dicom_files,
    storage_class,
)
from napari_harm3.mri.labels import LABELS, labels_on_grid
from napari_harm3.mri.reading import kind_of, read_geometry, read_volume
from napari_harm3.mri.rtstruct import read_rtstruct, read_structures
from napari_harm3.mri.segmentation import read_segmentation
from napari_harm3.mri.volume import Geometry, Volume

__all__ = ["LABELS", "READING", "check_annotation", "check_contents", "read_annotation"]

READING = 2
"""Raised when another mask is read of the same file: what was prepared is made anew."""

READ = "NIfTI, NRRD or MetaImage labels, a DICOM SEG, or an RTSTRUCT"
"""What an annotation may be, as errors say it."""


def read_annotation(
    path: Path, volume: Geometry, labels: Mapping[str, int] | None = None
) -> UInt8[np.ndarray, "X Y Z"]:
    """Return an annotation's labels on a volume's grid; an empty one is all zero.

    A mask on another grid is brought over by its affine, nearest voxel; a part too
    small for the volume's voxels takes one of them.

    Parameters
    ----------
    path
        Labels as voxels, or a DICOM SEG or RTSTRUCT (or a folder with one of them).
    volume
        What it was drawn on.
    labels
        The label of each structure that counts, for DICOM; otherwise the usual names
        of tumour and nodes are looked for.

    Raises
    ------
    VolumeError
        If the file is no readable annotation of whole numbers up to 255, was drawn in
        another frame of reference, or less than half of what it marks lies inside the
        volume.
    """
    if kind_of(path) != "DICOM":
        mask = read_volume(path)
        return labels_on_grid(_whole(mask), mask, volume, path.name)
    path, kind = _dicom_annotation(path)
    if kind == STRUCTURES:
        return read_rtstruct(path, volume, labels)
    mask = read_segmentation(path, labels, volume=volume)
    _check_frame(mask, volume)
    return labels_on_grid(_whole(mask), mask, volume, path.name)


def check_annotation(path: Path) -> None:
    """Refuse what cannot be an annotation, by its header alone.

    Raises
    ------
    VolumeError
        If the header is missing or impossible, or that of a DICOM image.
    """
    if kind_of(path) == "DICOM":
        _dicom_annotation(path)
    else:
        read_geometry(path)


def check_contents(path: Path) -> None:
    """Refuse a DICOM annotation that is damaged, whatever volume it belongs to.

    Raises
    ------
    VolumeError
        If its contours or its pixels cannot be read whole.
    """
    path, kind = _dicom_annotation(path)
    if kind == STRUCTURES:
        read_structures(path)
    else:
        read_segmentation(path)


def _dicom_annotation(path: Path) -> tuple[Path, str]:
    """Return the file of an annotation, alone or in a folder, and its storage class."""
    found = []
    for file in dicom_files(path):
        kind = storage_class(file)
        if kind == STRUCTURES or kind in SEGMENTATIONS:
            found.append((file, kind))
    if len(found) != 1:
        holds = "no annotation" if not found else f"{len(found)} annotations"
        raise VolumeError(f"{path.name} holds {holds}: give one, as {READ}.")
    return found[0]


def _check_frame(mask: Volume, volume: Geometry) -> None:
    stated = volume.frame_of_reference if isinstance(volume, Volume) else None
    if stated and mask.frame_of_reference not in (None, stated):
        raise VolumeError(
            f"{mask.name} was drawn in another frame of reference than that of its "
            "volume: give the annotation of this examination, or register first."
        )


def _whole(mask: Volume) -> UInt8[np.ndarray, "X Y Z"]:
    if (mask.array != np.round(mask.array)).any() or mask.array.min() < 0:
        raise VolumeError(
            f"{mask.name} holds values that are no labels: an annotation has whole "
            "numbers, 0 for background."
        )
    if mask.array.max() > 255:
        raise VolumeError(f"{mask.name} has labels above 255: is it an image?")
    return mask.array.astype(np.uint8)
