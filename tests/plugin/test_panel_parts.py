"""What panels are made of: paths, tables and notes; and which cases are unread."""

import time

import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QColor, QWheelEvent
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QSlider,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)
from superqt import QLabeledDoubleSlider

from napari_harm3.jobs import review
from napari_harm3.plugin.widgets import parts
from napari_harm3.plugin.widgets.case_list import FILTERS
from napari_harm3.plugin.widgets.explain_agreement import agreement_rows
from napari_harm3.plugin.widgets.review import local_time
from napari_harm3.plugin.widgets.toggles import Toggles

pytestmark = pytest.mark.gui
LONG = "A" + "x" * 63


def said(**fields):
    return review.record(case_id="HN-1", **fields)


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ([], True),
        ([said(draft=True)], True),
        ([said()], False),
        ([said(), said(comment="a remark", draft=True)], False),
    ],
)
def test_a_case_stays_read_whatever_is_remarked_later(words, left):
    assert FILTERS["unread"](words) is left


def test_the_latest_word_decides_what_else_is_listed():
    words = [said(verdict="agree"), said(verdict="disagree", flags=["slide"])]
    for name, listed in (("flagged", True), ("disagreed", True), ("unsure", False)):
        assert FILTERS[name](words) is listed
        assert FILTERS[name]([]) is False
    assert not FILTERS["flagged"]([*words, said()])


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="its clock cannot be set")
def test_a_time_is_on_the_clock_of_the_reader(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        assert local_time("2026-01-02T20:04:05+00:00") == "2026-01-03 05:04"
        assert local_time("yesterday") == "yesterday"
    time.tzset()


def test_a_path_that_was_typed_can_be_opened_by_the_button(qtbot, tmp_path):
    opened, heard = [], []
    field = parts.PathField("cohort.csv", chosen=opened.append)
    field.changed.connect(lambda: heard.append(field.path))
    qtbot.addWidget(field)
    assert field.button.text() == "Browse"

    qtbot.keyClicks(field.line, "a")
    assert (field.button.text(), opened) == ("Open", [])
    qtbot.mouseClick(field.button, Qt.MouseButton.LeftButton)

    assert [str(path) for path in opened] == ["a"]
    assert field.button.text() == "Browse"
    field.line.clear()
    assert heard[-1] is None
    qtbot.keyClicks(field.line, "b")
    field.set_path(tmp_path)
    assert field.button.text() == "Browse"


def test_a_path_that_nobody_waits_for_is_not_opened(qtbot):
    field = parts.PathField("weights")
    qtbot.addWidget(field)
    qtbot.keyClicks(field.line, "a")
    assert field.button.text() == "Browse"


def test_a_long_name_widens_neither_a_table_nor_a_note(qtbot):
    table = parts.Table(("Case", "Slide"))
    text = parts.note(LONG)
    for widget in (table, text):
        qtbot.addWidget(widget)
    table.fill([[LONG, "yes"]], ("", "a tip"))

    assert table.columnWidth(0) < table.fontMetrics().horizontalAdvance(LONG) / 2
    assert table.item(0, 0).toolTip() == LONG
    assert table.item(0, 1).toolTip() == "a tip"
    width = text.fontMetrics().horizontalAdvance(LONG)
    assert text.minimumSizeHint().width() < 0.75 * width
    assert text.text().replace("\u200b", "") == LONG


def test_a_note_can_be_read_on_dark_and_on_light(qtbot):
    window = QWidget()
    warning = parts.note("careful", parts.WARNING)
    QVBoxLayout(window).addWidget(warning)
    qtbot.addWidget(window)
    window.show()
    for ink, paper in (("#f0f1f2", "#262930"), ("#3b3a39", "#efebe9")):
        window.setStyleSheet(f"QWidget {{ color: {ink}; background: {paper}; }}")
        for look in (parts.WARNING, parts.SOFT):
            warning.set_look(look)
            shown = warning.palette().windowText().color()
            assert contrast(shown, QColor(paper)) > 4.5


def contrast(one, other):
    """Return the ratio of WCAG 2.1 of two colours."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour):
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in colour.getRgbF()[:3]
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_field_passes_the_wheel_on_unless_it_was_chosen_before(qtbot):
    content = QWidget()
    column = QVBoxLayout(content)
    names, number, share = QComboBox(), QSpinBox(), QLabeledDoubleSlider()
    names.addItems(["a", "b", "c"])
    number.setValue(5)
    share.setValue(5)
    column.addWidget(names)
    column.addWidget(number)
    area = parts.Scrolled(content)
    qtbot.addWidget(area)
    area.show()
    QApplication.setActiveWindow(area)
    area.setFocus()
    qtbot.waitUntil(area.hasFocus)
    column.insertWidget(0, share)  # one that comes later
    QApplication.processEvents()

    for field in (names, number, share, share.findChild(QSlider)):
        assert not turn_wheel(field)
        assert field.focusPolicy() == Qt.FocusPolicy.StrongFocus
    assert (names.currentText(), number.value(), share.value()) == ("a", 5, 5)

    names.setFocus()
    qtbot.waitUntil(names.hasFocus)
    assert turn_wheel(names)
    assert names.currentText() == "b"


def turn_wheel(widget):
    """Turn the wheel over a widget; return whether it took that."""
    middle = widget.rect().center()
    event = QWheelEvent(
        QPointF(middle),
        QPointF(widget.mapToGlobal(middle)),
        QPoint(),
        QPoint(0, -120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(widget, event)
    return event.isAccepted()


def test_one_of_a_row_is_chosen_by_its_key_and_taken_back_by_the_mouse(qtbot):
    row, flags = Toggles({"1": "1", "2": "2"}), Toggles({"a": "A"}, several=True)
    for one in (row, flags):
        qtbot.addWidget(one)

    for _ in range(2):
        row.press("2")
        assert row.value == "2"
    row.buttons["2"].click()
    assert row.value is None
    for chosen in (["a"], []):
        flags.press("a")
        assert flags.chosen == chosen


def test_no_figure_is_minus_nothing():
    entry = {"value": -0.001, "chance": 0.0, "ceiling": -0.26}
    (row,) = agreement_rows({"energy": entry, "normalised": {"energy": -0.004}})
    assert row[1:] == ["0.00", "0.00", "-0.26", "0.00"]
