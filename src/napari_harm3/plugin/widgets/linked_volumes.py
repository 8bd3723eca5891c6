"""A check box: the four volumes share one slice position, or each has its own.

napari slices a canvas grid at one world position, so a volume that is scrolled alone is
drawn elsewhere instead; its name says how far.
"""

from collections.abc import Callable, MutableSequence
from functools import wraps
from inspect import unwrap
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
        found = next((one for one in callbacks if one.__name__ == NAPARIS), None)
        self.setEnabled(found is not None)
        if found is not None:
            # What was found may be that of a box which is about to be destroyed.
            naparis = unwrap(found)
            own = self._scroll_with(naparis)
            _replace(callbacks, found, own)
            self.destroyed.connect(lambda: _replace(callbacks, own, naparis))
        self.toggled.connect(self._toggled)

    def _scroll_with(self, naparis: Scroll) -> Scroll:
        @wraps(naparis)
        def scroll(viewer: Any, event: Any) -> Any:
            role = self._session.hanging.role_at(event.viewbox)
            if self.isChecked() or role is None or "Control" not in event.modifiers:
                return naparis(viewer, event)
            self._session.hanging.scroll(role, 1 if event.delta[1] > 0 else -1)
            return None

        return scroll

    def _toggled(self, linked: bool) -> None:
        if linked:
            self._session.hanging.relink()


def _replace(callbacks: MutableSequence[Scroll], old: Scroll, new: Scroll) -> None:
    """Put a callback where another stands, if it still does: others may come and go."""
    if old in callbacks:
        callbacks[callbacks.index(old)] = new
