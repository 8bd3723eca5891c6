"""The whole workspace: every panel, docked where it belongs."""

from dataclasses import dataclass
from typing import TypeVar

from napari.viewer import Viewer
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QWidget

from napari_harm3.plugin.keys import bind_keys
from napari_harm3.plugin.session import Session
from napari_harm3.plugin.widgets.cases import CasesWidget
from napari_harm3.plugin.widgets.explain import ExplainWidget
from napari_harm3.plugin.widgets.review import ReviewWidget
from napari_harm3.plugin.widgets.slide import SlideWidget
from napari_harm3.plugin.widgets.train import TrainWidget

PLUGIN = "napari-harm3"
LEFT_PIXELS, RIGHT_PIXELS = 340, 430
TOP_PIXELS, BOTTOM_PIXELS = 480, 420
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
    cases_dock, cases = window.add_plugin_dock_widget(PLUGIN, "HARM3 Cases")
    session.slide_view()
    explain_dock, explain = window.add_plugin_dock_widget(PLUGIN, "HARM3 Explain")
    review, slide, train = (
        window.add_plugin_dock_widget(PLUGIN, f"HARM3 {name}", tabify=True)[1]
        for name in ("Review", "Slide", "Train")
    )
    # Qt gives docks their size when the window is laid out, so they are asked after.
    QTimer.singleShot(0, lambda: _arrange(viewer, cases_dock, explain_dock))
    bind_keys(viewer, _as(cases, CasesWidget), _as(explain, ExplainWidget))
    return Workspace(
        session=session,
        cases=_as(cases, CasesWidget),
        explain=_as(explain, ExplainWidget),
        review=_as(review, ReviewWidget),
        slide=_as(slide, SlideWidget),
        train=_as(train, TrainWidget),
    )


def _arrange(viewer: Viewer, cases: QDockWidget, explain: QDockWidget) -> None:
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
    explain.raise_()
    across = Qt.Orientation.Horizontal
    main.resizeDocks([cases, explain], [LEFT_PIXELS, RIGHT_PIXELS], across)


def _as(widget: object, kind: type[Panel]) -> Panel:
    assert isinstance(widget, kind)
    return widget
