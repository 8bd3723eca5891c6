"""A click on a napari canvas, told from a drag that moves what is seen."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

STILL_PIXELS = 3
"""A hand moves the mouse so far while it clicks."""

Callback = Callable[[Any, Any], Iterator[None]]


def on_click(act: Callable[[Any], None]) -> Callback:
    """Return a mouse-drag callback for napari that calls `act` after clicks alone.

    Parameters
    ----------
    act
        Takes napari's mouse event of the release.
    """

    def pressed(viewer: object, event: Any) -> Iterator[None]:
        del viewer
        start, farthest, left = np.array(event.pos), 0.0, event.button == 1
        yield
        while event.type == "mouse_move":
            farthest = max(farthest, float(np.hypot(*(np.array(event.pos) - start))))
            yield
        if left and farthest <= STILL_PIXELS:
            act(event)

    return pressed
