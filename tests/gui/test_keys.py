"""Keys work however their panel was opened."""

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

from link_folders import known_link, write_folder
from napari_harm3.cohort.case import TITLES
from napari_harm3.plugin.keys import CASES, EXPLAIN, REVIEW
from napari_harm3.plugin.session import Session
from napari_harm3.plugin.widgets.key_sheet import KeySheet
from window_steps import LONG, picture

pytestmark = pytest.mark.gui

SHIFT = Qt.KeyboardModifier.ShiftModifier


@pytest.fixture
def opened(viewer):
    """Return a function that opens a panel as napari's menu does."""
    return lambda name: viewer.window.add_plugin_dock_widget(
        "napari-harm3", f"HARM3 {name}"
    )


@pytest.fixture
def key(qtbot, viewer):
    """Return a function that presses a key over the canvas, as a person would."""

    def press(name, modifier=Qt.KeyboardModifier.NoModifier):
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


def test_every_key_finds_what_it_acts_on(hung):
    for panel, keys in (
        (hung.cases, CASES),
        (hung.explain, EXPLAIN),
        (hung.review, REVIEW),
    ):
        for _, act in keys.values():
            act(panel)
