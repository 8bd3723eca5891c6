"""A plot of values over epochs, one line a fold."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from qtpy.QtGui import (
    QColor,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
    QPolygonF,
)
from qtpy.QtWidgets import QSizePolicy, QWidget

COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#d55e00")
"""Of Okabe and Ito: told apart by the colour-blind too, on dark and on light."""

STYLES = (
    Qt.PenStyle.SolidLine,
    Qt.PenStyle.DashLine,
    Qt.PenStyle.DotLine,
    Qt.PenStyle.DashDotLine,
)
"""Tell folds apart that share a colour."""

Line = Mapping[int, float]
LEFT, TOP, RIGHT, BOTTOM = 46, 30, 12, 20
TITLE = 15
"""Pixels from the top to the line on which title and legend stand."""

SMALL = 0.85
"""Figures at the axes are this much smaller than the rest of the window."""

TALLEST = 300
NEAR = 30.0
"""Pixels from a point within which it is named."""


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """From epochs and values to pixels."""

    area: QRectF
    low: float
    high: float
    longest: int

    def place(self, epoch: float, value: float) -> QPointF:
        across = (epoch - 1) / max(self.longest - 1, 1)
        up = (value - self.low) / (self.high - self.low)
        return QPointF(
            self.area.left() + across * self.area.width(),
            self.area.bottom() - up * self.area.height(),
        )


class Curve(QWidget):
    """Lines with axes and a legend; the point below the mouse is named.

    Parameters
    ----------
    title
        What is drawn.
    bounds
        Of the values; what is drawn decides, where they are not given.
    level
        A value worth a line of its own.
    """

    def __init__(
        self,
        title: str,
        *,
        bounds: tuple[float, float] | None = None,
        level: float | None = None,
    ) -> None:
        super().__init__()
        self.title, self.bounds, self.level = title, bounds, level
        self.lines: dict[int, dict[int, float]] = {}
        self.marks: dict[int, tuple[int, float]] = {}
        self.epochs = 0
        self.hovered: tuple[int, int, float] | None = None
        """Fold, epoch and value of the point below the mouse."""

        self.setMouseTracking(True)
        self.setMinimumSize(180, 140)
        self.setMaximumHeight(TALLEST)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return a size at which all is legible."""
        return QSize(360, 170)

    def draw(
        self,
        lines: Mapping[int, Line],
        marks: Mapping[int, tuple[int, float]] | None = None,
        *,
        epochs: int = 0,
    ) -> None:
        """Show lines in place of those before.

        Parameters
        ----------
        lines
            Values by epoch, by fold.
        marks
            Epoch and value of a single point, by fold.
        epochs
            How far the axis goes at least.
        """
        self.lines = {fold: dict(line) for fold, line in lines.items() if line}
        self.marks = dict(marks or {})
        self.epochs = epochs
        self.update()

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802 - Qt's
        """Name the nearest point."""
        if event is not None:
            self.hovered = self._nearest(event.position())
            self.update()

    def leaveEvent(self, event: QEvent | None) -> None:  # noqa: N802 - Qt's name
        """Name nothing."""
        super().leaveEvent(event)
        self.hovered = None
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Draw axes, lines, marks and the name of what is below the mouse."""
        super().paintEvent(event)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = painter.font()
        font.setPointSizeF(font.pointSizeF() * SMALL)
        painter.setFont(font)
        scale = self._scale()
        self._draw_axes(painter, scale)
        self._draw_legend(painter)
        painter.setClipRect(scale.area.adjusted(-5, -5, 5, 5))
        for fold, line in self.lines.items():
            painter.setPen(pen_of(fold))
            places = [scale.place(*point) for point in sorted(line.items())]
            painter.drawPolyline(QPolygonF(places))
            if len(places) == 1:
                painter.drawEllipse(places[0], 1.5, 1.5)
        for fold, point in self.marks.items():
            _draw_mark(painter, scale.place(*point), QColor(colour_of(fold)))
        painter.setClipping(False)
        self._draw_hovered(painter, scale)

    def _points(self) -> dict[tuple[int, int], float]:
        points = {(f, e): v for f, line in self.lines.items() for e, v in line.items()}
        return points | {(f, e): v for f, (e, v) in self.marks.items()}

    def _scale(self) -> _Scale:
        points = self._points()
        values = [*points.values(), *(self.bounds or ())]
        low, high = (min(values), max(values)) if values else (0.0, 1.0)
        if self.bounds is None:
            margin = (high - low) * 0.06 or 0.1
            low, high = low - margin, high + margin
        area = QRectF(self.rect()).adjusted(LEFT, TOP, -RIGHT, -BOTTOM)
        longest = max([self.epochs, *(epoch for _, epoch in points)])
        return _Scale(area=area, low=low, high=high, longest=longest)

    def _nearest(self, place: QPointF) -> tuple[int, int, float] | None:
        scale = self._scale()
        found = [
            (math.hypot(at.x() - place.x(), at.y() - place.y()), fold, epoch, value)
            for (fold, epoch), value in self._points().items()
            for at in (scale.place(epoch, value),)
        ]
        if not found:
            return None
        distance, fold, epoch, value = min(found)
        return (fold, epoch, value) if distance <= NEAR else None

    def _draw_axes(self, painter: QPainter, scale: _Scale) -> None:
        ink, soft, faint = inks(self.palette())
        area = scale.area
        painter.setPen(ink)
        painter.drawText(QPointF(8, TITLE), self.title)
        for value in _ticks(scale.low, scale.high, max(int(area.height() / 32), 2)):
            y = scale.place(1, value).y()
            painter.setPen(QPen(faint, 1))
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            painter.setPen(soft)
            box = QRectF(0, y - 8, LEFT - 5, 16)
            right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            painter.drawText(box, right, f"{value:.3g}")
        if self.level is not None:
            y = scale.place(1, self.level).y()
            painter.setPen(QPen(soft, 1, Qt.PenStyle.DashLine))
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
        painter.setPen(soft)
        if not self._points():
            above = area.adjusted(0, 0, 0, -area.height() / 2)
            painter.drawText(above, Qt.AlignmentFlag.AlignCenter, "nothing yet")
            return
        for epoch in _epoch_ticks(scale.longest, max(int(area.width() / 50), 2)):
            box = QRectF(scale.place(epoch, 0).x() - 20, area.bottom() + 3, 40, 15)
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, str(epoch))
        box = QRectF(0, area.bottom() + 3, LEFT - 10, 15)
        painter.drawText(box, Qt.AlignmentFlag.AlignRight, "epoch")

    def _draw_legend(self, painter: QPainter) -> None:
        _, soft, _ = inks(self.palette())
        metrics = painter.fontMetrics()
        left = 8 + metrics.horizontalAdvance(self.title) + 14
        right = self.width() - RIGHT
        folds = sorted({*self.lines, *self.marks})
        widths = [22 + metrics.horizontalAdvance(str(fold)) for fold in folds]
        while folds and left + sum(widths) > right - 34:
            folds.pop()
            widths.pop()
        if not folds:
            return
        x = right - sum(widths) + 6
        painter.setPen(soft)
        painter.drawText(QPointF(x - 32, TITLE), "fold")
        for fold, width in zip(folds, widths, strict=True):
            painter.setPen(pen_of(fold))
            painter.drawLine(QPointF(x, TITLE - 4), QPointF(x + 10, TITLE - 4))
            painter.setPen(soft)
            painter.drawText(QPointF(x + 13, TITLE), str(fold))
            x += width

    def _draw_hovered(self, painter: QPainter, scale: _Scale) -> None:
        if self.hovered is None:
            return
        fold, epoch, value = self.hovered
        ink, _, _ = inks(self.palette())
        at = scale.place(epoch, value)
        painter.setPen(QPen(ink, 1.5))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawEllipse(at, 4.5, 4.5)
        text = f"fold {fold}, epoch {epoch}: {value:.3f}"
        width = painter.fontMetrics().horizontalAdvance(text) + 12
        left = min(max(at.x() + 10, LEFT), self.width() - width - 2)
        top = at.y() - 28 if at.y() > TOP + 30 else at.y() + 10
        box = QRectF(left, top, width, 20)
        painter.setPen(QPen(QColor(colour_of(fold)), 1))
        painter.setBrush(self.palette().color(QPalette.ColorRole.Window))
        painter.drawRoundedRect(box, 3, 3)
        painter.setPen(ink)
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, text)


def colour_of(fold: int) -> str:
    """Return the colour of a fold."""
    return COLOURS[fold % len(COLOURS)]


def pen_of(fold: int) -> QPen:
    """Return what a fold's line is drawn with."""
    style = STYLES[fold // len(COLOURS) % len(STYLES)]
    return QPen(QColor(colour_of(fold)), 2, style)


def inks(palette: QPalette) -> tuple[QColor, QColor, QColor]:
    """Return the window's ink, and two softer ones."""
    shades = [palette.color(QPalette.ColorRole.WindowText) for _ in range(3)]
    for shade, alpha in zip(shades, (235, 150, 38), strict=True):
        shade.setAlpha(alpha)
    return shades[0], shades[1], shades[2]


def _draw_mark(painter: QPainter, at: QPointF, colour: QColor) -> None:
    """Draw a diamond, that no line hides."""
    painter.setPen(QPen(QColor("#ffffff"), 1))
    painter.setBrush(colour)
    around = ((0, -6), (5, 0), (0, 6), (-5, 0))
    painter.drawPolygon(QPolygonF([at + QPointF(*offset) for offset in around]))


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Return round values between two, no more than asked for.

    Examples
    --------
    >>> _ticks(0.0, 1.0, 5)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    power = 10 ** math.floor(math.log10((high - low) / most))
    step = next(s * power for s in (1, 2, 5, 10) if (high - low) / (s * power) <= most)
    first = math.ceil(low / step - 1e-9)
    values = itertools.takewhile(
        lambda value: value <= high + step * 1e-9,
        (round(number * step, 10) for number in itertools.count(first)),
    )
    return list(values)


def _epoch_ticks(longest: int, most: int) -> list[int]:
    if longest <= most:
        return list(range(1, longest + 1))
    steps = (s * p for p in (1, 10, 100, 1000) for s in (1, 2, 5))
    step = next(step for step in steps if longest / step <= most)
    return [1, *range(step, longest + 1, step)] if step > 1 else []
