"""Keys work however their panel was opened."""

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QLabel, QLineEdit

from link_folders import known_link, write_folder
from napari_harm3.cohort.case import TITLES
from napari_harm3.plugin.keys import CASES, EXPLAIN, REVIEW, STEP
from napari_harm3.plugin.session import Session
from napari_harm3.plugin.widgets.key_sheet import KeySheet
from window_steps import LONG, picture, to_front

pytestmark = pytest.mark.gui

PLAIN = Qt.KeyboardModifier.NoModifier
SHIFT = Qt.KeyboardModifier.ShiftModifier
CONTROL = Qt.KeyboardModifier.ControlModifier


@pytest.fixture
def opened(viewer):
    """Return a function that opens a panel as napari's menu does."""
    return lambda name: viewer.window.add_plugin_dock_widget(
        "napari-harm3", f"HARM3 {name}"
    )


@pytest.fixture
def key(qtbot, viewer):
    """Return a function that presses a key over the canvas, as a person would."""

    def press(name, modifier=PLAIN):
        canvas = viewer.window._qt_viewer.canvas.native
        qtbot.keyClick(canvas, getattr(Qt.Key, f"Key_{name}"), modifier)

    return press


def test_each_panel_brings_its_own_keys(
    qtbot, viewer, opened, key, prepared_cohort, tmp_path
):
    opened("Cases")
    session = Session.of(viewer)
    session.open_cohort(prepared_cohort)
    with qtbot.waitSignal(session.case_drawn, timeout=LONG):
        key("Down", SHIFT)
    assert session.case.case_id == "HN-0001"
    annotation = viewer.layers[f"{TITLES['t1_pre']}, annotation"]
    seen = annotation.visible
    key("R", SHIFT)
    assert annotation.visible != seen

    _, explain = opened("Explain")
    case = session.case
    folder = write_folder(tmp_path / "e", case, link=known_link(case.case_id))
    with qtbot.waitSignals([explain.drawn, explain.link.ready], timeout=LONG):
        explain.load(folder)
    heat = viewer.layers[f"{TITLES['t1_pre']}, heat"]
    assert heat.visible
    key("H", SHIFT)
    assert not heat.visible
    key("K", SHIFT)
    assert explain.link.button.isChecked()
    before = explain.threshold.value()
    key("PageUp")
    assert explain.threshold.value() > before

    key("F1")
    key("F1")
    (sheet,) = viewer.window._qt_window.findChildren(KeySheet)
    assert sheet.isVisible()
    said = "".join(label.text() for label in sheet.findChildren(QLabel))
    assert all(f"<b>{name}</b>" in said for name in (*CASES, *EXPLAIN, *REVIEW))
    picture(viewer, tmp_path, "keys")


def test_a_panel_that_is_opened_again_is_the_one_that_hears(qtbot, viewer, opened, key):
    dock, first = opened("Explain")
    dock.destroyOnClose()
    _, second = opened("Explain")
    assert second is not first

    before = first.threshold.value()
    key("PageDown")

    assert second.threshold.value() < before
    assert first.threshold.value() == before


@pytest.fixture
def typed(qtbot, viewer):
    """Return a function that presses a key where the focus is put first."""

    def press(widget, name, modifier=PLAIN):
        to_front(widget)
        QApplication.setActiveWindow(viewer.window._qt_window)
        widget.setFocus()
        qtbot.waitUntil(widget.hasFocus)
        qtbot.keyClick(widget, getattr(Qt.Key, f"Key_{name}"), modifier)

    return press


def test_a_table_leaves_the_keys_to_the_panels(qtbot, hung, viewer, typed):
    session, table = hung.session, hung.cases.list.table
    with qtbot.waitSignal(session.case_drawn, timeout=LONG):
        typed(table, "Down", SHIFT)
    assert session.case.case_id == "HN-0003"

    opacity = hung.explain.opacity.value()
    typed(table, "PageDown", SHIFT)
    assert hung.explain.opacity.value() == pytest.approx(opacity - STEP)
    typed(table, "F", SHIFT)
    assert hung.review.flags.chosen == ["look again"]
    annotation = viewer.layers[f"{TITLES['t1_pre']}, annotation"]
    seen = annotation.visible
    typed(table, "R", SHIFT)
    assert annotation.visible != seen


def test_a_key_acts_once_in_every_panel(hung, typed):
    before = hung.explain.threshold.value()
    for button in (hung.explain.choices.also["occlusion"], hung.slide.outline):
        typed(button, "PageDown")
    typed(hung.train.one.findChild(QLineEdit), "PageDown")
    assert hung.explain.threshold.value() == pytest.approx(before - 3 * STEP)


def test_a_comment_keeps_its_letters_and_leaves_the_other_keys(qtbot, hung, typed):
    review = hung.review
    for name, modifier in (("H", SHIFT), ("F", SHIFT), ("Return", PLAIN), ("2", PLAIN)):
        typed(review.comment, name, modifier)
    for name in "23":
        typed(review.comment, name, CONTROL)
    assert review.comment.toPlainText().lower() == "hf\n2"
    assert review.flags.chosen == []
    assert review.confidence.value == "3"

    with qtbot.waitSignal(hung.session.case_drawn, timeout=LONG):
        typed(review.comment, "Return", SHIFT)

    assert hung.session.case.case_id == "HN-0003"
    assert review.comment.toPlainText() == ""


def test_every_key_finds_what_it_acts_on(hung):
    for panel, keys in (
        (hung.cases, CASES),
        (hung.explain, EXPLAIN),
        (hung.review, REVIEW),
    ):
        for _, act in keys.values():
            act(panel)
