"""How a case hangs: T1 above T2, before beside after, slide in a dock of its own."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Shaped
from napari.layers import Image, Labels
from napari.viewer import Viewer

from napari_harm3.cohort.case import TITLES
from napari_harm3.mri.display import DisplayGrid
from napari_harm3.plugin.layers import (
    AXES,
    HEAT,
    NOTHING,
    SHIFT,
    UNITS,
    DrawnMaps,
    DrawnVolume,
    Place,
)

STRIDE = 3
"""Layers of one grid cell: image, heat map, annotation."""

ANNOTATION_COLOURS = {0: "transparent", 1: "#36d7b7", 2: "#f7b801", None: "#e05cff"}


class Hanging:
    """The twelve layers of a viewer: three for each of the four volumes."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._images: dict[str, Image] = {}
        self._heats: dict[str, Image] = {}
        self._annotations: dict[str, Labels] = {}
        self._heats_visible = True
        self._grids: dict[str, DisplayGrid] = {}
        self._shifts: dict[str, float] = {}
        self.peak = 1.0

    def show(self, volumes: Sequence[DrawnVolume]) -> None:
        """Hang a case in place of the one before."""
        viewer = self._viewer
        # Else napari lays its scene anew and collects garbage for each layer.
        with viewer.layers.batched_update():
            self._remove()
            for volume in volumes:
                self._hang(volume)
            viewer.canvas.grid.enabled = True
            viewer.canvas.grid.shape = (2, 2)
            # Negative: the first group of layers goes to the upper left.
            viewer.canvas.grid.stride = STRIDE
        viewer.dims.ndisplay = 2
        viewer.canvas.overlays.scale_bar.visible = True
        viewer.canvas.overlays.scale_bar.gridded = False
        viewer.scene.overlays.axes.visible = False
        viewer.canvas.overlays.axes.visible = True
        viewer.reset_view()
        focus = next((v.focus for v in volumes if v.focus is not None), None)
        if focus is not None:
            viewer.dims.set_point(0, focus[0])

    def clear(self) -> None:
        """Hang nothing."""
        with self._viewer.layers.batched_update():
            self._remove()

    def move(self, volumes: Sequence[DrawnVolume]) -> None:
        """Draw the case that hangs elsewhere, in the layers that are there.

        Heat maps are not moved by this: `show_heat` lays them anew.
        """
        self.relink()
        point = self._viewer.dims.point
        for volume in volumes:
            grid, role = volume.grid, volume.role
            image, annotation = self._images[role], self._annotations[role]
            if grid is None or volume.image is None or volume.image is image.data:
                continue  # every change is drawn: what stays is left alone
            self._grids[role] = grid
            _put(image, volume.image, grid)
            image.metadata = volume.origin("image")
            if volume.annotation is not None:
                _put(annotation, volume.annotation, grid)
                annotation.metadata = volume.origin("labels")
            else:  # what was drawn by hand stays on the volume as scanned
                some = bool(np.any(annotation.data))
                annotation.visible = some and not volume.aligned
            # Edits belong on the grid of the file, which an aligned view is not.
            annotation.editable = not volume.aligned
        self._viewer.dims.point = point

    @property
    def empty(self) -> bool:
        """Whether no case hangs."""
        return not self._images

    @property
    def grids(self) -> dict[str, DisplayGrid]:
        """Where the volumes are drawn now, by role."""
        return dict(self._grids)

    def role_at(self, cell: tuple[int, int] | None) -> str | None:
        """Return the role that hangs in a cell of the canvas grid."""
        layers, grid = self._viewer.layers, self._viewer.canvas.grid
        if cell is None or not grid.enabled:  # all of them lie on each other
            return None
        there = [layers[number] for number in grid.contents_at(cell, layers)]
        return next((r for r, image in self._images.items() if image in there), None)

    def scroll(self, role: str, slices: int) -> None:
        """Move a volume and all that lies on it against the others."""
        if role not in self._grids:
            return
        by = slices * self._grids[role].scale[0]
        shift = self._shifts[role] = self._shifts.get(role, 0.0) + by
        image = self._images[role]
        for layer in (image, self._heats[role], self._annotations[role]):
            z, y, x = layer.translate
            layer.translate = (z + by, y, x)
            layer.metadata[SHIFT] = shift  # what is saved lies where it belongs
        moved = f", moved {shift:+.0f} mm" if abs(shift) > 1e-6 else ""
        image.name = f"{TITLES[role]}{moved}"

    def relink(self) -> None:
        """Put every volume back to where it lies."""
        for role, shift in list(self._shifts.items()):
            self.scroll(role, -round(shift / self._grids[role].scale[0]))
        self._shifts.clear()

    def on_screen(self, role: str, place: Place) -> Place:
        """Return where a place of a volume is drawn, if that was scrolled alone."""
        z, y, x = place
        return z + self._shifts.get(role, 0.0), y, x

    def off_screen(self, role: str, place: Place) -> Place:
        """Return the place of a volume that is drawn somewhere; see `on_screen`."""
        z, y, x = place
        return z - self._shifts.get(role, 0.0), y, x

    def show_heat(self, maps: DrawnMaps, *, least_peak: float = 1e-6) -> None:
        """Lay heat maps over the volumes, on one scale.

        Parameters
        ----------
        maps
            By role; the heat of other roles is hidden.
        least_peak
            Where the scale ends if no heat reaches that far.
        """
        peaks = [float(heat.max()) for _, heat in maps.values()]
        self.peak = max([least_peak, *peaks])
        for role, layer in self._heats.items():
            if role in maps:
                grid, heat = maps[role]
                shift = self._shifts.get(role, 0.0)
                _put(layer, np.asarray(heat, dtype=np.float32), grid, shift)
                layer.contrast_limits_range = (0.0, self.peak)
                _see(layer, visible=self._heats_visible and bool(heat.any()))
            else:
                _see(layer, visible=False)

    def set_heat(self, *, threshold: float, opacity: float) -> None:
        """Show only heat above a share of the common peak."""
        for layer in self._heats.values():
            layer.contrast_limits = (min(threshold, 0.99) * self.peak, self.peak)
            layer.opacity = opacity

    def toggle_heat(self) -> None:
        """Hide or show the heat maps."""
        self._heats_visible = not self._heats_visible
        for layer in self._heats.values():
            layer.visible = self._heats_visible and bool(np.any(layer.data))

    def toggle_annotations(self) -> None:
        """Hide or show the annotations."""
        for layer in self._annotations.values():
            layer.visible = not layer.visible and bool(np.any(layer.data))

    def _hang(self, volume: DrawnVolume) -> None:
        placed: dict[str, Any] = {"units": UNITS, "axis_labels": AXES}
        if volume.grid is not None:
            placed |= {"scale": volume.grid.scale, "translate": volume.grid.translate}
        here, role = volume.image is not None, volume.role
        image = self._viewer.add_image(
            volume.image if volume.image is not None else NOTHING,
            name=volume.title if here else f"{volume.title} ({volume.message})",
            colormap="gray",
            contrast_limits=volume.window,
            interpolation2d="linear",
            visible=here,
            metadata=volume.origin("image"),
            **placed,
        )
        image.name_overlay.visible = True
        heat = self._viewer.add_image(
            NOTHING,
            name=f"{volume.title}, heat",
            colormap=HEAT,
            contrast_limits=(0.0, 1.0),
            blending="translucent_no_depth",
            interpolation2d="linear",
            visible=False,
            **placed,
        )
        shape = (1, 1, 1) if volume.image is None else volume.image.shape
        labels = volume.annotation
        annotation = self._viewer.add_labels(
            np.zeros(shape, np.uint8) if labels is None else labels,
            name=f"{volume.title}, annotation",
            colormap=ANNOTATION_COLOURS,
            visible=labels is not None and bool(labels.any()),
            metadata=volume.origin("labels"),
            **placed,
        )
        annotation.contour = 2
        if volume.grid is not None and here:
            self._grids[role] = volume.grid
        self._images[role], self._heats[role] = image, heat
        self._annotations[role] = annotation

    def _remove(self) -> None:
        ours = {*self._images.values(), *self._heats.values()}
        for layer in [*ours, *self._annotations.values()]:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        self._grids.clear()
        self._shifts.clear()
        self._images.clear()
        self._heats.clear()
        self._annotations.clear()


def _see(layer: Image, *, visible: bool) -> None:
    """Hide or show a layer: napari lays its grid anew even where nothing changes."""
    if layer.visible != visible:
        layer.visible = visible


def _put(
    layer: Image | Labels,
    array: Shaped[np.ndarray, "Z Y X"],
    grid: DisplayGrid,
    shift_mm: float = 0.0,
) -> None:
    """Give a layer another array and place; each thing set is drawn at once."""
    z, y, x = grid.translate
    if layer.data is array:  # with other values in it: nothing else is laid anew
        layer.refresh(extent=False)
    else:
        layer.data = array
    if not np.array_equal(layer.scale, grid.scale):  # a rigid move keeps it mostly
        layer.scale = grid.scale
    if not np.array_equal(layer.translate, (z + shift_mm, y, x)):
        layer.translate = (z + shift_mm, y, x)
