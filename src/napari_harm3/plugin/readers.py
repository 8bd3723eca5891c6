"""Files that napari opens through us: volumes, slides, and a cohort table."""

import csv
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from napari import current_viewer
from napari.utils.notifications import show_error, show_info

from napari_harm3.errors import Harm3Error, sentence
from napari_harm3.mri.dicom_headers import is_dicom
from napari_harm3.mri.display import display_grid, window_of
from napari_harm3.mri.formats import VOLUME_SUFFIXES
from napari_harm3.mri.reading import read_volume
from napari_harm3.mri.volume import Volume
from napari_harm3.plugin.layers import AXES, UNITS, origin
from napari_harm3.plugin.session import Session
from napari_harm3.wsi.pyramid import pyramid
from napari_harm3.wsi.slide import open_slide

Layers = list[tuple[Any, ...]]
Reader = Callable[[Any], Layers]
NO_LAYERS: Layers = [(None,)]
"""How a reader tells napari that it opened the file otherwise."""

MOST_LABELS = 32
MOST_LOOKED_AT = 100
"""Files and folders that are looked at before it is said to hold no DICOM."""

DICOM_SUFFIXES = (".dcm", ".ima")


def volume_reader(path: str | Sequence[str]) -> Reader | None:
    """Return the reader of NIfTI, NRRD, MetaImage and DICOM; None for a DICOM slide."""
    if isinstance(path, str) and _is_slide(path, DICOM_SUFFIXES):
        return None
    return _reader(path, volume_layers)


def folder_reader(path: str | Sequence[str]) -> Reader | None:
    """Return the reader of a folder of one DICOM series; None if it holds no DICOM.

    Only the first files are looked at, so that any other folder is refused at once.
    """
    if not isinstance(path, str) or not _holds_dicom(Path(path)):
        return None
    return _reader(path, volume_layers)


def slide_reader(path: str | Sequence[str]) -> Reader | None:
    """Return the reader of slides; None for a TIFF or DICOM file that is not one.

    Any other file that cannot be opened is told when it is read.
    """
    doubtful = (".tif", ".tiff", *DICOM_SUFFIXES)
    if isinstance(path, str) and path.lower().endswith(doubtful):
        # A plain TIFF is napari's, and a DICOM volume has a reader of its own.
        return _reader(path, _slide) if _is_slide(path, doubtful) else None
    return _reader(path, _slide)


def cohort_reader(path: str | Sequence[str]) -> Reader | None:
    """Return the reader of a cohort table; None for any other CSV."""
    if not isinstance(path, str):
        return None
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as stream:
            header = next(csv.reader(stream), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return None
    names = [name.strip() for name in header]
    return _reader(path, _cohort) if "case_id" in names else None


def _reader(path: str | Sequence[str], read: Callable[[Path], Layers]) -> Reader | None:
    if not isinstance(path, str):
        return None

    def layers(given: Any) -> Layers:
        try:
            return read(Path(given))
        except (Harm3Error, OSError) as error:
            show_error(sentence(error, Path(given).name))
            return NO_LAYERS

    return layers


def _is_slide(path: str, suffixes: tuple[str, ...]) -> bool:
    """Return whether a file of a doubtful kind opens as a slide."""
    if not path.lower().endswith(suffixes):
        return False
    try:
        open_slide(Path(path)).close()
    except Harm3Error:
        return False
    return True


def _holds_dicom(folder: Path) -> bool:
    """Return whether one of the first files in a folder, or below, is DICOM's."""
    seen = 0
    for root, _, names in os.walk(folder):
        seen += 1
        for name in sorted(names):
            seen += 1
            if seen > MOST_LOOKED_AT:
                return False
            if is_dicom(Path(root) / name):
                return True
    return False


def read_layer_file(path: Path) -> Volume:
    """Return a volume, or a DICOM segmentation on its own grid."""
    if path.is_file() and is_dicom(path):
        from napari_harm3.mri.dicom_headers import SEGMENTATIONS, read_dataset
        from napari_harm3.mri.segmentation import read_segmentation

        if str(read_dataset(path).get("SOPClassUID", "")) in SEGMENTATIONS:
            return read_segmentation(path)
    return read_volume(path)


def volume_layers(path: Path) -> Layers:
    """Return a volume as an image, or as labels if it holds but a few whole numbers."""
    volume = read_layer_file(path)
    grid = display_grid(volume)
    if grid.oblique_degrees:
        show_info(
            f"{path.name} lies {grid.oblique_degrees:.1f} degrees oblique: it is drawn "
            "resampled along the patient's axes; what you save goes back to its own."
        )
    values = np.unique(volume.array)
    whole = bool((values == np.round(values)).all()) and values.min() >= 0
    mask = whole and len(values) <= MOST_LABELS and values.max() < 256
    about: dict[str, Any] = {
        "name": _title(path),
        "scale": grid.scale,
        "translate": grid.translate,
        "units": UNITS,
        "axis_labels": AXES,
    }
    kind: Literal["image", "labels"] = "labels" if mask else "image"
    about["metadata"] = origin(grid, path, kind=kind, own=path)
    if mask:
        labels = grid.show(volume.array.astype(np.uint8), order=0)
        return [(labels, about, kind)]
    about["contrast_limits"] = window_of(volume.array)
    return [(grid.show(volume.array), about | {"colormap": "gray"}, kind)]


def _title(path: Path) -> str:
    lower, known = path.name.lower(), (*VOLUME_SUFFIXES, *DICOM_SUFFIXES)
    suffix = next((one for one in known if lower.endswith(one)), "")
    return path.name[: len(path.name) - len(suffix)] or path.name


def _slide(path: Path) -> Layers:
    slide = open_slide(path)
    mpp_x, mpp_y = slide.mpp or (1.0, 1.0)
    levels = pyramid(slide)
    about = {
        "name": path.stem,
        "rgb": True,
        "multiscale": len(levels) > 1,
        "scale": (mpp_y, mpp_x),
        "units": ("um", "um") if slide.mpp else ("pixel", "pixel"),
        "contrast_limits": (0, 255),
    }
    return [(levels if len(levels) > 1 else levels[0][:, :], about, "image")]


def _cohort(path: Path) -> Layers:
    viewer = current_viewer()
    if viewer is not None:
        viewer.window.add_plugin_dock_widget("napari-harm3", "HARM3 Cases")
        Session.of(viewer).open_cohort(path)
    return NO_LAYERS
