"""Any volume that we read, told apart by its content and never by its name."""

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from napari_harm3.errors import VolumeError
from napari_harm3.mri.volume import (
    GZIP_MAGIC,
    Geometry,
    Volume,
    file_bytes,
    read_nifti,
    read_nifti_geometry,
)

READ = (
    "NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr), MetaImage (.mha, .mhd), and DICOM "
    "(a file, or a folder of one series)"
)
"""What a volume may be, as errors and help texts say it."""

HEAD_BYTES = 4096
META_BYTES = 1024
"""Within these a DICOM file says what it holds."""

SLIDE_UID = b"1.2.840.10008.5.1.4.1.1.77.1.6"
ANNOTATION_UIDS = {
    b"1.2.840.10008.5.1.4.1.1.481.3": "RTSTRUCT",
    b"1.2.840.10008.5.1.4.1.1.66.4": "SEG",
    b"1.2.840.10008.5.1.4.1.1.66.7": "SEG",
}

NIFTI_SIZES = {348, 540}
"""First number of a NIfTI-1 or NIfTI-2 header, in either byte order."""


def read_volume(path: Path) -> Volume:
    """Return a volume of any kind, in its own space.

    Raises
    ------
    VolumeError
        If the kind cannot be told, or the volume cannot be trusted.
    """
    return _readers(path)[0](path)


def read_geometry(path: Path) -> Geometry:
    """Return shape and affine of a volume of any kind; no voxel is read.

    Raises
    ------
    VolumeError
        If the kind cannot be told, or the header says something impossible.
    """
    return _readers(path)[1](path)


def kind_of(path: Path) -> str | None:
    """Return ``NIfTI``, ``NRRD``, ``MetaImage`` or ``DICOM``; None if it is no volume.

    Any DICOM file is taken as DICOM, except a slide.

    Raises
    ------
    VolumeError
        If the file is missing or cannot be read.
    """
    if path.is_dir():
        files = (file for file in sorted(path.rglob("*")) if file.is_file())
        found = any(_is_dicom(file_bytes(file, most=HEAD_BYTES)) for file in files)
        return "DICOM" if found else None
    return _kind(file_bytes(path, most=HEAD_BYTES))


def annotation_kind(path: Path) -> str | None:
    """Return ``RTSTRUCT`` or ``SEG`` for a DICOM file of these; None for any other.

    Raises
    ------
    VolumeError
        If the file cannot be read.
    """
    if path.is_dir():
        return None
    head = file_bytes(path, most=META_BYTES)
    if not _is_dicom(head):
        return None
    found = (kind for uid, kind in ANNOTATION_UIDS.items() if uid in head)
    return next(found, None)


def _readers(
    path: Path,
) -> tuple[Callable[[Path], Volume], Callable[[Path], Geometry]]:
    kind = kind_of(path)
    if kind == "NIfTI":
        return read_nifti, read_nifti_geometry
    if kind in ("NRRD", "MetaImage"):
        from napari_harm3.mri.itk import read_itk, read_itk_geometry

        return read_itk, read_itk_geometry
    if kind == "DICOM":
        from napari_harm3.mri.dicom import read_series, series_geometry

        return read_series, series_geometry
    holds = "holds no DICOM file" if path.is_dir() else "is no volume that we know"
    raise VolumeError(f"{path.name} {holds}. What is read: {READ}.")


def blank_fault(volume: Volume) -> str:
    """Say that a volume shows nothing; empty if its voxels are not all alike."""
    alike = np.ptp(volume.array) == 0
    return f"{volume.name} shows nothing: all its voxels are alike." if alike else ""


def _is_dicom(head: bytes) -> bool:
    return head[128:132] == b"DICM" and SLIDE_UID not in head[:META_BYTES]


def _kind(head: bytes) -> str | None:
    if head.startswith(GZIP_MAGIC):
        # Only NIfTI is packed as a whole.
        try:
            head = zlib.decompressobj(31).decompress(head, 4)
        except zlib.error:
            return "NIfTI"  # whose door says how it is damaged
    if len(head) >= 4 and _first_numbers(head) & NIFTI_SIZES:
        return "NIfTI"
    if head.startswith(b"NRRD000"):
        return "NRRD"
    if _is_dicom(head):
        return "DICOM"
    return "MetaImage" if _is_metaimage(head) else None


def _first_numbers(head: bytes) -> set[int]:
    return {int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")}


def _is_metaimage(head: bytes) -> bool:
    """Return whether a text of ``Key = value`` lines names its object or axes."""
    keys = [line.partition(b"=")[0].strip() for line in head.split(b"\n")]
    return b"ObjectType" in keys or b"NDims" in keys
