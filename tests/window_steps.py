"""What a person does in a window, and what can be seen then."""

import os
from pathlib import Path

import numpy as np
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication, QDockWidget

LONG = 120_000


def press(qtbot, button):
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def to_front(panel):
    dock = panel.parentWidget()
    while not isinstance(dock, QDockWidget):
        dock = dock.parentWidget()
    dock.raise_()


def click_canvas(qtbot, canvas, view, world, *, drag=0):
    """Click at y and x of the world in one view of a napari canvas.

    With `drag` the mouse moves by so many pixels before it is let go.
    """
    y, x = world
    spot = (view.transform * view.scene.transform).map([x, y, 0, 1])
    here = QPoint(*np.rint(spot[:2] / spot[3]).astype(int).tolist())
    native, left = canvas.native, Qt.MouseButton.LeftButton
    qtbot.mousePress(native, left, pos=here)
    if drag:
        # Qt's own test mouse moves with no button held.
        there = here + QPoint(drag, 0)
        moved = QMouseEvent(
            QEvent.Type.MouseMove,
            QPointF(there),
            QPointF(native.mapToGlobal(there)),
            left,
            left,
            Qt.KeyboardModifier.NoModifier,
        )
        QApplication.sendEvent(native, moved)
        here = there
    qtbot.mouseRelease(native, left, pos=here)


def picture(viewer, tmp_path, name):
    """Save the whole window where someone may look at it."""
    folder = Path(os.environ.get("HARM3_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    pixels = viewer.window.screenshot(
        str(folder / f"{name}.png"), canvas_only=False, flash=False
    )
    assert len(np.unique(pixels)) > 50
    return pixels
