"""Every key and what it does, in a window that may stay open beside the work."""

from collections.abc import Iterable, Mapping
from html import escape

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QGroupBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

NAME = "harm3-keys"


class KeySheet(QDialog):
    """One column of keys a panel.

    Parameters
    ----------
    panels
        Key and what it does, by panel.
    """

    def __init__(
        self, parent: QWidget, panels: Mapping[str, Iterable[tuple[str, str]]]
    ) -> None:
        super().__init__(parent)
        self.setObjectName(NAME)
        self.setWindowTitle("HARM3 keys")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        row = QHBoxLayout(self)
        for panel, keys in panels.items():
            row.addWidget(_column(panel, keys))


def show_keys(parent: QWidget, panels: Mapping[str, Iterable[tuple[str, str]]]) -> None:
    """Show the sheet, once however often it is asked for."""
    sheet = parent.findChild(KeySheet, NAME) or KeySheet(parent, panels)
    sheet.show()
    sheet.raise_()


def _column(title: str, keys: Iterable[tuple[str, str]]) -> QGroupBox:
    rows = "".join(
        f"<tr><td style='padding-right: 14px'><b>{escape(key)}</b></td>"
        f"<td>{escape(what)}</td></tr>"
        for key, what in keys
    )
    text = QLabel(f"<table cellpadding='3'>{rows}</table>")
    text.setAlignment(Qt.AlignmentFlag.AlignTop)
    box = QGroupBox(title)
    QVBoxLayout(box).addWidget(text)
    return box
