"""Files that napari opens through us: volumes, slides, and a cohort table."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from napari import current_viewer
from napari.utils.notifications import show_error

from napari_harm3.errors import Harm3Error
from napari_harm3.mri.display import display_grid
from napari_harm3.mri.volume import read_volume
from napari_harm3.plugin.layers import AXES, UNITS
from napari_harm3.plugin.session import Session
from napari_harm3.wsi.pyramid import pyramid
from napari_harm3.wsi.slide import open_slide

Layers = list[tuple[Any, ...]]
Reader = Callable[[Any], Layers]
NOTHING: Layers = [(None,)]
"""How a reader tells napari that it opened the file otherwise."""

MOST_LABELS = 32


def volume_reader(path: str | Sequence[str]) -> Reader | None:
    """Return the reader of ``.nii`` and ``.nii.gz``."""
    return _reader(path, _volume)


def slide_reader(path: str | Sequence[str]) -> Reader | None:
    """Return the reader of whole-slide images; None for what OpenSlide cannot open."""
    if isinstance(path, str) and path.lower().endswith((".tif", ".tiff")):
        try:
            open_slide(Path(path)).close()
        except Harm3Error:
            return None  # a plain TIFF is napari's
    return _reader(path, _slide)


def cohort_reader(path: str | Sequence[str]) -> Reader | None:
    """Return the reader of a cohort table; None for any other CSV."""
    if not isinstance(path, str):
        return None
    try:
        with Path(path).open(encoding="utf-8-sig") as stream:
            header = stream.readline()
    except (OSError, UnicodeDecodeError):
        return None
    names = [name.strip() for name in header.split(",")]
    return _reader(path, _cohort) if "case_id" in names else None


def _reader(path: str | Sequence[str], read: Callable[[Path], Layers]) -> Reader | None:
    if not isinstance(path, str):
        return None

    def layers(given: Any) -> Layers:
        try:
            return read(Path(given))
        except (Harm3Error, OSError) as error:
            show_error(str(error))
            return NOTHING

    return layers


def _volume(path: Path) -> Layers:
    volume = read_volume(path)
    grid = display_grid(volume)
    values = np.unique(volume.array)
    whole = bool((values == np.round(values)).all()) and values.min() >= 0
    mask = whole and len(values) <= MOST_LABELS and values.max() < 256
    about = {
        "name": path.name.removesuffix(".gz").removesuffix(".nii"),
        "scale": grid.scale,
        "translate": grid.translate,
        "units": UNITS,
        "axis_labels": AXES,
        "metadata": {
            "oblique_degrees": grid.oblique_degrees,
            "affine_ras": volume.affine.tolist(),
        },
    }
    if mask:
        labels = grid.show(volume.array.astype(np.uint8), order=0)
        return [(labels, about, "labels")]
    low, high = np.percentile(volume.array[::2, ::2, ::2], (1, 99.5))
    about["contrast_limits"] = (float(low), float(max(high, low + 1e-6)))
    return [(grid.show(volume.array), about | {"colormap": "gray"}, "image")]


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
    return NOTHING
