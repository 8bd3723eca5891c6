"""How a case hangs: T1 above T2, before beside after, slide in a dock of its own."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    NO_VOXELS,
    SHIFT,
    UNITS,
    DrawnMaps,
    DrawnVolume,
    Place,
)
from napari_harm3.plugin.places import Places

STRIDE = 3
"""Layers of one grid cell: image, heat map, annotation."""

CAPTION_POINTS = 6, 10
"""Least and greatest size of a caption."""

LETTER = 1.15
"""Width of a caption's letter in pixels, for each point of its size."""

ANNOTATION_COLOURS = {0: "transparent", 1: "#36d7b7", 2: "#f7b801", None: "#e05cff"}


Camera = tuple[tuple[float, ...], float]
"""Centre and zoom."""


@dataclass(kw_only=True)
class _Hung:
    """The layers of a volume, and what of them belongs on screen."""

    image: Image
    heat: Image
    annotation: Labels
    volume: DrawnVolume
    """As scanned."""

    grid: DisplayGrid | None
    """Where it is drawn now; None of a volume that is missing."""

    kept: int
    """Fingerprint of the annotation as it was read, or last kept."""

    scanned: Shaped[np.ndarray, "Z Y X"] | None = None
    """The annotation that is painted on, while a resampled one is drawn."""

    shift_mm: float = 0.0
    """How far along Z it is drawn from where it lies."""

    heated: bool = False
    """Whether the heat layer holds a map that is to be seen, not one of before."""

    misplaced: bool = False
    """Whether the annotation was drawn by hand on the volume as it lay elsewhere."""

    @property
    def annotated(self) -> bool:
        """Whether the annotation says anything that is in its right place."""
        return not self.misplaced and bool(np.any(self.annotation.data))

    @property
    def labels(self) -> Shaped[np.ndarray, "Z Y X"]:
        """The annotation that is painted on."""
        drawn = self.annotation.data if self.scanned is None else self.scanned
        return np.asarray(drawn)

    @property
    def layers(self) -> tuple[Image, Image, Labels]:
        """The layers of its cell, from below."""
        return self.image, self.heat, self.annotation


class Hanging:
    """The twelve layers of a viewer: three for each of the four volumes."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._places = Places(viewer, stride=STRIDE)
        self._hung: dict[str, _Hung] = {}
        self._heats_visible = self._annotations_visible = True
        self._fitted: Camera | None = None
        self.peak = 1.0
        viewer.events.reset_view.connect(self._reset)
        viewer.canvas.events.size.connect(self._resized)

    def show(self, volumes: Sequence[DrawnVolume]) -> None:
        """Hang a case in place of the one before."""
        viewer = self._viewer
        # Else napari lays its scene anew and collects garbage for each layer.
        with viewer.layers.batched_update():
            self._remove()
            frame = next((v.grid for v in volumes if v.grid is not None), None)
            for volume in volumes:
                self._hang(volume, volume.grid or frame)
            viewer.canvas.grid.enabled = True
            self._places.hold(
                [layer for hung in self._hung.values() for layer in hung.layers]
            )
        viewer.dims.ndisplay = 2
        viewer.canvas.overlays.scale_bar.visible = frame is not None
        viewer.canvas.overlays.scale_bar.gridded = False
        viewer.scene.overlays.axes.visible = False
        viewer.canvas.overlays.axes.visible = frame is not None
        viewer.reset_view()
        self._fit_captions()
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
            grid, hung = volume.grid, self._hung[volume.role]
            image, annotation = hung.image, hung.annotation
            if grid is None or volume.image is None or volume.image is image.data:
                continue  # every change is drawn: what stays is left alone
            hung.grid = grid
            _put(image, volume.image, grid)
            image.metadata = volume.origin("image")
            labels = hung.labels
            hung.scanned = labels if volume.aligned else None
            if volume.annotation is not None:
                _put(annotation, volume.annotation if volume.aligned else labels, grid)
                annotation.metadata = volume.origin("labels")
            else:  # what was drawn by hand stays on the volume as scanned
                hung.misplaced = volume.aligned
                self._see_annotation(hung)
            # Edits belong on the grid of the file, which an aligned view is not.
            annotation.editable = not volume.aligned
        self._viewer.dims.point = point

    @property
    def empty(self) -> bool:
        """Whether no case hangs."""
        return not self._hung

    @property
    def painted(self) -> Mapping[str, tuple[Shaped[np.ndarray, "Z Y X"], Any]]:
        """Annotations that were changed by hand, and what a writer is told of them."""
        changed = {}
        for role, hung in self._hung.items():
            if hung.grid is not None and _fingerprint(hung.labels) != hung.kept:
                changed[role] = hung.labels, hung.volume.place("labels")
        return changed

    def keep_painted(self) -> None:
        """Take the annotations as they are now for unchanged."""
        for hung in self._hung.values():
            hung.kept = _fingerprint(hung.labels)

    @property
    def grids(self) -> dict[str, DisplayGrid]:
        """Where the volumes are drawn now, by role."""
        return {
            role: hung.grid
            for role, hung in self._hung.items()
            if hung.grid is not None
        }

    def role_at(self, cell: tuple[int, int] | None) -> str | None:
        """Return the role that hangs in a cell of the canvas grid."""
        layers, grid = self._viewer.layers, self._viewer.canvas.grid
        if cell is None or not grid.enabled:  # all of them lie on each other
            return None
        there = [layers[number] for number in grid.contents_at(cell, layers)]
        return next((r for r, hung in self._hung.items() if hung.image in there), None)

    def scroll(self, role: str, slices: int) -> None:
        """Move a volume and all that lies on it against the others."""
        hung = self._hung.get(role)
        if hung is None or hung.grid is None:
            return
        by = slices * hung.grid.scale[0]
        hung.shift_mm += by
        for layer in hung.layers:
            z, y, x = layer.translate
            layer.translate = (z + by, y, x)
            layer.metadata[SHIFT] = hung.shift_mm  # saved, it lies where it belongs
        moved = f", moved {hung.shift_mm:+.0f} mm" if abs(hung.shift_mm) > 1e-6 else ""
        hung.image.name = f"{TITLES[role]}{moved}"
        self._fit_captions()

    def relink(self) -> None:
        """Put every volume back to where it lies."""
        for role, hung in self._hung.items():
            if hung.grid is not None and hung.shift_mm:
                self.scroll(role, -round(hung.shift_mm / hung.grid.scale[0]))
                hung.shift_mm = 0.0  # without what rounding has left

    def on_screen(self, role: str, place: Place) -> Place:
        """Return where a place of a volume is drawn, if that was scrolled alone."""
        z, y, x = place
        return z + self._shift_mm(role), y, x

    def off_screen(self, role: str, place: Place) -> Place:
        """Return the place of a volume that is drawn somewhere; see `on_screen`."""
        z, y, x = place
        return z - self._shift_mm(role), y, x

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
        for role, hung in self._hung.items():
            hung.heated = role in maps and bool(maps[role][1].any())
            if role in maps:
                grid, heat = maps[role]
                _put(hung.heat, np.asarray(heat, np.float32), grid, hung.shift_mm)
                hung.heat.contrast_limits_range = (0.0, self.peak)
            self._see_heat(hung)

    def set_heat(self, *, threshold: float, opacity: float) -> None:
        """Show only heat above a share of the common peak."""
        for hung in self._hung.values():
            limits = (min(threshold, 0.99) * self.peak, self.peak)
            hung.heat.contrast_limits = limits
            hung.heat.opacity = opacity

    def toggle_heat(self) -> None:
        """Hide the heat maps, or show those that belong on screen."""
        self._see_heats(visible=not self._heats_visible)

    def uncover_heat(self) -> None:
        """Show the heat maps that belong on screen, now and from now on."""
        self._see_heats(visible=True)

    def toggle_annotations(self) -> None:
        """Hide the annotations, or show those that belong on screen."""
        self._annotations_visible = not self._annotations_visible
        for hung in self._hung.values():
            self._see_annotation(hung)

    def _reset(self, event: Any) -> None:
        self._fitted = event.center, event.zoom

    def _resized(self) -> None:
        """Fit the case again, unless its reader has moved it since it was fitted."""
        camera = self._viewer.scene.camera
        if self._hung and (camera.center, camera.zoom) == self._fitted:
            self._viewer.fit_to_view()
        self._fit_captions()

    def _fit_captions(self) -> None:
        """Let every caption have room in its cell."""
        _, width = self._viewer.canvas.viewbox_size(self._viewer.layers)
        for hung in self._hung.values():
            points = width / (LETTER * len(hung.image.name))
            hung.image.name_overlay.font_size = float(np.clip(points, *CAPTION_POINTS))

    def _see_heats(self, *, visible: bool) -> None:
        self._heats_visible = visible
        for hung in self._hung.values():
            self._see_heat(hung)

    def _see_heat(self, hung: _Hung) -> None:
        _see(hung.heat, visible=self._heats_visible and hung.heated)

    def _see_annotation(self, hung: _Hung) -> None:
        _see(hung.annotation, visible=self._annotations_visible and hung.annotated)

    def _shift_mm(self, role: str) -> float:
        return self._hung[role].shift_mm if role in self._hung else 0.0

    def _hang(self, volume: DrawnVolume, grid: DisplayGrid | None) -> None:
        """Add the layers of a volume, or what holds its cell, after those before it.

        A volume that is missing lies on the grid of another: of its own it would have
        voxels of 1 mm, and so would the slice slider have its steps.
        """
        placed: dict[str, Any] = {"units": UNITS, "axis_labels": AXES}
        if grid is not None:
            placed |= {"scale": grid.scale, "translate": grid.translate}
        here = volume.image is not None
        image = Image(
            NO_VOXELS if volume.image is None else volume.image,
            name=volume.caption,
            colormap="gray",
            contrast_limits=volume.window,
            interpolation2d="linear",
            metadata=volume.origin("image"),
            **placed,
        )
        image.name_overlay.visible = True
        heat = Image(
            NO_VOXELS,
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
        some = labels is not None and bool(labels.any())
        annotation = Labels(
            np.zeros(shape, np.uint8) if labels is None else labels,
            name=f"{volume.title}, annotation",
            colormap=ANNOTATION_COLOURS,
            visible=self._annotations_visible and some,
            metadata=volume.origin("labels"),
            **placed,
        )
        annotation.contour = 2
        annotation.editable = here
        hung = _Hung(
            image=image,
            heat=heat,
            annotation=annotation,
            volume=volume,
            grid=volume.grid if here else None,
            kept=_fingerprint(np.asarray(annotation.data)),
        )
        for number, layer in enumerate(hung.layers, STRIDE * len(self._hung)):
            self._viewer.layers.insert(number, layer)
        self._hung[volume.role] = hung

    def _remove(self) -> None:
        self._places.hold([])
        for hung in self._hung.values():
            for layer in hung.layers:
                if layer in self._viewer.layers:
                    self._viewer.layers.remove(layer)
        self._hung.clear()


def _fingerprint(labels: Shaped[np.ndarray, "Z Y X"]) -> int:
    """Return a number that another annotation hardly ever has."""
    return zlib.crc32(np.ascontiguousarray(labels).data)


def _see(layer: Image | Labels, *, visible: bool) -> None:
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
