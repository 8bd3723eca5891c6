"""SimpleITK's door: the library, and volumes as it has them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from napari_harm3.errors import VolumeError
from napari_harm3.mri.affine import RAS_OF_LPS
from napari_harm3.mri.intensity import foreground
from napari_harm3.mri.volume import Volume


def simpleitk() -> Any:
    """Return the library, which only registration needs.

    Raises
    ------
    VolumeError
        If it is not installed.
    """
    try:
        import SimpleITK
    except ImportError as error:
        raise VolumeError(
            "Registration needs SimpleITK, which is not installed: "
            'pip install "napari-harm3[register]".'
        ) from error
    return SimpleITK


def image_of(volume: Volume) -> Any:
    """Return a volume as SimpleITK's image, in LPS mm."""
    sitk = simpleitk()
    lps = RAS_OF_LPS @ volume.affine
    image = sitk.GetImageFromArray(
        np.ascontiguousarray(volume.array.transpose(2, 1, 0), dtype=np.float32)
    )
    spacing = volume.spacing_mm
    # ITK wants directions that are orthogonal to the last digit.
    left, _, right = np.linalg.svd(lps[:3, :3] / spacing)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((left @ right).ravel().tolist())
    return image


def body_mask(volume: Volume) -> Any:
    """Return where a volume shows the body, as SimpleITK's mask."""
    marked = replace(volume, array=foreground(volume.array))
    return simpleitk().Cast(image_of(marked), simpleitk().sitkUInt8)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let ITK work in one thread: several add their parts up in any order.

    The setting of a single filter is not enough, since the metric has its own.
    """
    process = simpleitk().ProcessObject
    threads = process.GetGlobalDefaultNumberOfThreads()
    process.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        process.SetGlobalDefaultNumberOfThreads(threads)
