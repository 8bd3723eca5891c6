"""Small pieces that several panels are made of."""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from qtpy.QtCore import (  # type: ignore[attr-defined]  # Signal, per binding
    QEvent,
    QObject,
    QSize,
    Qt,
    Signal,
)
from qtpy.QtGui import QPalette, QShowEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QMessageBox,
    QPushButton,
    QScrollArea,
    QScrollBar,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)


class Look(NamedTuple):
    """How a note is written: style sheets that can be read on dark and on light."""

    on_dark: str
    on_light: str


WARNING = Look("color: #ff8a65; font-weight: 600;", "color: #a8321a; font-weight: 600;")
SOFT = Look("color: #9aa5b1;", "color: #4f5964;")
TITLE = Look("font-weight: 600;", "font-weight: 600;")

LONGEST_WORD = 30
"""Letters after which a note breaks a word."""

LONGEST_CELL = 18
"""Letters after which a table shortens a text, so that all columns have room."""

LONG_WORD = re.compile(rf"(\S{{{LONGEST_WORD}}})(?=\S)")
LEAST_ROWS = 3
"""That a table shows below its header in a small window."""

MIDDLE = 127
"""Of Qt's lightness: brighter text stands on a dark ground."""


TURNED = (QComboBox, QAbstractSpinBox, QAbstractSlider)
"""Fields that the mouse wheel changes."""


class Scrolled(QScrollArea):
    """What may be longer than its dock, but never wider: the dock makes room for it.

    The wheel scrolls it, and changes a field only where that was chosen before.
    """

    def __init__(self, content: QWidget) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidget(content)
        self._keep_from_wheel()

    def minimumSizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return the width of the content and of the bar beside it."""
        hint, content = super().minimumSizeHint(), self.widget()
        bar = self.verticalScrollBar()
        assert content is not None
        assert bar is not None
        width = content.minimumSizeHint().width() + bar.sizeHint().width()
        return QSize(width, hint.height())

    def eventFilter(  # noqa: N802 - Qt's name
        self, watched: QObject | None, event: QEvent | None
    ) -> bool:
        """Hear that the content needs another width; take the wheel from a field."""
        kind = None if event is None else event.type()
        if kind == QEvent.Type.LayoutRequest:
            self.updateGeometry()
            self._keep_from_wheel()  # fields may have come
        elif kind == QEvent.Type.Wheel and not _has_focus(watched):
            assert event is not None
            event.ignore()  # so that it goes on to the area
            return True
        return super().eventFilter(watched, event)

    def _keep_from_wheel(self) -> None:
        content = self.widget()
        assert content is not None
        for field in content.findChildren(QWidget):
            if isinstance(field, TURNED) and not isinstance(field, QScrollBar):
                if field.focusPolicy() == Qt.FocusPolicy.WheelFocus:
                    field.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
                field.installEventFilter(self)


def _has_focus(watched: QObject | None) -> bool:
    return isinstance(watched, QWidget) and watched.hasFocus()


class PathField(QWidget):
    """A path that is typed, or chosen in a dialogue.

    One that is typed is told by Return, or by the button, which then says so.
    """

    changed = Signal()
    """Something else stands in the field."""

    def __init__(
        self,
        hint: str,
        *,
        folder: bool = False,
        pattern: str = "",
        chosen: Callable[[Path], None] | None = None,
    ) -> None:
        super().__init__()
        self._folder, self._pattern, self._chosen = folder, pattern, chosen
        self._suggested: Path | None = None
        self._typed = False
        self.line = QLineEdit()
        self.line.setPlaceholderText(hint)
        self.line.setToolTip(hint)
        self.line.textChanged.connect(self.changed)
        self.line.textEdited.connect(self._edited)
        self.line.returnPressed.connect(self._entered)
        self.button = QPushButton()
        self.button.clicked.connect(self._press)
        self._wait(False)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.line, 1)
        layout.addWidget(self.button)

    @property
    def path(self) -> Path | None:
        """What stands in the field."""
        text = self.line.text().strip()
        return Path(text) if text else None

    def set_path(self, path: Path) -> None:
        """Fill the field; nobody is told that a path was chosen."""
        self.line.setText(str(path))
        self._wait(False)

    def suggest(self, path: Path) -> None:
        """Fill the field, unless somebody named another path."""
        if self.path == self._suggested:
            self._suggested = path
            self.set_path(path)

    def _edited(self) -> None:
        self._wait(self.path is not None and self._chosen is not None)

    def _wait(self, typed: bool) -> None:
        """Let the button open what was typed, or else a dialogue."""
        self._typed = typed
        self.button.setText("Open" if typed else "Browse")
        self.button.setToolTip("Take the path that was typed (Return)" if typed else "")

    def _press(self) -> None:
        if self._typed:
            self._entered()
        else:
            self._browse()

    def _entered(self) -> None:
        self._wait(False)
        if self.path is not None and self._chosen is not None:
            self._chosen(self.path)

    def _browse(self) -> None:
        start = str(self.path or Path.home())
        if self._folder:
            found = QFileDialog.getExistingDirectory(self, "Choose a folder", start)
        else:
            found, _ = QFileDialog.getOpenFileName(
                self, "Choose a file", start, self._pattern
            )
        if found:
            self.line.setText(found)
            self._entered()


class Table(QTableWidget):
    """A read-only table of text."""

    def __init__(self, header: Sequence[str]) -> None:
        super().__init__(0, len(header))
        self.setHorizontalHeaderLabels(list(header))
        rows = self.verticalHeader()
        assert rows is not None
        rows.setVisible(False)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        header_view = self.horizontalHeader()
        assert header_view is not None
        header_view.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header_view.setStretchLastSection(True)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return the height of few rows; more is taken where there is room."""
        return QSize(super().sizeHint().width(), self.minimumSizeHint().height())

    def minimumSizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return the height of few rows and the header."""
        rows, header = self.verticalHeader(), self.horizontalHeader()
        assert rows is not None
        assert header is not None
        height = LEAST_ROWS * rows.defaultSectionSize() + header.sizeHint().height()
        return QSize(super().minimumSizeHint().width(), height)

    def sizeHintForColumn(self, column: int) -> int:  # noqa: N802 - Qt's name
        """Return the width of a column's texts, of long ones that of a part."""
        most = LONGEST_CELL * self.fontMetrics().averageCharWidth()
        return min(super().sizeHintForColumn(column), most)

    def stretch(self, column: int) -> None:
        """Let a column, in place of the last, take what room is left."""
        header = self.horizontalHeader()
        assert header is not None
        header.setStretchLastSection(False)
        header.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch)

    def fill(self, rows: Sequence[Sequence[str]], tips: Sequence[str] = ()) -> None:
        """Show rows in place of those before; a tip belongs to a column.

        Where a column has none, a tip repeats the text, which may not have room.
        """
        self.setRowCount(len(rows))
        for number, row in enumerate(rows):
            for column, text in enumerate(row):
                item = QTableWidgetItem(text)
                tip = tips[column] if column < len(tips) else ""
                item.setToolTip(tip or text)
                self.setItem(number, column, item)


def choice(names: Iterable[str]) -> QComboBox:
    """Return a box to choose one name from."""
    box = QComboBox()
    box.addItems(list(names))
    return box


class Note(QLabel):
    """A line of text that wraps, within words that are too long for a panel too."""

    def __init__(self, text: str, look: Look) -> None:
        super().__init__()
        self._look = look
        self.setWordWrap(True)
        self.setText(text)

    def setText(self, text: str | None) -> None:  # noqa: N802 - Qt's name
        """Show a text that may break where no space is."""
        super().setText(LONG_WORD.sub("\\1\u200b", text or ""))

    def set_look(self, look: Look) -> None:
        """Write it otherwise."""
        self._look = look
        self._dress()

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 - Qt's name
        """Take the colours of the theme."""
        super().showEvent(event)
        self._dress()

    def changeEvent(self, event: QEvent | None) -> None:  # noqa: N802 - Qt's name
        """Take the colours of another theme."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.StyleChange:
            self._dress()

    def _dress(self) -> None:
        parent = self.parentWidget()
        if parent is None:
            return
        # A theme's text is known by what it does to the widget around.
        text = parent.palette().color(QPalette.ColorRole.WindowText)
        dark = text.lightness() > MIDDLE
        style = self._look.on_dark if dark else self._look.on_light
        if style != self.styleSheet():  # else it would change for ever
            self.setStyleSheet(style)


def note(text: str = "", look: Look = SOFT) -> Note:
    """Return a line of text that wraps."""
    return Note(text, look)


def may_lose(parent: QWidget, title: str, text: str) -> bool:
    """Ask whether to go on where something cannot be kept; Cancel if none is chosen."""
    buttons = QMessageBox.StandardButton
    choices = buttons.Discard | buttons.Cancel
    answer = QMessageBox.warning(parent, title, text, choices, buttons.Cancel)
    return bool(answer == buttons.Discard)
