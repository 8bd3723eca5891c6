"""What a person does in a window, and what can be seen then."""

import os
from pathlib import Path

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDockWidget

LONG = 120_000


def press(qtbot, button):
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def to_front(panel):
    dock = panel.parentWidget()
    while not isinstance(dock, QDockWidget):
        dock = dock.parentWidget()
    dock.raise_()


def picture(viewer, tmp_path, name):
    """Save the whole window where someone may look at it."""
    folder = Path(os.environ.get("HARM3_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    pixels = viewer.window.screenshot(
        str(folder / f"{name}.png"), canvas_only=False, flash=False
    )
    assert len(np.unique(pixels)) > 50
    return pixels
