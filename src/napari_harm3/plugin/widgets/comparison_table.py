"""A finished table in the panel: our figures, and the paper's beside them in grey."""

import math
from collections.abc import Mapping
from html import escape
from typing import Any

from qtpy.QtCore import QModelIndex, QPersistentModelIndex, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPalette, QResizeEvent, QTextDocument
from qtpy.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QHeaderView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableWidget,
    QTableWidgetItem,
)

from napari_harm3.jobs.report import METRICS, interval, number

COLUMNS = ("auc", "acc", "f1", "sen", "spe", "f1_macro")
HEAD = ("Method", "AUC", "ACC", "F1\npCR", "SEN", "SPE", "F1\nmacro")
HTML = Qt.ItemDataRole.UserRole
GREY = "#818b98"
OURS = QColor(86, 180, 233, 36)
"""Behind the row that the others are tested against."""

LEAST_TITLE = 91
"""Pixels into which a title is wrapped when there is no room for it."""

TESTS = {"sen": "sen_p", "spe": "spe_p"}
"""Where McNemar's p of a column stands."""

Index = QModelIndex | QPersistentModelIndex
Result = Mapping[str, Any]


class ComparisonTable(QTableWidget):
    """One row a method, the best AUC first; the best figure of a column is bold."""

    def __init__(self) -> None:
        super().__init__(0, 1 + len(COLUMNS))
        self.setHorizontalHeaderLabels(list(HEAD))
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setItemDelegate(_Lines(self))
        rows, columns = self.verticalHeader(), self.horizontalHeader()
        assert rows is not None
        assert columns is not None
        rows.setVisible(False)
        columns.setMinimumSectionSize(40)
        columns.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)

    def show_result(self, result: Result) -> None:
        """Show a table as ``harm3 reproduce`` writes it."""
        rows = sorted(
            result["rows"], key=lambda row: -(row["metrics"]["auc"]["mean"] or 0)
        )
        titles = {row["method"]: row["title"] for row in rows}
        ours = str(titles.get(result["reference"], result["reference"]))
        best = {key: _best(rows, key) for key in COLUMNS}
        self.setRowCount(len(rows))
        for at, row in enumerate(rows):
            items = [_title(row, against_words(row["against"], ours))]
            items += [_figure(row, key, best[key], ours) for key in COLUMNS]
            for column, item in enumerate(items):
                if row["method"] == result["reference"]:
                    item.setBackground(OURS)
                self.setItem(at, column, item)
        self._lay_out()

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802 - Qt's name
        """Share out the width anew."""
        super().resizeEvent(event)
        self._lay_out()

    def _lay_out(self) -> None:
        """Give titles their room, then share the rest; the height holds every row."""
        viewport, head = self.viewport(), self.horizontalHeader()
        assert viewport is not None
        assert head is not None
        wanted = [
            max(self.sizeHintForColumn(column), head.sectionSizeHint(column))
            for column in range(self.columnCount())
        ]
        rest = viewport.width() - sum(wanted[1:])
        title = max(min(wanted[0], rest), LEAST_TITLE)
        more = max(rest - title, 0) // self.columnCount()
        for column, width in enumerate([title, *wanted[1:]]):
            self.setColumnWidth(column, width + more)
        self.resizeRowsToContents()
        rows = sum(self.rowHeight(row) for row in range(self.rowCount()))
        bar = self.horizontalScrollBar()
        fits = sum([title, *wanted[1:]]) <= viewport.width() or bar is None
        below = 0 if fits or bar is None else bar.sizeHint().height()
        frame = 2 * self.frameWidth()
        self.setFixedHeight(head.sizeHint().height() + rows + below + frame)


class _Lines(QStyledItemDelegate):
    """Draws a cell of several lines, each in its own ink."""

    def paint(
        self, painter: QPainter | None, option: QStyleOptionViewItem, index: Index
    ) -> None:
        assert painter is not None
        cell = QStyleOptionViewItem(option)
        self.initStyleOption(cell, index)  # type: ignore[arg-type]  # per binding
        cell.text = ""
        style = QApplication.style() if cell.widget is None else cell.widget.style()
        assert style is not None
        element = QStyle.ControlElement.CE_ItemViewItem
        style.drawControl(element, cell, painter, cell.widget)
        document = _document(cell, index)
        painter.save()
        painter.translate(cell.rect.topLeft())
        document.drawContents(painter)
        painter.restore()

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:  # noqa: N802 - Qt's
        document = _document(option, index)
        return QSize(math.ceil(document.idealWidth()), int(document.size().height()))


def against_words(against: Mapping[str, Any] | None, ours: str) -> str:
    """Return what the tests say of a method against the reference."""
    if against is None:
        return ""
    auc, gap = against["auc"], against["auc"]["difference"]
    if gap is None:
        return f"Against {ours}: not defined."
    low, high = auc["ci95"]
    return (
        f"Against {ours}: AUC {gap:+.3f}, 95 % CI [{low:+.3f}, {high:+.3f}]\n"
        f"DeLong {_p(auc['p'])}, after Holm {_p(against['p_holm'])}, "
        f"corrected t {_p(against['corrected_t']['p'])}"
    )


def _p(p: float | None) -> str:
    if p is None:
        return "p not defined"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _title(row: Result, tests: str) -> QTableWidgetItem:
    item = QTableWidgetItem(row["title"])
    words = escape(row["title"])
    item.setData(
        HTML,
        f"{words}<br><small><font color='{GREY}'>"
        f"{escape(row['inputs']) or 'labels'}</font></small>",
    )
    item.setToolTip("\n".join(filter(None, [row["method"], tests])))
    return item


def _figure(row: Result, key: str, best: str | None, ours: str) -> QTableWidgetItem:
    entry, reported = row["metrics"][key], row["reported"] or {}
    mean, (low, high) = number(entry["mean"]), entry["ci95"]
    main = f"<b>{mean}</b>" if mean == best else mean
    small = []
    if entry["sd"] is not None:
        small.append(f"±{entry['sd']:.2f}")
    if key == "auc" and low is not None:
        small.append(f"{low:.2f}\u2013{high:.2f}")
    lines = [main, *(f"<small>{line}</small>" for line in small)]
    if key in reported:
        said = f"<font color='{GREY}'>{reported[key]:.3f}</font>"
        lines.append(f"<small><i>{said}</i></small>")
    item = QTableWidgetItem(mean)
    item.setData(HTML, f"<div align='right'>{'<br>'.join(lines)}</div>")
    item.setToolTip(_tip(row, key, ours))
    return item


def _tip(row: Result, key: str, ours: str) -> str:
    entry, against = row["metrics"][key], row["against"]
    spread = "" if entry["sd"] is None else f" (sd {number(entry['sd'])} over folds)"
    said = [f"{row['title']}, {METRICS[key]}: {number(entry['mean'])}{spread}"]
    said.append(
        f"95 % CI {interval(*entry['ci95'])}; folds pooled {number(entry['pooled'])}"
    )
    if key in (row["reported"] or {}):
        table = row["reported"]["table"]
        said.append(f"The paper prints {row['reported'][key]:.4f} ({table})")
    if key == "auc":
        said.append(against_words(against, ours))
    elif against is not None and key in TESTS:
        said.append(f"Against {ours}: McNemar {_p(against[TESTS[key]])}")
    return "\n".join(filter(None, said))


def _best(rows: list[Any], key: str) -> str | None:
    """Return the best figure as printed, so that what looks equal is equal."""
    means = [row["metrics"][key]["mean"] for row in rows]
    given = [mean for mean in means if mean is not None]
    return number(max(given)) if len(given) > 1 else None


def _document(option: QStyleOptionViewItem, index: Index) -> QTextDocument:
    document = QTextDocument()
    document.setDocumentMargin(3)
    document.setDefaultFont(option.font)
    ink = option.palette.color(QPalette.ColorRole.Text).name()
    document.setHtml(f"<div style='color: {ink}'>{index.data(HTML) or ''}</div>")
    room = option.rect.width()
    ideal = document.idealWidth()
    # Titles wrap; figures stand at the right of the room they have.
    titled = index.column() == 0 and room > 0
    document.setTextWidth(room if titled else max(ideal, room))
    return document
