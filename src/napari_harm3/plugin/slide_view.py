"""The biopsy slide in a napari canvas of its own.

A slide in microns and volumes in millimetres cannot share one canvas.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8
from napari.components import ViewerModel
from napari.qt import QtViewer
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_harm3.wsi.pyramid import pyramid
from napari_harm3.wsi.slide import Slide, open_slide

TISSUE, PATCHES, ATTENTION = "tissue", "patches", "attention"


class SlideView(QWidget):
    """One slide with its tissue, its patches and the model's attention."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.model = ViewerModel(title="HARM3 slide")
        self.slide: Slide | None = None
        self._canvas = QtViewer(self.model)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._canvas)
        self.setMinimumHeight(260)

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
        mpp_x, mpp_y = slide.mpp or (1.0, 1.0)
        unit = "um" if slide.mpp else "pixel"
        levels = pyramid(slide)
        self.model.add_image(
            levels if len(levels) > 1 else levels[0][:, :],
            multiscale=len(levels) > 1,
            rgb=True,
            name="slide",
            scale=(mpp_y, mpp_x),
            units=(unit, unit),
            contrast_limits=(0, 255),
        )
        self.model.scale_bar.visible = True
        self.model.reset_view()

    def clear(self) -> None:
        """Show nothing."""
        self.model.layers.clear()
        if self.slide is not None:
            self.slide.close()
            self.slide = None

    def show_tissue(self, polygons: dict[str, Any]) -> None:
        """Outline the tissue; holes too."""
        rings = [
            np.asarray(ring)[:, ::-1]
            for feature in polygons["features"]
            for ring in feature["geometry"]["coordinates"]
        ]
        self._replace(TISSUE, rings, edge_color="#18a558", face_color="transparent")

    def show_patches(
        self, coords: Int64[np.ndarray, "N 2"], side: tuple[float, float]
    ) -> None:
        """Draw the patches that count as tissue."""
        self._replace(
            PATCHES,
            [_rectangle(x, y, side) for x, y in coords.tolist()],
            edge_color="#3a86ff",
            face_color="transparent",
        )

    def show_attention(self, geojson: dict[str, Any]) -> None:
        """Colour the patches by the model's attention."""
        own = [
            feature
            for feature in geojson["features"]
            if self.slide is not None
            and feature["properties"]["slide"] == self.slide.name
        ]
        rings = [np.asarray(f["geometry"]["coordinates"][0])[:, ::-1] for f in own]
        relative = [f["properties"]["measurements"]["relative"] for f in own]
        self._replace(
            ATTENTION, rings, edge_color="transparent", face_color="transparent"
        )
        if own:
            layer = self.model.layers[ATTENTION]
            layer.features = {"attention": relative}
            layer.face_colormap = "inferno"
            layer.face_contrast_limits = (0.0, 1.0)
            layer.face_color = "attention"
            layer.opacity = 0.45

    def shutdown(self) -> None:
        """Let go of the file and the canvas."""
        self.clear()
        self._canvas.close()

    def _replace(
        self, name: str, rings: list[UInt8[np.ndarray, "n 2"]], **style: Any
    ) -> None:
        if name in self.model.layers:
            self.model.layers.remove(name)
        if not rings or self.slide is None:
            return
        mpp_x, mpp_y = self.slide.mpp or (1.0, 1.0)
        layer = self.model.add_shapes(
            rings,
            shape_type="polygon",
            name=name,
            scale=(mpp_y, mpp_x),
            units=self.model.layers["slide"].units,
            edge_width=max(self.slide.width / 700, 2),
            **style,
        )
        layer.editable = False


def _rectangle(x: float, y: float, side: tuple[float, float]) -> np.ndarray:
    right, bottom = x + side[0], y + side[1]
    return np.array([[y, x], [y, right], [bottom, right], [bottom, x]])
