"""Small pieces that several panels are made of."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

WARNING = "color: #ff8a65; font-weight: 600;"
SOFT = "color: #9aa5b1;"


class Scrolled(QScrollArea):
    """What may be longer than its dock, but never wider: the dock makes room for it."""

    def __init__(self, content: QWidget) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidget(content)

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
        """Hear that the content needs another width."""
        if event is not None and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return super().eventFilter(watched, event)


class PathField(QWidget):
    """A path that is typed, or chosen in a dialogue."""

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
        self.line = QLineEdit()
        self.line.setPlaceholderText(hint)
        self.line.setToolTip(hint)
        self.line.returnPressed.connect(self._entered)
        self.button = QPushButton("Browse")
        self.button.clicked.connect(self._browse)
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
        """Fill the field, telling nobody."""
        self.line.setText(str(path))

    def _entered(self) -> None:
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
        self.setMinimumHeight(150)

    def stretch(self, column: int) -> None:
        """Let a column, in place of the last, take what room is left."""
        header = self.horizontalHeader()
        assert header is not None
        header.setStretchLastSection(False)
        header.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch)

    def fill(self, rows: Sequence[Sequence[str]], tips: Sequence[str] = ()) -> None:
        """Show rows in place of those before; a tip belongs to a column."""
        self.setRowCount(len(rows))
        for number, row in enumerate(rows):
            for column, text in enumerate(row):
                item = QTableWidgetItem(text)
                if column < len(tips):
                    item.setToolTip(tips[column])
                self.setItem(number, column, item)


def choice(names: Iterable[str]) -> QComboBox:
    """Return a box to choose one name from."""
    box = QComboBox()
    box.addItems(list(names))
    return box


def note(text: str = "", style: str = SOFT) -> QLabel:
    """Return a line of text that wraps."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setStyleSheet(style)
    return label
