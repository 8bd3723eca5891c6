"""Panel: train a method, or all of a table; runs go on when the window is closed."""

from napari.viewer import Viewer
from qtpy.QtWidgets import QTabWidget, QVBoxLayout, QWidget

from napari_harm3.plugin.keys import bind_keys
from napari_harm3.plugin.session import Session
from napari_harm3.plugin.widgets.parts import Scrolled
from napari_harm3.plugin.widgets.train_run import RunPanel
from napari_harm3.plugin.widgets.train_tables import TablesPanel


class TrainWidget(QWidget):
    """One run, and the paper's two tables, in two tabs."""

    def __init__(self, napari_viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        session = Session.of(napari_viewer)
        self.one = RunPanel(session)
        self.tables = TablesPanel(session)
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.addTab(Scrolled(self.one), "One method")
        self.tabs.addTab(Scrolled(self.tables), "Tables")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 8, 0, 0)  # the dock's title hangs over
        layout.addWidget(self.tabs)
        bind_keys(napari_viewer, self, {})
