"""A check box: the four volumes share one slice position, or each has its own.

napari slices a canvas grid at one world position, so a volume that is scrolled alone is
drawn elsewhere instead; its name says how far.
"""

from collections.abc import Callable
from typing import Any

from napari.viewer import Viewer
from qtpy.QtWidgets import QCheckBox

from napari_harm3.plugin.session import Session

TIP = (
    "On: one place for all four volumes, in world millimetres. Off: Ctrl and the wheel "
    "over a volume scroll it alone, and the slider still all. On again: all are put "
    "back."
)
NAPARIS = "dims_scroll"
"""napari's own answer to Ctrl and the wheel, by name."""

Scroll = Callable[[Any, Any], Any]


class LinkedVolumes(QCheckBox):
    """Takes over Ctrl and the wheel while the volumes are not linked."""

    def __init__(self, viewer: Viewer, session: Session) -> None:
        super().__init__("Link four volumes")
        self.setChecked(True)
        self.setToolTip(TIP)
        self._session = session
        callbacks = viewer.mouse_wheel_callbacks
        found = [n for n, one in enumerate(callbacks) if one.__name__ == NAPARIS]
        self.setEnabled(bool(found))
        for number in found:
            naparis = callbacks[number]
            callbacks[number] = self._scroll_with(naparis)
            self.destroyed.connect(
                lambda _=None, n=number, one=naparis: callbacks.__setitem__(n, one)
            )
        self.toggled.connect(self._toggled)

    def _scroll_with(self, naparis: Scroll) -> Scroll:
        def dims_scroll(viewer: Any, event: Any) -> Any:
            role = self._session.hanging.role_at(event.viewbox)
            if self.isChecked() or role is None or "Control" not in event.modifiers:
                return naparis(viewer, event)
            self._session.hanging.scroll(role, 1 if event.delta[1] > 0 else -1)
            return None

        return dims_scroll

    def _toggled(self, linked: bool) -> None:
        if linked:
            self._session.hanging.relink()
