"""A finished table, what must not be parted from it, and the way to its page."""

from pathlib import Path

from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_harm3.jobs.report import number
from napari_harm3.notices import MADE_UP, UNTRAINED
from napari_harm3.plugin.widgets.comparison_table import ComparisonTable, Result
from napari_harm3.plugin.widgets.parts import WARNING, note

HOW = (
    "Mean ± sd over folds, 95 % interval by bootstrap, decisions at 0.5; the best "
    "figure is bold, which is no test. Always saying “no pCR” has ACC {majority}. "
    "Below in grey: what the paper prints of its own cohort, its F1 with our macro-F1. "
    "Point at a figure for its tests."
)


class TableResult(QWidget):
    """Not there while there is no table to show."""

    def __init__(self) -> None:
        super().__init__()
        self.page: Path | None = None
        self.warning = note(look=WARNING)
        self.table = ComparisonTable()
        self.notes = note()
        self.report_button = QPushButton("Open report")
        self.report_button.setToolTip("The page with figures and tests, in the browser")
        self.report_button.clicked.connect(self.open_report)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.warning)
        layout.addWidget(self.table)
        layout.addWidget(self.notes)
        layout.addWidget(self.report_button)
        self.hide()

    def show_result(self, result: Result, page: Path) -> None:
        """Show a table as ``harm3 reproduce`` writes it, and know its page."""
        self.page = page
        red = [MADE_UP] if result["made_up"] else []
        red += [UNTRAINED] if result["untrained_encoder"] else []
        self.warning.setText(" ".join(red))
        self.warning.setVisible(bool(red))
        self.table.show_result(result)
        majority = number(result["rows"][0]["metrics"]["majority_acc"])
        self.notes.setText(HOW.format(majority=majority))
        self.show()

    def open_report(self) -> None:
        """Open the page in the browser."""
        if self.page is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.page.resolve())))
