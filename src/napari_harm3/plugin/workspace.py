"""The whole workspace: every panel, docked where it belongs."""

from dataclasses import dataclass
from typing import TypeVar

from napari.viewer import Viewer
from qtpy.QtCore import QByteArray, QObject, QSize, Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from napari_harm3.plugin.session import SLIDE_DOCK, Session
from napari_harm3.plugin.widgets.cases import CasesWidget
from napari_harm3.plugin.widgets.explain import ExplainWidget
from napari_harm3.plugin.widgets.review import ReviewWidget
from napari_harm3.plugin.widgets.slide import SlideWidget
from napari_harm3.plugin.widgets.train import TrainWidget

PLUGIN = "napari-harm3"
LEFT_PIXELS, RIGHT_PIXELS, WIDTH = 340, 430, 1560
"""Of the panels at the sides, in a window of that width; less in a narrower one."""

ALONE = 0.75
"""Share of the window's height that a slide has while no volume hangs."""

SIDES = {
    Qt.Corner.TopLeftCorner: Qt.DockWidgetArea.LeftDockWidgetArea,
    Qt.Corner.TopRightCorner: Qt.DockWidgetArea.RightDockWidgetArea,
}
"""The panels at the sides keep the height of the window."""

TOP_PIXELS, BOTTOM_PIXELS = 480, 420
SLIDE_PIXELS, EXPLAIN_PIXELS = 300, 740
Panel = TypeVar("Panel", bound=QWidget)


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """The panels of one viewer."""

    session: Session
    cases: CasesWidget
    explain: ExplainWidget
    review: ReviewWidget
    slide: SlideWidget
    train: TrainWidget


def open_workspace(viewer: Viewer) -> Workspace:
    """Dock every panel: cases on the left, the slide and the rest on the right."""
    session = Session.of(viewer)
    window = viewer.window
    size = window._qt_window.size()
    cases_dock, cases = window.add_plugin_dock_widget(PLUGIN, "HARM3 Cases")
    session.slide_view()
    explain_dock, explain = window.add_plugin_dock_widget(PLUGIN, "HARM3 Explain")
    tabs = {"Explain": (explain_dock, explain)} | {
        name: window.add_plugin_dock_widget(PLUGIN, f"HARM3 {name}", tabify=True)
        for name in ("Review", "Slide", "Train")
    }
    for name, (dock, _) in tabs.items():
        dock.setWindowTitle(name)  # the whole name, four beside each other, is cut off
    review, slide, train = (tabs[name][1] for name in ("Review", "Slide", "Train"))
    # Qt gives docks their size when the window is laid out, so they are asked after.
    QTimer.singleShot(0, lambda: _arrange(viewer, cases_dock, explain_dock, size))
    room = _Room(session)
    session.slide_view().opened.connect(room.share)
    return Workspace(
        session=session,
        cases=_as(cases, CasesWidget),
        explain=_as(explain, ExplainWidget),
        review=_as(review, ReviewWidget),
        slide=_as(slide, SlideWidget),
        train=_as(train, TrainWidget),
    )


def _arrange(
    viewer: Viewer, cases: QDockWidget, explain: QDockWidget, size: QSize
) -> None:
    """Put the cases at the upper left, napari's own lists in tabs below them."""
    main = viewer.window._qt_window
    controls, layers = (
        main.findChild(QDockWidget, name) for name in ("layer controls", "layer list")
    )
    left = Qt.DockWidgetArea.LeftDockWidgetArea
    main.addDockWidget(left, cases)
    if controls is not None and layers is not None:
        main.splitDockWidget(cases, controls, Qt.Orientation.Vertical)
        main.tabifyDockWidget(controls, layers)
        main.resizeDocks(
            [cases, layers], [TOP_PIXELS, BOTTOM_PIXELS], Qt.Orientation.Vertical
        )
    # Above each other, as napari put them, they needed more height than they do now.
    main.resize(size)
    for slide in main.findChildren(QDockWidget, SLIDE_DOCK):
        main.resizeDocks(
            [slide, explain], [SLIDE_PIXELS, EXPLAIN_PIXELS], Qt.Orientation.Vertical
        )
    explain.raise_()
    for dock in main.findChildren(QDockWidget):
        dock.setMinimumWidth(0)  # Qt has kept what was needed before there was a style
    share, across = min(size.width() / WIDTH, 1), Qt.Orientation.Horizontal
    pixels = [round(share * side) for side in (LEFT_PIXELS, RIGHT_PIXELS)]
    main.resizeDocks([cases, explain], pixels, across)


class _Room(QObject):
    """Gives a slide the middle of the window while no volume hangs there."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._before: QByteArray | None = None

    def share(self, slide: object) -> None:
        """Move the slide there, or everything back to where it was."""
        alone = slide is not None and not self._session.hanging.grids
        window = self._session.viewer.window._qt_window
        if alone and self._before is None:
            self._before = window.saveState()
            _widen(window)
        elif self._session.case and not alone and self._before is not None:
            window.restoreState(self._before)
            self._before = None
        else:
            return
        # The canvases have their new size only when the window is laid out.
        for model in (self._session.slide_view().model, self._session.viewer):
            QTimer.singleShot(0, model.reset_view)


def _widen(window: QMainWindow) -> None:
    for corner, area in SIDES.items():
        window.setCorner(corner, area)
    height = round(window.height() * ALONE)
    for dock in window.findChildren(QDockWidget, SLIDE_DOCK):
        window.addDockWidget(Qt.DockWidgetArea.TopDockWidgetArea, dock)
        window.resizeDocks([dock], [height], Qt.Orientation.Vertical)


def _as(widget: object, kind: type[Panel]) -> Panel:
    assert isinstance(widget, kind)
    return widget
