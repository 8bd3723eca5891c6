"""How a case hangs: T1 above T2, before beside after, slide in a dock of its own."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from napari.layers import Image, Labels
from napari.viewer import Viewer

from napari_harm3.mri.display import DisplayGrid
from napari_harm3.plugin.layers import AXES, HEAT, NOTHING, UNITS, DrawnVolume

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
        self.peak = 0.0

    def show(self, volumes: Sequence[DrawnVolume]) -> None:
        """Hang a case in place of the one before."""
        self._remove()
        for volume in volumes:
            self._hang(volume)
        viewer = self._viewer
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

    def move(self, volumes: Sequence[DrawnVolume]) -> None:
        """Draw the case that hangs elsewhere, in the layers that are there.

        Heat maps are not moved by this: `show_heat` lays them anew.
        """
        point = self._viewer.dims.point
        for volume in volumes:
            grid, role = volume.grid, volume.role
            image, annotation = self._images[role], self._annotations[role]
            if grid is None or volume.image is None or volume.image is image.data:
                continue  # every change is drawn: what stays is left alone
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

    def show_heat(
        self, maps: Mapping[str, tuple[DisplayGrid, Float[np.ndarray, "Z Y X"]]]
    ) -> None:
        """Lay heat maps over the volumes, on one scale."""
        self.peak = max((float(heat.max()) for _, heat in maps.values()), default=0.0)
        for role, layer in self._heats.items():
            if role in maps:
                grid, heat = maps[role]
                layer.data = np.asarray(heat, dtype=np.float32)
                layer.scale, layer.translate = grid.scale, grid.translate
                layer.contrast_limits_range = (0.0, max(self.peak, 1e-6))
                layer.visible = self._heats_visible and bool(heat.any())
            else:
                layer.visible = False

    def set_heat(self, *, threshold: float, opacity: float) -> None:
        """Show only heat above a share of the common peak."""
        top = max(self.peak, 1e-6)
        for layer in self._heats.values():
            layer.contrast_limits = (min(threshold, 0.99) * top, top)
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
        self._images[role], self._heats[role] = image, heat
        self._annotations[role] = annotation

    def _remove(self) -> None:
        ours = {*self._images.values(), *self._heats.values()}
        for layer in [*ours, *self._annotations.values()]:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        self._images.clear()
        self._heats.clear()
        self._annotations.clear()


def _put(
    layer: Image | Labels, array: Shaped[np.ndarray, "Z Y X"], grid: DisplayGrid
) -> None:
    """Give a layer another array and place; each thing set is drawn at once."""
    layer.data = array
    if not np.array_equal(layer.scale, grid.scale):  # a rigid move keeps it mostly
        layer.scale = grid.scale
    layer.translate = grid.translate
