"""The real window: a case hangs, the worker explains it, the reader decides."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication, QDockWidget, QMessageBox

from napari_harm3.cohort.case import ROLES, TITLES
from napari_harm3.plugin.slide_view import ACCEPTED, DAMAGED
from napari_harm3.plugin.workspace import open_workspace

pytestmark = pytest.mark.gui
LONG = 120_000


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer(show=True)


@pytest.fixture
def workspace(viewer):
    viewer.window.resize(1560, 1000)
    opened = open_workspace(viewer)
    yield opened
    opened.session.close()
    opened.session.slide_view().shutdown()


def press(qtbot, button):
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


@pytest.fixture
def hung(qtbot, workspace, prepared_cohort):
    """Return the workspace with the second case hanging."""
    workspace.cases.open_cohort(prepared_cohort)
    workspace.cases.cases.selectRow(1)
    with qtbot.waitSignal(workspace.session.case_drawn, timeout=LONG):
        press(qtbot, workspace.cases.open_button)
    return workspace


def picture(viewer, tmp_path, name):
    """Save the whole window where someone may look at it."""
    folder = Path(os.environ.get("HARM3_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    pixels = viewer.window.screenshot(
        str(folder / f"{name}.png"), canvas_only=False, flash=False
    )
    assert len(np.unique(pixels)) > 50
    return pixels


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


def test_next_and_previous_walk_through_the_cases(qtbot, hung):
    first = hung.session.case.case_id
    with qtbot.waitSignal(hung.session.case_drawn, timeout=LONG):
        press(qtbot, hung.cases.next_button)
    assert hung.session.case.case_id == "HN-0003"
    with qtbot.waitSignal(hung.session.case_drawn, timeout=LONG):
        press(qtbot, hung.cases.previous_button)
    assert hung.session.case.case_id == first


def test_a_filter_leaves_the_cases_that_match(qtbot, hung):
    qtbot.keyClicks(hung.cases.filter, "0010")
    assert hung.cases.cases.rowCount() == 1
    hung.cases.filter.setText("nobody")
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
    assert explain.agreement.rowCount() >= 4
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

    press(qtbot, review.buttons["disagree"])
    review.comment.setPlainText("looks at the jaw")
    press(qtbot, review.save_button)
    saved = hung.session.work / "reviews" / "HN-0002.json"
    record = json.loads(saved.read_text())["reviews"][-1]
    assert record["verdict"] == "disagree"
    assert record["comment"] == "looks at the jaw"
    assert 0 <= record["probability"] <= 1
    with qtbot.waitSignal(hung.session.case_drawn, timeout=LONG):
        press(qtbot, hung.cases.next_button)
    assert review.verdict() is None
    assert not review.save_button.isEnabled()


def test_an_explanation_can_be_cancelled_and_the_window_lives(qtbot, hung, run):
    explain = hung.explain
    explain.model_path.set_path(run)
    hung.session.case_changed.emit(hung.session.case)
    press(qtbot, explain.compute_button)
    press(qtbot, explain.cancel_button)
    qtbot.waitUntil(lambda: explain.status.text() == "Cancelled.", timeout=LONG)
    assert explain.compute_button.isEnabled()


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


def to_front(panel):
    dock = panel.parentWidget()
    while not isinstance(dock, QDockWidget):
        dock = dock.parentWidget()
    dock.raise_()


def wait_for_accepted(qtbot, panel, wanted):
    qtbot.waitUntil(
        lambda: panel.shown is not None and wanted(panel.shown.count(ACCEPTED)),
        timeout=LONG,
    )


def seen(view):
    """Return how many patches are drawn in a colour that can be seen."""
    return (view.patches.border_color[:, 3] > 0).sum()


def test_tissue_follows_the_sliders_and_a_patch_the_mouse(
    qtbot, hung, viewer, tmp_path
):
    panel, view = hung.slide, hung.session.slide_view()

    press(qtbot, panel.find_button)
    wait_for_accepted(qtbot, panel, lambda count: count > 0)

    count = panel.shown.count(ACCEPTED)
    assert f"{count} patches accepted" in panel.counts.text()
    assert len(view.patches.data) == len(panel.shown.coords)
    assert len(view.tissue.data) > 20
    assert seen(view) == len(panel.shown.coords)
    panel.rejected.setChecked(False)
    assert seen(view) == count
    panel.rejected.setChecked(True)

    panel.tissue.fields["saturation"].value = 80
    wait_for_accepted(qtbot, panel, lambda now: now < count)
    panel.tissue.fields["saturation"].value = 8
    wait_for_accepted(qtbot, panel, lambda now: now == count)
    panel.patches.fields["rule"].value = "corners_all"
    wait_for_accepted(qtbot, panel, lambda now: now < count)
    panel.preset.setCurrentText("clam_biopsy")
    wait_for_accepted(qtbot, panel, lambda now: now > 0)
    assert not panel.tissue.isEnabled()
    panel.preset.setCurrentText("harm3")
    panel.patches.fields["rule"].value = "corners_any"
    wait_for_accepted(qtbot, panel, lambda now: now == count)

    first = np.flatnonzero(panel.shown.status == ACCEPTED)[0]
    x, y = panel.shown.coords[first] * 0.5 + 20
    view._mouse_moved(view.model, SimpleNamespace(position=(y, x)))
    assert panel.picture.pixmap().width() > 0
    assert "accepted" in panel.about_patch.text()
    assert view.model.layers["hovered"].visible
    to_front(panel)
    qtbot.wait(500)
    picture(viewer, tmp_path, "tissue")


def test_every_slide_of_the_cohort_is_worked_on_and_can_be_cancelled(
    qtbot, hung, viewer, tmp_path
):
    batch = hung.slide.batch
    batch.target.setCurrentText("all slides of the cohort")
    batch.out.set_path(tmp_path / "made")

    press(qtbot, batch.save_button)
    qtbot.waitUntil(lambda: "done" in batch.status.text(), timeout=LONG)
    rows = json.loads((tmp_path / "made" / "summary.json").read_text())["slides"]
    assert len(rows) == len([case for case in hung.session.cohort.cases if case.slides])

    batch.encoder.fields["name"].value = "vit_tiny_patch16_224"
    press(qtbot, batch.extract_button)
    press(qtbot, batch.cancel_button)
    qtbot.waitUntil(lambda: "Cancelled" in batch.status.text(), timeout=LONG)
    assert batch.extract_button.isEnabled()


def test_a_damaged_slide_is_drawn_and_its_patches_are_marked(
    qtbot, workspace, prepared_cohort, tmp_path
):
    panel, view = workspace.slide, workspace.session.slide_view()
    damaged = tmp_path / "damaged.tif"
    shutil.copy(prepared_cohort.parent / "HN-0001" / "biopsy.tif", damaged)
    with tifffile.TiffFile(damaged) as file:
        counts = file.pages[0].tags["TileByteCounts"]
        where, length = counts.valueoffset, counts.valuebytecount // 2
    with damaged.open("rb+") as file:
        file.seek(where)
        file.write(bytes(length))

    panel.open(damaged)
    press(qtbot, panel.find_button)

    wait_for_accepted(qtbot, panel, lambda count: count > 0)
    assert panel.shown.count(DAMAGED) > 0
    assert "damaged" in panel.counts.text()
    assert np.asarray(view.model.layers["slide"].data[0][:64, :64]).std() == 0


def test_a_run_is_started_followed_and_stopped(qtbot, hung, viewer, tmp_path):
    train = hung.train
    train.size_box.setCurrentText("small")
    train.folds.setValue(2)
    train.epochs.setValue(60)
    train.run_path.set_path(tmp_path / "run")

    press(qtbot, train.start_button)
    qtbot.waitUntil(lambda: bool(train.curve.lines), timeout=LONG)
    picture(viewer, tmp_path, "training")
    press(qtbot, train.stop_button)
    qtbot.waitUntil(lambda: "Stopped" in train.status.text(), timeout=LONG)

    assert not (tmp_path / "run" / "metrics.json").exists()


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
