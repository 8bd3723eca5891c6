"""The real window: a case hangs, the worker explains it, the reader decides."""

import json

import numpy as np
import pytest
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication, QMessageBox, QTabBar

from napari_harm3.cohort.case import ROLES, TITLES
from napari_harm3.worker.messages import Answer
from window_steps import LONG, picture, press

pytestmark = pytest.mark.gui


def test_a_case_hangs_two_by_two_with_its_slide(hung, viewer, tmp_path):
    names = [layer.name for layer in viewer.layers]

    assert len(names) == 12
    assert [name for name in names if name in TITLES.values()] == [
        TITLES[role] for role in ROLES
    ]
    assert viewer.canvas.grid.enabled
    assert viewer.canvas.grid.stride == 3
    image, annotation = viewer.layers[0], viewer.layers[2]
    assert image.data.shape == annotation.data.shape
    assert annotation.data.any()
    assert "Oblique" in hung.cases.status.text()
    assert hung.session.slide_view().model.layers["slide"].visible
    picture(viewer, tmp_path, "case")


def test_the_names_of_the_panels_can_be_read(qtbot, workspace, viewer):
    qtbot.wait(100)  # the docks are arranged once the window is laid out
    bars = viewer.window._qt_window.findChildren(QTabBar)
    (bar,) = [bar for bar in bars if "Explain" in names_of(bar)]

    assert names_of(bar) == ["Explain", "Review", "Slide", "Train"]
    for number in range(bar.count()):
        text = bar.fontMetrics().horizontalAdvance(bar.tabText(number))
        assert bar.tabRect(number).width() > text


def names_of(bar):
    return [bar.tabText(number) for number in range(bar.count())]


def test_next_and_previous_walk_through_the_cases(qtbot, hung):
    first = hung.session.case.case_id
    with qtbot.waitSignal(hung.session.case_drawn, timeout=LONG):
        press(qtbot, hung.cases.next_button)
    assert hung.session.case.case_id == "HN-0003"
    with qtbot.waitSignal(hung.session.case_drawn, timeout=LONG):
        press(qtbot, hung.cases.previous_button)
    assert hung.session.case.case_id == first


def test_a_case_is_exchanged_in_one_batch(qtbot, hung, viewer):
    """Else napari lays its scene anew for each of the twelve layers: seconds."""
    told = []
    for name in ("begin_batch", "removed", "inserted", "end_batch"):
        event = getattr(viewer.layers.events, name)
        event.connect(lambda event: told.append(event.type))

    with qtbot.waitSignal(hung.session.case_drawn, timeout=LONG):
        press(qtbot, hung.cases.next_button)

    layers = len(viewer.layers)
    assert told == [
        "begin_batch",
        *["removed"] * layers,
        *["inserted"] * layers,
        "end_batch",
    ]


def test_a_filter_leaves_the_cases_that_match(qtbot, hung):
    qtbot.keyClicks(hung.cases.list.filter, "0010")
    assert hung.cases.list.table.rowCount() == 1
    hung.cases.list.filter.setText("nobody")
    assert not hung.cases.open_button.isEnabled()


def test_the_worker_explains_the_case_and_the_maps_lie_over_it(
    qtbot, hung, viewer, run, tmp_path
):
    explain, review = hung.explain, hung.review
    assert not explain.compute_button.isEnabled()
    explain.model_path.line.setText(str(run))
    qtbot.keyClick(explain.model_path.line, Qt.Key.Key_Return)

    with qtbot.waitSignal(explain.drawn, timeout=LONG):
        press(qtbot, explain.compute_button)

    heats = [layer for layer in viewer.layers if layer.name.endswith("heat")]
    images = [layer for layer in viewer.layers if layer.name in TITLES.values()]
    for image, heat in zip(images, heats, strict=True):
        assert heat.data.shape == image.data.shape
        np.testing.assert_allclose(heat.translate, image.translate)
    assert any(heat.visible for heat in heats)
    assert "held-out" in explain.probability.text()
    assert "made-up" in explain.origin.text()
    assert explain.figures.table.rowCount() >= 4
    assert len(hung.session.slide_view().attention.data) > 0

    explain.threshold.setValue(0.6)
    explain.opacity.setValue(0.4)
    peak = hung.session.hanging.peak
    assert heats[0].contrast_limits[0] == pytest.approx(0.6 * peak, rel=1e-3)
    assert heats[0].opacity == pytest.approx(0.4)
    explain.threshold.setValue(0.35)
    explain.opacity.setValue(0.8)
    qtbot.wait(500)
    picture(viewer, tmp_path, "explained")

    press(qtbot, review.verdict.buttons["disagree"])
    review.comment.setPlainText("looks at the jaw")
    with qtbot.waitSignal(hung.session.case_drawn, timeout=LONG):
        press(qtbot, review.save_button)
    saved = hung.session.work / "reviews" / "HN-0002.json"
    record = json.loads(saved.read_text())["reviews"][-1]
    assert record["verdict"] == "disagree"
    assert record["comment"] == "looks at the jaw"
    assert 0 <= record["probability"] <= 1
    assert hung.session.case.case_id == "HN-0003"
    assert review.verdict.value is None
    assert not review.save_button.isEnabled()


def test_a_finer_layer_is_drawn_and_the_panel_says_so(qtbot, hung, run):
    explain = hung.explain
    explain.model_path.set_path(run)
    hung.session.case_changed.emit(hung.session.case)
    explain.choices.fields["method"].value = "layercam"
    explain.choices.layer.setCurrentText("stage1")

    with qtbot.waitSignal(explain.drawn, timeout=LONG):
        press(qtbot, explain.compute_button)

    folder = hung.session.explanation["folder"]
    assert "8 x 24 x 24 mm" in explain.status.text()
    # What was chosen last is not what is shown.
    explain.choices.layer.setCurrentText("last")
    assert "Made by layercam, stage1." in explain.status.text()
    with qtbot.waitSignal(explain.drawn, timeout=LONG):
        explain.load(folder)
    assert explain.choices.layer.currentText() == "stage1"


def test_an_explanation_can_be_cancelled_and_the_window_lives(qtbot, hung, run):
    explain = hung.explain
    explain.model_path.set_path(run)
    hung.session.case_changed.emit(hung.session.case)
    press(qtbot, explain.compute_button)
    (listener,) = hung.session.client._listeners.values()
    press(qtbot, explain.cancel_button)
    listener.progress(Answer(id=1, kind="progress", text="maps", step=1, of=4))
    assert explain.status.text() == "Cancelling ..."
    assert not explain.cancel_button.isEnabled()
    qtbot.waitUntil(lambda: explain.status.text() == "Cancelled.", timeout=LONG)
    assert explain.compute_button.isEnabled()
    assert not explain.cancel_button.isEnabled()
    assert explain.progress.text() == ""


def test_the_panel_says_what_is_left_to_do(hung, tmp_path):
    explain = hung.explain
    assert explain.status.text() == "HN-0002: choose a model, then press Compute."

    explain.model_path.set_path(tmp_path)
    assert explain.status.text() == "HN-0002: press Compute."
    assert explain.compute_button.isEnabled()
    explain.model_path.line.clear()
    assert explain.status.text() == "HN-0002: choose a model, then press Compute."


def test_no_figure_is_shown_before_a_case_is_open(workspace):
    assert workspace.explain.probability.text() == "not computed"


def test_a_worker_that_dies_is_told_and_started_anew(qtbot, hung, run):
    explain = hung.explain
    explain.model_path.set_path(run)
    hung.session.case_changed.emit(hung.session.case)
    press(qtbot, explain.compute_button)
    hung.session.client._process.kill()
    qtbot.waitUntil(
        lambda: "worker process ended" in explain.status.text(), timeout=LONG
    )

    with qtbot.waitSignal(explain.drawn, timeout=LONG):
        press(qtbot, explain.compute_button)


def test_a_cohort_that_is_not_in_order_changes_nothing(qtbot, hung, tmp_path):
    from napari.utils.notifications import notification_manager

    bad = tmp_path / "cohort.csv"
    bad.write_text("case_id,pcr\nA,7\n")

    hung.cases.open_cohort(bad)

    assert hung.session.case.case_id == "HN-0002"
    assert "'7' is not 0, 1 or blank" in notification_manager.records[-1].message


@pytest.mark.parametrize("agreed", [True, False])
def test_files_outside_the_folder_are_opened_when_agreed(
    qtbot, workspace, prepared_cohort, tmp_path, agreed
):
    table = tmp_path / "cohort.csv"
    table.write_text(f"case_id,wsi\nA,{prepared_cohort.parent}/HN-0001/biopsy.tif\n")
    chosen = "Yes" if agreed else "No"

    def answer():
        box = QApplication.activeModalWidget()
        assert "1 files that lie outside" in box.text()
        box.button(getattr(QMessageBox.StandardButton, chosen)).click()

    QTimer.singleShot(500, answer)
    workspace.cases.open_cohort(table)

    assert (workspace.session.cohort is not None) == agreed
    assert workspace.session.allow_external == agreed


def test_volumes_slides_and_cohorts_open_from_the_menu(qtbot, viewer, prepared_cohort):
    folder = prepared_cohort.parent / "HN-0001"
    (image,) = viewer.open(str(folder / "t1_pre.nii.gz"), plugin="napari-harm3")
    (mask,) = viewer.open(str(folder / "mask_t1_pre.nii.gz"), plugin="napari-harm3")
    assert image.units == mask.units
    assert image.data.shape == mask.data.shape
    assert type(mask).__name__ == "Labels"
    (slide,) = viewer.open(str(folder / "biopsy.tif"), plugin="napari-harm3")
    assert slide.multiscale
    np.testing.assert_allclose(slide.scale, (0.5, 0.5))

    viewer.open(str(prepared_cohort), plugin="napari-harm3")
    from napari_harm3.plugin.session import Session

    session = Session.of(viewer)
    assert session.cohort.path == prepared_cohort
    session.close()


def test_a_damaged_volume_is_told_in_a_sentence(viewer, tmp_path):
    from napari.utils.notifications import notification_manager

    (tmp_path / "v.nii.gz").write_bytes(b"\x1f\x8b nothing")
    viewer.open(str(tmp_path / "v.nii.gz"), plugin="napari-harm3")
    assert "v.nii.gz is damaged" in notification_manager.records[-1].message
