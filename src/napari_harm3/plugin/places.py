"""Our layers keep their cells of the canvas grid, whatever is done to the layer list.

napari deals the layers out to the cells in the order of the list, begins again at the
first cell when there is none left, and takes away a cell in which all is hidden.
"""

from collections.abc import Sequence
from typing import Any
from weakref import WeakSet

from napari.components.grid import GridCanvas
from napari.layers import Layer
from napari.utils.notifications import show_info
from napari.viewer import Viewer
from qtpy.QtCore import QTimer

COLUMNS = ROWS = 2
TOLD = {"inserted", "removed", "reordered", "visible"}
"""Events of the layer list after which another layer may lie in a cell."""

_held: WeakSet[Layer] = WeakSet()


class _Cells(GridCanvas):  # type: ignore[misc]  # napari is not typed
    """A grid that keeps the cell of a layer that is held, though it is hidden."""

    def _effective_indices(self, layers: Sequence[Layer]) -> list[int]:
        return [
            number
            for number, layer in enumerate(layers)
            if layer.visible or layer in _held
        ]


class Places:
    """The cells of a viewer's grid: ours first, in order, then those of others.

    Parameters
    ----------
    viewer
        Whose grid it is.
    stride
        Layers of a cell.
    """

    def __init__(self, viewer: Viewer, *, stride: int) -> None:
        self._viewer, self._stride = viewer, stride
        self._own: list[Layer] = []
        # napari has no other way to keep a cell.
        viewer.canvas.grid.__class__ = _Cells
        # Layers are taken away one by one: what is to be put back is known at the end.
        self._settled = QTimer()
        self._settled.setSingleShot(True)
        self._settled.timeout.connect(self._tidy)
        viewer.layers.events.connect(self._changed)

    def hold(self, layers: Sequence[Layer]) -> None:
        """Keep the cells of these layers, and of no others."""
        _held.difference_update(self._own)
        self._own = list(layers)
        _held.update(self._own)
        self._viewer.canvas.grid.stride = self._stride
        self._fit()

    def _changed(self, event: Any) -> None:
        if event.type in TOLD and self._own:
            self._fit()
            self._settled.start()

    def _fit(self) -> None:
        """Give the layers of others as many rows as they need below ours."""
        others = [layer for layer in self._viewer.layers if layer not in self._own]
        groups = [
            others[first : first + self._stride]
            for first in range(0, len(others), self._stride)
        ]
        seen = sum(any(layer.visible for layer in group) for group in groups)
        cells = -(-len(self._own) // self._stride) + seen
        shape = max(ROWS, -(-cells // COLUMNS)), COLUMNS
        if self._viewer.canvas.grid.shape != shape:
            self._viewer.canvas.grid.shape = shape

    def _tidy(self) -> None:
        """Put every layer of ours back to where it belongs; one is gone, it is told."""
        layers = self._viewer.layers
        gone = [layer for layer in self._own if layer not in layers]
        if len(gone) == len(self._own):  # whoever takes all of them away, means it
            self._own = []
            return
        if not gone and list(layers)[: len(self._own)] == self._own:
            return
        with layers.batched_update():
            for number, layer in enumerate(self._own):
                if layer in gone:
                    layer.visible = False
                    layers.insert(number, layer)
                elif layers.index(layer) != number:
                    layers.move(layers.index(layer), number)
        if gone:
            names = ", ".join(layer.name for layer in gone)
            show_info(f"{names}: hidden, not removed, as the case needs its place.")
