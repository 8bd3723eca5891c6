"""A cross-hair in every cell of the grid: one place, marked in all volumes at once.

napari has none; this is an overlay of the scene, by the way that its own example of an
overlay shows. A layer of points would take a place of its own in each grid cell.
"""

from typing import Any

import numpy as np
from jaxtyping import Float32
from napari._vispy.overlays.base import ViewerOverlayMixin, VispySceneOverlay
from napari._vispy.utils.visual import overlay_to_visual
from napari.components.overlays.base import SceneOverlay
from napari.viewer import Viewer
from vispy.scene.visuals import Line

NAME = "harm3_cross_hair"
COLOUR = "#ffd60a"
GAP_PIXELS, ARM_PIXELS, LINE_PIXELS = 5, 16, 2
ARMS = np.array([(0, -1), (0, 1), (-1, 0), (1, 0)], np.float32)


class CrossHairOverlay(SceneOverlay):  # type: ignore[misc]  # napari is not typed
    """Four short lines around a place, of one length on the screen."""

    place: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """World coordinates; it is seen on its own slice only."""


class _CrossHairVisual(ViewerOverlayMixin, VispySceneOverlay):  # type: ignore[misc]
    """Draws it in one cell of the grid."""

    def __init__(self, **given: Any) -> None:
        node = Line(pos=_lines(), connect="segments", color=COLOUR, width=LINE_PIXELS)
        super().__init__(node=node, **given)
        self.overlay.events.place.connect(self._put)
        self.viewer.scene.camera.events.zoom.connect(self._put)
        self.viewer.dims.events.point.connect(self._on_visible_change)
        self.reset()

    def _should_be_visible(self) -> bool:
        dims = self.viewer.dims
        (axis, *_) = dims.not_displayed or (0,)
        if len(dims.point) != len(self.overlay.place) or dims.ndisplay != 2:
            return False
        away = abs(dims.point[axis] - self.overlay.place[axis])
        return bool(self.overlay.visible and away <= 0.5 * dims.range[axis].step + 1e-6)

    def _put(self) -> None:
        *_, y, x = (self.overlay.place[axis] for axis in self.viewer.dims.displayed)
        self.node.transform.reset()
        scale = 1 / max(self.viewer.scene.camera.zoom, 1e-9)
        self.node.transform.scale((scale, scale, 1, 1))
        self.node.transform.translate((x, y, 0, 0))
        self._on_visible_change()

    def reset(self) -> None:
        super().reset()
        self._put()

    def close(self) -> None:
        """Let go of everything that it listens to."""
        self.overlay.events.place.disconnect(self._put)
        self.viewer.scene.camera.events.zoom.disconnect(self._put)
        self.viewer.dims.events.point.disconnect(self._on_visible_change)
        super().close()


class CrossHair:
    """The cross-hair of a viewer."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer

    @property
    def place(self) -> tuple[float, float, float] | None:
        """Where it is, world coordinates; None while it is hidden."""
        overlay = self._viewer.scene.overlays.get(NAME)
        return overlay.place if overlay is not None and overlay.visible else None

    def show(self, place: tuple[float, float, float]) -> None:
        """Put it at a place, and the slices through that place on show."""
        overlays = self._viewer.scene.overlays
        if NAME not in overlays:
            overlay_to_visual.setdefault(CrossHairOverlay, _CrossHairVisual)
            overlays[NAME] = CrossHairOverlay()
        self._viewer.dims.set_point(0, place[0])
        overlays[NAME].place = place
        overlays[NAME].visible = True

    def hide(self) -> None:
        """Show none."""
        overlay = self._viewer.scene.overlays.get(NAME)
        if overlay is not None:
            overlay.visible = False


def _lines() -> Float32[np.ndarray, "8 2"]:
    ends = np.stack([ARMS * GAP_PIXELS, ARMS * (GAP_PIXELS + ARM_PIXELS)], axis=1)
    return ends.reshape(-1, 2)
