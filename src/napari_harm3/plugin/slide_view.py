"""The biopsy slide in a napari canvas of its own.

A slide in microns and volumes in millimetres cannot share one canvas.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int64
from napari.components import ViewerModel
from napari.qt import QtViewer
from qtpy.QtCore import Signal  # type: ignore[attr-defined]  # per binding
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_harm3.wsi.pyramid import pyramid
from napari_harm3.wsi.slide import Pair, Slide, open_slide

TISSUE, PATCHES, HOVERED, ATTENTION = "tissue", "patches", "hovered", "attention"
COLOURS = {"accepted": "#3a86ff", "damaged": "#ff3b30", "rejected": "#9aa5b155"}
OUTLINE, HIGHLIGHT = "#18a558", "#ffd60a"
LINE_PIXELS = 1.6
"""Width of the outline on the screen."""


class SlideView(QWidget):
    """One slide with its tissue, its patches and the model's attention."""

    opened = Signal(object)
    """The slide on show, or None."""

    hovered = Signal(int)
    """The patch under the mouse, -1 for none."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.model = ViewerModel(title="HARM3 slide")
        self.slide: Slide | None = None
        self._corners: Float[np.ndarray, "N 2"] = np.zeros((0, 2))
        self._side = 0.0
        self._under_mouse = -1
        self._canvas = QtViewer(self.model)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._canvas)
        self.setMinimumHeight(260)
        self.model.mouse_move_callbacks.append(self._mouse_moved)
        self.model.camera.events.zoom.connect(self._keep_line_width)

    def open(self, path: Path, source_mpp: float | None = None) -> None:
        """Show a slide in place of the one before.

        Raises
        ------
        SlideError
            If it cannot be opened.
        """
        slide = open_slide(path, source_mpp=source_mpp)
        self.clear()
        self.slide = slide
        levels = pyramid(slide)
        self.model.add_image(
            levels if len(levels) > 1 else levels[0][:, :],
            multiscale=len(levels) > 1,
            rgb=True,
            name="slide",
            scale=self._pixel[::-1],
            units=self._units,
            contrast_limits=(0, 255),
        )
        self.model.scale_bar.visible = True
        self.model.reset_view()
        self.opened.emit(slide)

    def clear(self) -> None:
        """Show nothing."""
        self._corners = np.zeros((0, 2))
        self.model.layers.clear()
        if self.slide is not None:
            self.slide.close()
            self.slide = None
            self.opened.emit(None)

    def show_tissue(self, rings: Sequence[Float[np.ndarray, "n 2"]]) -> None:
        """Outline the tissue; holes too.

        Parameters
        ----------
        rings
            Closed, level-0 x and y. Drawn as lines: napari fills a shape even where
            it shows none of it, which takes seconds.
        """
        start = np.concatenate([*rings, np.zeros((0, 2))])[:, ::-1]
        ends = [np.roll(ring, -1, axis=0) for ring in rings]
        end = np.concatenate([*ends, np.zeros((0, 2))])[:, ::-1]
        scale = np.array(self._pixel[::-1])
        lines = np.stack([start * scale, (end - start) * scale], axis=1)
        if TISSUE in self.model.layers:
            self.model.layers[TISSUE].data = lines
        elif self.slide is not None:
            self.model.add_vectors(
                lines,
                name=TISSUE,
                vector_style="line",
                edge_color=OUTLINE,
                units=self._units,
            )
        self._keep_line_width()

    def show_patches(
        self, coords: Int64[np.ndarray, "N 2"], side: Pair, status: Sequence[str]
    ) -> None:
        """Draw the patch grid, coloured by what became of each patch.

        Parameters
        ----------
        coords
            Upper left corners, level-0 x and y.
        side
            Of a patch, level-0 pixels.
        status
            ``accepted``, ``damaged`` or ``rejected``.
        """
        features = {"status": np.array(status, dtype=object)}
        colours = np.array([_rgba(COLOURS[one]) for one in status]).reshape(-1, 4)
        self._squares(PATCHES, coords, side, features)
        if PATCHES in self.model.layers:
            layer = self.model.layers[PATCHES]
            layer.face_color = "transparent"
            layer.border_color = colours
        self._corners, self._side = coords * self._pixel, self._size(side)
        self._hover(-1)

    def show_attention(self, geojson: dict[str, Any]) -> None:
        """Colour the patches by the model's attention."""
        own = [
            feature
            for feature in geojson["features"]
            if self.slide is not None
            and feature["properties"]["slide"] == self.slide.name
        ]
        rings = np.array([f["geometry"]["coordinates"][0] for f in own])
        relative = [f["properties"]["measurements"]["relative"] for f in own]
        if not own:
            if ATTENTION in self.model.layers:
                self.model.layers.remove(ATTENTION)
            return
        corner, far = rings.min(axis=1), rings.max(axis=1)
        side = tuple((far - corner)[0])
        self._squares(ATTENTION, corner, side, {"attention": np.array(relative)})
        layer = self.model.layers[ATTENTION]
        layer.border_width = 0
        layer.face_colormap = "inferno"
        layer.face_contrast_limits = (0.0, 1.0)
        layer.face_color = "attention"
        layer.opacity = 0.45

    def shutdown(self) -> None:
        """Let go of the file and the canvas."""
        self.clear()
        self._canvas.close()

    @property
    def _pixel(self) -> Pair:
        """Size of a level-0 pixel on the canvas, along x and y."""
        mpp = None if self.slide is None else self.slide.mpp
        return mpp or (1.0, 1.0)

    @property
    def _units(self) -> tuple[str, str]:
        known = self.slide is not None and self.slide.mpp is not None
        return ("um", "um") if known else ("pixel", "pixel")

    def _size(self, side: Pair) -> float:
        return side[0] * self._pixel[0]

    def _squares(
        self,
        name: str,
        corners: Float[np.ndarray, "N 2"],
        side: Pair,
        features: dict[str, np.ndarray],
    ) -> None:
        """Show patches as points: as many shapes would take minutes."""
        if name in self.model.layers:
            self.model.layers.remove(name)
        if self.slide is None or not len(corners):
            return
        centres = (corners + np.array(side) / 2) * self._pixel
        layer = self.model.add_points(
            centres[:, ::-1],
            name=name,
            symbol="square",
            size=self._size(side),
            border_width=0.04,
            features=features,
            units=self._units,
        )
        layer.canvas_size_limits = (0, 100_000)
        layer.antialiasing = 0
        layer.editable = False

    def _keep_line_width(self, event: object = None) -> None:
        del event
        if TISSUE in self.model.layers:
            width = LINE_PIXELS / max(self.model.camera.zoom, 1e-9)
            self.model.layers[TISSUE].edge_width = width

    def _mouse_moved(self, viewer: ViewerModel, event: Any) -> None:
        del viewer
        y, x = event.position[-2:]
        inside = (
            (self._corners <= (x, y)) & ((x, y) < self._corners + self._side)
        ).all(axis=1)
        found = np.flatnonzero(inside)
        self._hover(int(found[0]) if found.size else -1)

    def _hover(self, patch: int) -> None:
        """Outline the patch under the mouse."""
        if patch == self._under_mouse and patch != -1:
            return
        self._under_mouse = patch
        shown = HOVERED in self.model.layers
        if patch == -1:
            if shown:
                self.model.layers[HOVERED].visible = False
            self.hovered.emit(-1)
            return
        x, y = self._corners[patch]
        ring = np.array([[y, x], [y, x], [y, x], [y, x]], dtype=float)
        ring[1:3, 1] += self._side
        ring[2:, 0] += self._side
        if shown:
            self.model.layers[HOVERED].data = [ring]
            self.model.layers[HOVERED].visible = True
        else:
            self.model.add_shapes(
                [ring],
                shape_type="polygon",
                name=HOVERED,
                edge_color=HIGHLIGHT,
                face_color="transparent",
                edge_width=self._side / 30,
                units=self._units,
            )
        self.hovered.emit(patch)


def _rgba(colour: str) -> list[float]:
    digits = colour.lstrip("#").ljust(8, "f")
    return [int(digits[at : at + 2], 16) / 255 for at in range(0, 8, 2)]
