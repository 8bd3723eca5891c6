"""Annotations that were painted in the viewer, kept as drafts until they are discarded.

They lie in the work folder, on the grids of their volumes, and are drawn in place of
the cohort's own, which nothing here changes.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from jaxtyping import Shaped

from napari_harm3.cohort.case import ROLES, Case
from napari_harm3.errors import Harm3Error
from napari_harm3.mri.reading import read_volume
from napari_harm3.plugin.writers import write_labels

FOLDER = "annotations"


def keep(
    painted: Mapping[str, tuple[Shaped[np.ndarray, "Z Y X"], Any]], folder: Path
) -> None:
    """Write annotations, by role, in place of those that were kept before.

    Raises
    ------
    VolumeError
        If an annotation is none; see `write_labels`.
    OSError
        If the folder cannot be written.
    """
    for role, (labels, attributes) in painted.items():
        folder.mkdir(parents=True, exist_ok=True)
        write_labels(str(_path(folder, role)), labels, attributes)


def kept(folder: Path) -> dict[str, Path]:
    """Return the annotations that were kept, by role."""
    paths = {role: _path(folder, role) for role in ROLES}
    return {role: path for role, path in paths.items() if path.is_file()}


def discard(folder: Path) -> None:
    """Delete the annotations that were kept: all of them, or none.

    Raises
    ------
    OSError
        If they cannot be deleted.
    """
    if kept(folder):
        # Moved at once: of files that are deleted one by one, some may stay.
        with TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as bin_:
            folder.rename(Path(bin_) / folder.name)


def as_painted(case: Case, folder: Path) -> Case:
    """Return a case with the annotations that were painted in place of its own.

    One that was meanwhile saved as the case's own file is kept no longer.
    """
    drafts = kept(folder)
    for role in [role for role in drafts if role in case.masks]:
        if _equal(drafts[role], case.masks[role]):
            with suppress(OSError):  # it says what the case's own file says, anyway
                drafts.pop(role).unlink()
    return replace(case, masks={**case.masks, **drafts})


def _path(folder: Path, role: str) -> Path:
    return folder / f"painted_{role}.nii.gz"


def _equal(draft: Path, own: Path) -> bool:
    try:
        one, other = read_volume(draft), read_volume(own)
    except (Harm3Error, OSError):  # what is damaged is told where it is drawn
        return False
    return one.same_as(other) and np.array_equal(one.array, other.array)
