"""What there is to be seen has the room, and what was asked for is seen."""

import numpy as np
import pytest
from qtpy.QtWidgets import QDockWidget

from drawn_slides import write_tiff
from link_folders import write_folder
from napari_harm3.cohort.case import ROLES, TITLES
from napari_harm3.plugin.session import SLIDE_DOCK
from window_steps import LONG, press

pytestmark = pytest.mark.gui


@pytest.fixture
def small_slide(tmp_path):
    """Return a slide with less than one patch."""
    pixels = np.full((90, 120, 3), 240, np.uint8)
    pixels[30:60, 30:60] = (200, 90, 160)
    write_tiff(tmp_path / "small.tif", pixels)
    return tmp_path / "small.tif"


@pytest.fixture
def mixed(prepared_cohort, tmp_path, small_slide):
    """Return a cohort of which the first case has no MRI, and the second has."""
    volume = prepared_cohort.parent / "HN-0001" / "t1_pre.nii.gz"
    (tmp_path / volume.name).write_bytes(volume.read_bytes())
    table = tmp_path / "mixed.csv"
    table.write_text(f"case_id,t1_pre,wsi\nA,,{small_slide.name}\nB,{volume.name},\n")
    return table


def open_case(qtbot, workspace, name):
    with qtbot.waitSignal(workspace.session.case_drawn, timeout=LONG):
        workspace.session.open_case(name)
    qtbot.wait(100)  # the window is laid out


def test_a_slide_without_mri_has_the_room_and_gives_it_back(
    qtbot, workspace, viewer, mixed
):
    window = viewer.window._qt_window
    (slide,) = window.findChildren(QDockWidget, SLIDE_DOCK)
    canvas = viewer.window._qt_viewer
    workspace.session.open_cohort(mixed)

    open_case(qtbot, workspace, "B")
    before = viewer.scene.camera.zoom
    assert slide.height() < canvas.height()

    open_case(qtbot, workspace, "A")
    assert slide.height() > canvas.height()
    assert "It has no MRI" in workspace.cases.status.text()
    assert {one.name for one in viewer.layers if one.visible} == {
        f"{TITLES[role]} (missing)" for role in ROLES
    }
    assert not viewer.canvas.overlays.scale_bar.visible

    open_case(qtbot, workspace, "B")
    assert slide.height() < canvas.height()
    assert viewer.scene.camera.zoom == pytest.approx(before, rel=0.1)


def test_a_slide_smaller_than_a_patch_says_so(qtbot, workspace, small_slide):
    panel = workspace.slide
    panel.open(small_slide)

    with qtbot.waitSignal(panel.preview.found, timeout=LONG):
        press(qtbot, panel.find_button)

    assert "smaller than one patch, 224 x 224" in panel.warning.text()


def test_a_new_explanation_is_seen_though_the_one_before_was_hidden(
    qtbot, hung, viewer, tmp_path
):
    folder = write_folder(tmp_path / "explanation", hung.session.case)
    heat = viewer.layers[f"{TITLES['t1_pre']}, heat"]

    for _ in range(2):
        with qtbot.waitSignal(hung.explain.drawn, timeout=LONG):
            hung.explain.load(folder)
        assert heat.visible
        hung.session.hanging.toggle_heat()
        assert not heat.visible


def test_a_case_is_fitted_to_a_window_that_grows_until_its_reader_zooms(
    qtbot, hung, viewer
):
    window, camera = viewer.window._qt_window, viewer.scene.camera
    window.resize(1200, 800)
    qtbot.wait(100)
    small = camera.zoom
    window.resize(1560, 1100)
    qtbot.wait(100)
    assert camera.zoom > 1.2 * small

    camera.zoom = zoomed = 3 * camera.zoom
    window.resize(1200, 800)
    qtbot.wait(100)
    assert camera.zoom == zoomed


def test_a_caption_has_room_in_a_narrow_cell(qtbot, hung, viewer):
    window = viewer.window._qt_window
    sizes = [viewer.layers[TITLES[role]].name_overlay for role in ROLES]
    assert [one.font_size for one in sizes] == [10] * 4

    window.resize(1060, 780)
    qtbot.wait(100)

    assert window.width() == 1060
    drawn = viewer.window._qt_viewer.canvas._layer_overlay_to_visual
    _, width = viewer.canvas.viewbox_size(viewer.layers)
    for role in ROLES:
        layer = viewer.layers[TITLES[role]]
        assert drawn[layer][layer.name_overlay].x_size < width


def test_the_slide_has_the_ground_of_the_other_canvas(workspace, viewer):
    slide = workspace.session.slide_view().model.canvas
    for theme in ("light", "dark"):
        viewer.theme = theme
        np.testing.assert_array_equal(
            slide.background_color, viewer.canvas.background_color
        )
