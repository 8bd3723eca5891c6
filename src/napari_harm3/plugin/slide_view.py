"""The biopsy slide in a napari canvas of its own.

A slide in microns and volumes in millimetres cannot share one canvas.
"""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int64, UInt8
from napari.components import ViewerModel
from napari.layers import Points
from napari.qt import QtViewer
from napari.utils.colormaps import ensure_colormap
from qtpy.QtCore import Signal  # type: ignore[attr-defined]  # per binding
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_harm3.plugin.clicks import on_click
from napari_harm3.wsi.pyramid import CoarsePicture, SlideLevel, coarse_picture, pyramid
from napari_harm3.wsi.slide import Pair, Slide, open_slide

ACCEPTED, DAMAGED, REJECTED = range(3)
STATUSES = ("accepted", "damaged", "rejected")
"""What became of a patch, by number."""

COLOURS = np.array(
    [(0.23, 0.53, 1.0, 1.0), (1.0, 0.23, 0.19, 1.0), (0.6, 0.65, 0.7, 0.33)]
)
"""Of each status: red, green, blue, alpha."""

OUTLINE, HIGHLIGHT = "#18a558", "#ffd60a"
NO_PIXELS = [np.zeros((1, 1, 3), np.uint8)]
NO_COLOURS = np.zeros((0, 2)), (1.0, 1.0), np.zeros(0)
EMPTY = "No slide"
FAILED = "The slide cannot be shown: the log says why"
READING = "No coarse level: reading all, {:.0%}"
LINE_PIXELS = 1.6
"""Width of the outline on the screen."""

MARK_WIDTH = 0.06
"""Of a patch's outline, as a share of the patch."""


class SlideView(QWidget):
    """One slide with its tissue, its patches and the model's attention.

    Layers are made once and filled anew: napari collects garbage over the whole
    process whenever one is removed, which takes longer than drawing, and reads its
    units at the first one made, which then nobody waits for.
    """

    opened = Signal(object)
    """The slide on show, or None."""

    hovered = Signal(int)
    """The patch under the mouse, -1 for none."""

    clicked = Signal(float, float)
    """Level-0 x and y of a click; a drag is none."""

    _progressed = Signal(object, object, float)
    _failed = Signal(object)

    def __init__(
        self,
        parent: QWidget | None = None,
        *,
        name_of: Callable[[Slide], str] = attrgetter("name"),
    ) -> None:
        super().__init__(parent)
        self._name_of = name_of
        self.model = ViewerModel(title="HARM3 slide")
        self.slide: Slide | None = None
        self._coords: Int64[np.ndarray, "N 2"] = np.zeros((0, 2), np.int64)
        self._corners: Float[np.ndarray, "N 2"] = np.zeros((0, 2))
        self._side: Pair = (0.0, 0.0)
        self._evidence = NO_COLOURS
        self._answered = False
        self._under_mouse = -1
        self._pool = ThreadPoolExecutor(1)
        self._progressed.connect(self._coarse_read)
        self._failed.connect(self._coarse_lost)
        self._canvas = QtViewer(self.model)
        self._image = self.model.add_image(
            NO_PIXELS, multiscale=True, rgb=True, name="slide", contrast_limits=(0, 255)
        )
        self.attention = self._add_squares("attention")
        self.patches = self._add_squares("patches")
        self.tissue = self.model.add_vectors(
            np.zeros((0, 2, 2)),
            name="tissue",
            vector_style="line",
            edge_color=OUTLINE,
        )
        # No list shows its thumbnail, which would take longer than the lines.
        self.tissue._max_vectors_thumbnail = 1
        self.marked = self._add_squares("marked", HIGHLIGHT, MARK_WIDTH)
        self._hovered = self._add_squares("hovered", HIGHLIGHT)
        self.model.canvas.overlays.scale_bar.visible = True
        self._say(EMPTY)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._canvas)
        self.setMinimumHeight(260)
        self.model.mouse_move_callbacks.append(self._mouse_moved)
        self.model.mouse_drag_callbacks.append(on_click(self._mouse_clicked))
        self.model.scene.camera.events.zoom.connect(self._keep_line_width)

    @property
    def name(self) -> str | None:
        """What an explanation calls the slide on show."""
        return None if self.slide is None else self._name_of(self.slide)

    def open(self, path: Path, source_mpp: float | None = None) -> None:
        """Show a slide in place of the one before.

        Raises
        ------
        SlideError
            If it cannot be opened; the one before stays.
        """
        slide = open_slide(path, source_mpp=source_mpp)
        self._let_go()
        self.slide = slide
        levels = pyramid(slide)
        picture = coarse_picture(levels)
        if picture is None:
            self._show(levels)
            return
        self._say(READING.format(0))
        reading = self._pool.submit(self._read_coarse, slide, levels, picture)
        reading.add_done_callback(lambda done: self._tell_bug(slide, done))

    def clear(self) -> None:
        """Show nothing."""
        if self.slide is not None:
            self._let_go()
            self._say(EMPTY)
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
        self.tissue.data = lines

    def show_patches(
        self,
        coords: Int64[np.ndarray, "N 2"],
        side: Pair,
        status: UInt8[np.ndarray, "N"],
        *,
        rejected: bool = True,
    ) -> None:
        """Draw the patch grid, coloured by what became of each patch.

        Parameters
        ----------
        coords
            Upper left corners, level-0 x and y.
        side
            Of a patch along x and y, level-0 pixels.
        status
            Number of each patch's status in `STATUSES`.
        rejected
            Whether rejected patches are seen.
        """
        colours = COLOURS.copy()
        colours[REJECTED, 3] *= rejected
        self._corners = coords * np.array(self._pixel)
        self._side = side[0] * self._pixel[0], side[1] * self._pixel[1]
        if not np.array_equal(coords, self._coords):
            self._fill(self.patches, coords, side)
            self._coords = coords
        if len(coords):
            self.patches.border_color = colours[status]
        self._hover(-1)

    def show_attention(self, geojson: dict[str, Any]) -> None:
        """Colour the patches by the model's attention."""
        name = self.name
        own = [f for f in geojson["features"] if f["properties"]["slide"] == name]
        rings = np.array([f["geometry"]["coordinates"][0] for f in own])
        if not own:
            self._evidence = NO_COLOURS
        else:
            corner, far = rings.min(axis=1), rings.max(axis=1)
            width, height = (far - corner)[0].tolist()
            relative = [f["properties"]["measurements"]["relative"] for f in own]
            self._evidence = corner, (width, height), np.array(relative)
        self.colour(*self._evidence)
        self._answered = False

    def back_to_attention(self) -> None:
        """Colour the patches by the model's attention again."""
        if self._answered:
            self.colour(*self._evidence)
            self._answered = False

    def colour(
        self,
        corners: Float[np.ndarray, "N 2"],
        side: Pair,
        relative: Float[np.ndarray, "N"],
    ) -> None:
        """Colour patches in place of the attention.

        Parameters
        ----------
        corners
            Upper left, level-0 x and y.
        side
            Of a patch along x and y, level-0 pixels.
        relative
            From 0 to 1.
        """
        self._answered = True
        self._fill(self.attention, corners, side)
        if len(corners):
            self.attention.border_width = 0
            self.attention.face_color = ensure_colormap("inferno").map(relative)
            self.attention.opacity = 0.45

    def mark(self, corners: Float[np.ndarray, "N 2"], side: Pair = (1.0, 1.0)) -> None:
        """Outline patches in place of those before; see `colour`."""
        self._fill(self.marked, corners, side)

    def centre_on(self, x: float, y: float) -> None:
        """Bring a level-0 pixel to the middle of the canvas."""
        across, down = x * self._pixel[0], y * self._pixel[1]
        self.model.scene.camera.center = (0.0, down, across)

    def shutdown(self) -> None:
        """Let go of the file and the canvas."""
        self.clear()
        self._pool.shutdown()
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

    def _read_coarse(
        self, slide: Slide, levels: list[SlideLevel], picture: CoarsePicture
    ) -> None:
        """Make a coarse picture, in a thread, while its slide is wanted."""
        for done, of in picture.make():
            if slide is not self.slide:
                return
            self._progressed.emit(slide, levels, done / of)

    def _tell_bug(self, slide: Slide, done: Future[None]) -> None:
        if tell_bug("The slide", done):
            self._failed.emit(slide)

    def _coarse_lost(self, slide: Slide) -> None:
        if slide is self.slide:
            self._say(FAILED)

    def _coarse_read(
        self, slide: Slide, levels: list[SlideLevel], share: float
    ) -> None:
        if slide is not self.slide:
            return
        if share < 1:
            self._say(READING.format(share))
        else:
            self._show(levels)

    def _show(self, levels: list[SlideLevel]) -> None:
        for layer in self.model.layers:
            layer.units = self._units
        self._image.scale = self._pixel[::-1]
        self._image.data = levels
        self._image.visible = True
        self.model.canvas.overlays.scale_bar.visible = True
        self.model.canvas.overlays.text.visible = False
        self.model.reset_view()
        self.opened.emit(self.slide)

    def _say(self, text: str) -> None:
        """Show a sentence in place of a slide."""
        self._image.visible = False
        self.model.canvas.overlays.scale_bar.visible = False
        self.model.canvas.overlays.text.text = text
        self.model.canvas.overlays.text.visible = True

    def _let_go(self) -> None:
        """Empty every layer and close the slide."""
        self.show_patches(self._coords[:0], (1.0, 1.0), np.zeros(0, np.uint8))
        self.show_tissue([])
        self._evidence = NO_COLOURS
        self.colour(*self._evidence)
        self.mark(self._coords)
        # Whatever napari still asks for would be asked of a closed file.
        self._image.data = NO_PIXELS
        if self.slide is not None:
            self.slide.close()
            self.slide = None

    def _add_squares(
        self, name: str, colour: str = "white", width: float = 0.04
    ) -> Points:
        """Return a layer of squares; they are points, as shapes would take minutes.

        Of what is set on an empty layer, napari gives new points only what it was
        made with.
        """
        layer = self.model.add_points(
            np.zeros((0, 2)),
            name=name,
            symbol="square",
            border_color=colour,
            border_width=width,
            face_color="transparent",
        )
        layer.canvas_size_limits = (0, 100_000)
        layer.antialiasing = 0
        layer.editable = False
        return layer

    def _fill(
        self, layer: Points, corners: Float[np.ndarray, "N 2"], side: Pair
    ) -> None:
        """Show squares by their upper left corners, level-0 pixels."""
        centres = (corners + np.array(side) / 2) * self._pixel
        layer.data = centres[:, ::-1]
        width = max(side[0] * self._pixel[0], 1e-6)
        if np.any(layer.size != width):  # each thing set is drawn at once
            layer.size = width

    def _keep_line_width(self, event: object = None) -> None:
        del event
        self.tissue.edge_width = LINE_PIXELS / max(self.model.scene.camera.zoom, 1e-9)

    def _mouse_moved(self, viewer: ViewerModel, event: Any) -> None:
        del viewer
        y, x = event.position[-2:]
        corners = self._corners
        inside = ((corners <= (x, y)) & ((x, y) < corners + self._side)).all(axis=1)
        found = np.flatnonzero(inside)
        self._hover(int(found[0]) if found.size else -1)

    def _mouse_clicked(self, event: Any) -> None:
        if self.slide is not None:
            y, x = event.position[-2:]
            self.clicked.emit(x / self._pixel[0], y / self._pixel[1])

    def _hover(self, patch: int) -> None:
        """Outline the patch under the mouse."""
        if patch == self._under_mouse:
            return
        self._under_mouse = patch
        if patch != -1:
            side = self._side[0] / self._pixel[0], self._side[1] / self._pixel[1]
            self._fill(self._hovered, self._coords[patch : patch + 1], side)
        self._hovered.visible = patch != -1
        self.hovered.emit(patch)


def tell_bug(what: str, done: Future[None]) -> bool:
    """Log what ended a piece of work in a thread; return whether that was a bug."""
    error = None if done.cancelled() else done.exception()
    if error is not None:
        logging.getLogger(__name__).error(f"{what} failed.", exc_info=error)
    return error is not None
