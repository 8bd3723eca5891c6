"""The Slide panel in the real window: tissue, patches, many slides, odd ones."""

import json
import logging
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

from drawn_slides import write_tiff
from napari_harm3.plugin import slide_view
from napari_harm3.plugin.slide_view import ACCEPTED, DAMAGED
from napari_harm3.wsi import pyramid
from window_steps import LONG, picture, press, to_front

pytestmark = pytest.mark.gui


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


def drawn(path, mpp=0.5, side=1200):
    pixels = np.full((side, side, 3), 243, np.uint8)
    pixels[300:800, 300:900] = (220, 140, 190)
    return write_tiff(path, pixels, mpp=mpp)


def test_a_slide_has_the_middle_of_the_window_until_a_case_hangs_there(
    qtbot, workspace, viewer, prepared_cohort, tmp_path
):
    view = workspace.session.slide_view()
    before = view.height()

    workspace.slide.open(drawn(tmp_path / "s.tif"))
    qtbot.waitUntil(lambda: view.height() > 1.5 * before, timeout=LONG)
    picture(viewer, tmp_path, "slide-alone")

    workspace.cases.open_cohort(prepared_cohort)
    workspace.cases.list.table.selectRow(0)
    with qtbot.waitSignal(workspace.session.case_drawn, timeout=LONG):
        press(qtbot, workspace.cases.open_button)
    qtbot.waitUntil(lambda: view.height() < 1.2 * before, timeout=LONG)


def test_a_resolution_is_stated_where_the_file_has_none(qtbot, workspace, tmp_path):
    panel = workspace.slide
    panel.open(drawn(tmp_path / "n.tif", mpp=None))

    press(qtbot, panel.find_button)
    qtbot.waitUntil(lambda: "resolution" in panel.warning.text(), timeout=LONG)
    assert panel.shown is None

    panel.own_mpp.setValue(0.5)
    panel.own_mpp.editingFinished.emit()
    press(qtbot, panel.find_button)
    wait_for_accepted(qtbot, panel, lambda count: count > 0)
    assert panel.shown.wish.mpp == 0.5


def test_a_slide_without_coarse_levels_is_read_while_the_window_lives(
    qtbot, workspace, tmp_path, monkeypatch
):
    monkeypatch.setattr(pyramid, "SLOW_PIXELS", 100_000)
    monkeypatch.setattr(pyramid, "BLOCK", 64)
    view, said = workspace.session.slide_view(), []
    view.model.canvas.overlays.text.events.text.connect(said.append)
    first, second = drawn(tmp_path / "a.tif", side=1500), drawn(tmp_path / "b.tif")

    workspace.slide.open(first)
    with qtbot.waitSignal(view.opened, timeout=LONG):
        workspace.slide.open(second)  # while the first is still read

    assert view.slide.name == "b.tif"
    assert view.model.layers["slide"].visible
    assert view.model.layers["slide"].data[0].shape == (1200, 1200, 3)
    assert any("reading all" in text for text in said)


def test_a_slide_that_cannot_be_opened_leaves_the_one_before(workspace, tmp_path):
    view = workspace.session.slide_view()
    workspace.slide.open(drawn(tmp_path / "s.tif"))
    (tmp_path / "t.tif").write_text("no slide")

    workspace.slide.open(tmp_path / "t.tif")

    assert view.slide.name == "s.tif"
    assert view.model.layers["slide"].visible


def test_a_bug_while_a_slide_is_read_is_told(qtbot, workspace, tmp_path, monkeypatch):
    # A traceback that is kept, as pytest does of what is logged, keeps the window.
    logged, logger = [], logging.getLogger(slide_view.__name__)
    monkeypatch.setattr(
        logger, "error", lambda _, exc_info: logged.append(type(exc_info))
    )
    monkeypatch.setattr(pyramid, "SLOW_PIXELS", 100_000)
    monkeypatch.setattr(pyramid, "_fill", lambda *_: 1 / 0)
    text = workspace.session.slide_view().model.canvas.overlays.text

    workspace.slide.open(drawn(tmp_path / "s.tif", side=1500))

    qtbot.waitUntil(lambda: "cannot be shown" in text.text, timeout=LONG)
    assert text.visible
    assert logged == [ZeroDivisionError]


def test_files_of_another_cohort_go_beside_it_unless_a_folder_was_chosen(
    workspace, prepared_cohort, tmp_path
):
    session, batch = workspace.session, workspace.slide.batch
    copies = [shutil.copytree(prepared_cohort.parent, tmp_path / name) for name in "ab"]
    for copy in copies:
        session.open_cohort(copy / prepared_cohort.name)
        assert batch.out.path == session.work / "slides-by-hand"
        assert batch.out.path.is_relative_to(copy)

    batch.out.set_path(tmp_path / "mine")
    session.open_cohort(prepared_cohort)

    assert batch.out.path == tmp_path / "mine"


def test_all_of_a_cohort_needs_a_cohort(workspace, tmp_path, qtbot):
    batch = workspace.slide.batch
    workspace.slide.open(drawn(tmp_path / "s.tif"))
    batch.target.setCurrentText("all slides of the cohort")
    batch.out.set_path(tmp_path / "made")

    press(qtbot, batch.save_button)

    assert batch.status.text().startswith("Open a cohort first")
    assert not (tmp_path / "made").exists()
    assert batch.save_button.isEnabled()


def test_what_is_wrong_with_one_slide_is_not_said_of_another(
    qtbot, workspace, tmp_path
):
    panel = workspace.slide
    panel.open(drawn(tmp_path / "n.tif", mpp=None))

    with qtbot.waitSignal(panel.preview.failed, timeout=LONG):
        panel.find_tissue()
        panel.open(drawn(tmp_path / "s.tif"))  # before it is told what is wrong

    assert panel.warning.text() == ""


def test_what_was_found_before_is_not_shown_under_a_refusal(qtbot, hung):
    panel, view = hung.slide, hung.session.slide_view()
    resolution = panel.patches.fields["mpp"]
    press(qtbot, panel.find_button)
    wait_for_accepted(qtbot, panel, lambda count: count > 0)

    resolution.value = 0.25
    qtbot.waitUntil(lambda: "coarser" in panel.warning.text(), timeout=LONG)
    assert panel.counts.text() == ""
    assert len(view.patches.data) == 0

    resolution.value = 0.5
    wait_for_accepted(qtbot, panel, lambda count: count > 0)
    assert panel.warning.text() == ""
