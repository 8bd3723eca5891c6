"""A grid of methods and folds that shows how far each is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QHelpEvent, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_harm3.plugin.widgets.curve import SMALL, inks

Kind = Literal["waiting", "running", "halted", "done", "failed"]
COLOURS = {"running": "#56b4e9", "halted": "#8a8f98", "done": "#009e73"}
FAILED = "#d55e00"
WORDS = {
    "waiting": "waiting",
    "running": "running",
    "halted": "begun",
    "done": "done",
    "failed": "failed",
}
ROW, GAP, HEAD, FOOT = 20, 3, 18, 24
WIDEST = 56
TITLE_SHARE = 0.42


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A fold of a method."""

    kind: Kind
    share: float = 0.0
    """Which part of it is done."""

    tip: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A method."""

    title: str
    cells: tuple[Cell, ...]
    result: str = ""
    """What came of it."""


class FoldGrid(QWidget):
    """One row a method, one square a fold; a tip says more."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: tuple[Row, ...] = ()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def draw(self, rows: Sequence[Row]) -> None:
        """Show rows in place of those before."""
        if tuple(rows) == self.rows:
            return
        taller = len(rows) != len(self.rows)
        self.rows = tuple(rows)
        if taller:
            self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return a size that has room for every row."""
        height = HEAD + len(self.rows) * (ROW + GAP) + FOOT if self.rows else 0
        return QSize(300, height)

    def minimumSizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return the same: a grid that is cut off says nothing."""
        return QSize(200, self.sizeHint().height())

    def cell_at(self, place: QPointF) -> Cell | None:
        """Return what is drawn at a place."""
        for number, row in enumerate(self.rows):
            for fold, cell in enumerate(row.cells):
                if self._box(number, fold).contains(place):
                    return cell
        return None

    def event(self, event: QEvent | None) -> bool:
        """Say more of the square below the mouse."""
        if isinstance(event, QHelpEvent):
            cell = self.cell_at(QPointF(event.pos()))
            QToolTip.showText(event.globalPos(), "" if cell is None else cell.tip, self)
            return True
        return super().event(event)

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Draw titles, squares, and what their colours mean."""
        super().paintEvent(event)
        if not self.rows:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink, soft, _ = inks(self.palette())
        left = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        metrics = painter.fontMetrics()
        for number, row in enumerate(self.rows):
            top = HEAD + number * (ROW + GAP)
            width = self._title_width()
            painter.setPen(ink)
            text = metrics.elidedText(row.title, Qt.TextElideMode.ElideRight, width - 8)
            painter.drawText(QRectF(2, top, width - 8, ROW), left, text)
            for fold, cell in enumerate(row.cells):
                _draw(painter, self._box(number, fold), cell, soft)
            end = self._box(number, max(len(row.cells), 1) - 1).right() + 8
            painter.setPen(soft)
            painter.drawText(
                QRectF(end, top, self.width() - end, ROW), left, row.result
            )
        font = painter.font()
        font.setPointSizeF(font.pointSizeF() * SMALL)
        painter.setFont(font)
        self._draw_head(painter)
        self._draw_legend(painter)

    def _folds(self) -> int:
        return max((len(row.cells) for row in self.rows), default=0)

    def _title_width(self) -> int:
        widest = max(self.fontMetrics().horizontalAdvance(r.title) for r in self.rows)
        return min(widest + 14, int(self.width() * TITLE_SHARE))

    def _box(self, row: int, fold: int) -> QRectF:
        first = self._title_width()
        room = self.width() - first - 60
        width = min(max(room / max(self._folds(), 1), 6), WIDEST)
        top = HEAD + row * (ROW + GAP)
        return QRectF(first + fold * width, top, width - GAP, ROW)

    def _draw_head(self, painter: QPainter) -> None:
        _, soft, _ = inks(self.palette())
        painter.setPen(soft)
        every = max(round(18 / max(self._box(0, 0).width() + GAP, 1)), 1)
        for fold in range(0, self._folds(), every):
            box = self._box(0, fold)
            place = QRectF(box.left() - 6, 0, box.width() + 12, HEAD - 3)
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, str(fold))
        place = QRectF(0, 0, self._title_width() - 8, HEAD - 3)
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(place, right, "fold")

    def _draw_legend(self, painter: QPainter) -> None:
        _, soft, _ = inks(self.palette())
        x, top = 2.0, self.sizeHint().height() - FOOT + 8.0
        kinds = [kind for kind in WORDS if self._has(kind)]
        for kind in kinds:
            cell = Cell(kind=kind, share=0.6)  # type: ignore[arg-type]  # keys of WORDS
            _draw(painter, QRectF(x, top, 13, 13), cell, soft)
            painter.setPen(soft)
            painter.drawText(QPointF(x + 18, top + 11), WORDS[kind])
            x += 18 + painter.fontMetrics().horizontalAdvance(WORDS[kind]) + 14

    def _has(self, kind: str) -> bool:
        return any(cell.kind == kind for row in self.rows for cell in row.cells)


def _draw(painter: QPainter, box: QRectF, cell: Cell, soft: QColor) -> None:
    """Draw a square: its colour and its sign both say what it is."""
    painter.setPen(QPen(soft, 1))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    frame = box.adjusted(0.5, 0.5, -0.5, -0.5)
    painter.drawRoundedRect(frame, 3, 3)
    if cell.kind == "waiting":
        return
    filled = QRectF(frame)
    if cell.kind in ("running", "halted"):
        filled.setWidth(max(frame.width() * cell.share, 3))
    colour = QColor(COLOURS.get(cell.kind, FAILED))
    painter.setPen(QPen(colour, 1))
    painter.setBrush(colour)
    painter.drawRoundedRect(filled, 3, 3)
    if cell.kind == "running":
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(frame, 3, 3)
    centre = box.center()
    painter.setPen(QPen(QColor("#ffffff"), 1.6))
    if cell.kind == "done":
        around = ((-4, 0), (-1, 3), (4, -3))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPolyline(QPolygonF([centre + QPointF(*at) for at in around]))
    elif cell.kind == "failed":
        painter.drawLine(centre + QPointF(-3, -3), centre + QPointF(3, 3))
        painter.drawLine(centre + QPointF(-3, 3), centre + QPointF(3, -3))
