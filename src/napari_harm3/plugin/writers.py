"""Layers saved as files: on the grid of the volume that they belong to.

What is drawn of an oblique volume was resampled, so a layer goes back voxel by voxel:
where it was not changed, the file's own value is kept.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from napari import current_viewer
from napari.utils.transforms import Affine
from scipy import ndimage

from napari_harm3.errors import Harm3Error, VolumeError
from napari_harm3.mri.display import ZYX_OF_RAS, DisplayGrid, display_grid
from napari_harm3.mri.labels import labels_on_grid
from napari_harm3.mri.reading import kind_of
from napari_harm3.mri.volume import Geometry, write_volume
from napari_harm3.plugin.layers import SHIFT
from napari_harm3.plugin.readers import read_layer_file

Attributes = Mapping[str, Any]
CLOSE_MM = 1e-4


def write_labels(path: str, data: Any, attributes: Attributes) -> list[str]:
    """Save a labels layer as NIfTI, or as DICOM SEG if its volume is a DICOM series.

    Raises
    ------
    VolumeError
        If the layer is no volume, is turned or sheared, or has no DICOM series.
    """
    drawn = np.asarray(data)
    top, bottom = int(drawn.max(initial=0)), int(drawn.min(initial=0))
    if bottom < 0 or top > 255:
        raise VolumeError("An annotation has labels from 0 to 255: change the others.")
    layer = _Layer(drawn.astype(np.uint8), attributes, kind="labels")
    if _is_dicom(path):
        from napari_harm3.mri.segmentation import write_segmentation

        array, source = layer.for_series()
        write_segmentation(Path(path), array.astype(np.uint8), source)
    else:
        array, affine = layer.native()
        write_volume(Path(path), array.astype(np.uint8), affine)
    return [path]


def write_image(path: str, data: Any, attributes: Attributes) -> list[str]:
    """Save an image layer as NIfTI, or as DICOM Parametric Map of its series.

    Raises
    ------
    VolumeError
        As `write_labels`.
    """
    if attributes.get("rgb") or attributes.get("multiscale"):
        raise VolumeError(
            "A colour picture or a slide is no volume: save it otherwise."
        )
    layer = _Layer(np.asarray(data, dtype=np.float32), attributes, kind="image")
    if _is_dicom(path):
        from napari_harm3.mri.segmentation import write_parametric_map

        array, source = layer.for_series()
        write_parametric_map(Path(path), array, source)
    else:
        array, affine = layer.native()
        write_volume(Path(path), array, affine)
    return [path]


class _Layer:
    """What a layer holds, and the way back to the grid that it was drawn from."""

    def __init__(
        self, drawn: Shaped[np.ndarray, "Z Y X"], attributes: Attributes, *, kind: str
    ) -> None:
        if drawn.ndim != 3:
            raise VolumeError(
                f"The layer '{attributes.get('name', '')}' has {drawn.ndim} dimensions "
                "and not three: save it otherwise."
            )
        self.drawn, self.kind = drawn, kind
        self.name = str(attributes.get("name", "the layer"))
        self.world = _world(attributes)
        self.origin = self._origin(attributes)
        # A volume that was scrolled alone is drawn elsewhere than where it lies.
        own = attributes.get("metadata") or {}
        self.world[0, 3] -= (self.origin or own).get(SHIFT, 0.0)

    def native(self) -> tuple[Shaped[np.ndarray, "X Y Z"], Float[np.ndarray, "4 4"]]:
        """Return the voxels on the grid of their volume, or on the layer's own."""
        if self.origin is None:
            return self._own_grid(self.drawn)
        grid = _grid(self.origin)
        return self._back(grid), grid.native.affine

    def for_series(self) -> tuple[Shaped[np.ndarray, "X Y Z"], Path]:
        """Return the voxels on the grid of a DICOM series, and the series."""
        origin = self.origin
        source = None if origin is None else Path(origin["source_path"])
        if origin is None or source is None or not _is_series(source):
            raise VolumeError(
                "DICOM is written for a layer that was drawn on a DICOM series: save "
                "this one as .nii.gz."
            )
        return self._back(_grid(origin)), source

    def _back(self, grid: DisplayGrid) -> Shaped[np.ndarray, "X Y Z"]:
        native = grid.native.shape
        if not grid.oblique_degrees:
            # Where every voxel went tells where it comes from.
            went = grid.show(
                np.arange(np.prod(native), dtype=np.uint32).reshape(native), order=0
            )
            back = np.empty(int(np.prod(native)), self.drawn.dtype)
            back[went.ravel()] = self.drawn.ravel()
            return back.reshape(native)
        sampled = self._sampled(self.drawn, grid)
        file = self._file(grid)
        if file is None:
            return sampled
        shown = grid.show(file, order=0 if self.kind == "labels" else 1)
        edited = (self.drawn != shown).astype(self.drawn.dtype)
        return np.where(self._sampled(edited, grid) > 0, sampled, file)

    def _sampled(
        self, drawn: Shaped[np.ndarray, "Z Y X"], grid: DisplayGrid
    ) -> Shaped[np.ndarray, "X Y Z"]:
        """Return a drawn array on the native grid; no part of labels is lost."""
        swapped, affine = self._own_grid(drawn)
        if self.kind == "labels":
            x, y, z = swapped.shape
            own = Geometry(shape=(x, y, z), affine=affine)
            return labels_on_grid(swapped, own, grid.native, self.name)
        to_drawn = np.linalg.inv(affine) @ grid.native.affine
        return np.asarray(
            ndimage.affine_transform(
                swapped,
                to_drawn[:3, :3],
                to_drawn[:3, 3],
                output_shape=grid.native.shape,
                order=1,
                mode="nearest",
            )
        )

    def _own_grid(
        self, drawn: Shaped[np.ndarray, "Z Y X"]
    ) -> tuple[Shaped[np.ndarray, "X Y Z"], Float[np.ndarray, "4 4"]]:
        """Return a drawn array with x first, and the affine from there to RAS mm."""
        swapped = self.world[:, [2, 1, 0, 3]]
        return drawn.transpose(2, 1, 0), np.linalg.inv(ZYX_OF_RAS) @ swapped

    def _file(self, grid: DisplayGrid) -> Shaped[np.ndarray, "X Y Z"] | None:
        """Return what the layer's own file holds, if it was drawn from that."""
        origin = self.origin or {}
        own = origin.get("own_path")
        if not self.of_itself or own is None or origin.get("kind") != self.kind:
            return None
        try:
            file = read_layer_file(Path(own))
        except (Harm3Error, OSError):
            return None  # it was moved since
        if not file.same_as(grid.native):
            return None
        return file.array.astype(self.drawn.dtype)

    def _origin(self, attributes: Attributes) -> Mapping[str, Any] | None:
        """Return where the layer comes from: as it says, or the volume it lies on."""
        self.of_itself = self._fits(attributes.get("metadata") or {})
        if self.of_itself:
            return attributes["metadata"]
        viewer = current_viewer()
        for layer in () if viewer is None else viewer.layers:
            if self._fits(layer.metadata):
                return dict(layer.metadata)
        return None

    def _fits(self, metadata: Mapping[str, Any]) -> bool:
        """Return whether the layer still lies where that origin was drawn."""
        if not {"affine_ras", "native_shape", "source_path"} <= metadata.keys():
            return False
        grid = _grid(metadata)
        drawn = grid.affine
        drawn[0, 3] += metadata.get(SHIFT, 0.0)
        return grid.shape == self.drawn.shape and np.allclose(
            drawn, self.world, atol=CLOSE_MM
        )


def _grid(origin: Mapping[str, Any]) -> DisplayGrid:
    x, y, z = origin["native_shape"]
    affine = np.asarray(origin["affine_ras"], dtype=float)
    return display_grid(Geometry(shape=(x, y, z), affine=affine))


def _world(attributes: Attributes) -> Float[np.ndarray, "4 4"]:
    """Return the layer's transform from Z, Y, X indices to LPS mm."""
    parts = {
        name: attributes[name]
        for name in ("scale", "translate", "rotate", "shear")
        if attributes.get(name) is not None
    }
    own = Affine(**parts, ndim=3).affine_matrix
    extra = attributes.get("affine")
    world = own if extra is None else np.asarray(extra) @ own
    lengths = np.linalg.norm(world[:3, :3], axis=0)
    directions = world[:3, :3] / lengths
    if not np.allclose(directions.T @ directions, np.eye(3), atol=1e-3):
        raise VolumeError("A sheared layer is no grid of voxels: undo its transform.")
    return np.asarray(world, dtype=float)


def _is_series(path: Path) -> bool:
    try:
        return kind_of(path) == "DICOM"
    except VolumeError:
        return False


def _is_dicom(path: str) -> bool:
    return path.lower().endswith(".dcm")
