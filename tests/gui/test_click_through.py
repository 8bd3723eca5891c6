"""A click on the slide shows where in the MRI a patch looks, and the other way round.

The explanation on show is written by hand, so that every link is known.
"""

from dataclasses import replace

import numpy as np
import pytest
from napari.utils.colormaps import ensure_colormap
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication

from link_folders import (
    ASKS,
    CELL_MM,
    CORNERS,
    SIDE,
    centre,
    known_link,
    measures,
    write_folder,
)
from napari_harm3.cohort.case import ROLES, TITLES
from napari_harm3.plugin.layers import draw_case
from napari_harm3.plugin.widgets.explain_agreement import MEASURES
from napari_harm3.plugin.widgets.explain_link import LIFT, SHARE
from napari_harm3.plugin.widgets.explain_maps import title_of
from window_steps import LONG, click_canvas, picture, press

pytestmark = pytest.mark.gui
MIDDLES = (CORNERS + SIDE / 2) * 0.5
"""Of the patches on the slide, x and y in microns."""

PER_SLIDE = ("sides", "sizes", "mpp")


def canvas_of(viewer):
    return viewer.window._qt_viewer.canvas


def click_patch(qtbot, hung, patch, **how):
    view = hung.session.slide_view()
    x, y = MIDDLES[patch]
    canvas = view._canvas.canvas
    click_canvas(qtbot, canvas, canvas.view, (y, x), **how)


def click_volume(qtbot, viewer, role, place):
    """Click at a place of the slice that is on show."""
    canvas = canvas_of(viewer)
    click_canvas(qtbot, canvas, canvas.grid_views[ROLES.index(role)], place[1:])


def heat(viewer, role):
    return viewer.layers[f"{TITLES[role]}, heat"]


def heat_at(viewer, role, place):
    layer = heat(viewer, role)
    index = np.rint((np.array(place) - layer.translate) / layer.scale).astype(int)
    return layer.data[tuple(index)]


def cross_hair(hung):
    return hung.explain.link._cross.place


@pytest.fixture
def load(qtbot, hung, tmp_path):
    """Return a function that shows an explanation written by hand."""

    def shown(name="explanation", **parts):
        link = hung.explain.link
        folder = write_folder(tmp_path / name, hung.session.case, **parts)
        with qtbot.waitSignals([hung.explain.drawn, link.ready], timeout=LONG):
            hung.explain.load(folder)
        qtbot.wait(300)  # until the canvases have their size
        return link

    return shown


@pytest.fixture
def linked(load, hung):
    """Return the link of an explanation on show, clicks heard."""
    box = load(link=known_link(hung.session.case.case_id))
    assert box.button.isEnabled()
    box.button.setChecked(True)
    return box


def test_a_click_on_a_patch_shows_where_it_looks(qtbot, hung, viewer, linked, tmp_path):
    role, cell = ASKS[1]
    assert heat_at(viewer, role, centre((0, 0, 0))) == 1  # the evidence, even

    click_patch(qtbot, hung, 1)

    assert heat_at(viewer, role, centre(cell)) == pytest.approx(1, abs=0.2)
    assert heat_at(viewer, role, centre((0, 0, 0))) == pytest.approx(0, abs=0.2)
    assert [heat(viewer, one).visible for one in ROLES] == [r == role for r in ROLES]
    np.testing.assert_allclose(cross_hair(hung), centre(cell))
    step = viewer.dims.range[0].step
    assert abs(viewer.dims.point[0] - centre(cell)[0]) <= step / 2 + 1e-6
    marked = hung.session.slide_view().marked.data
    np.testing.assert_allclose(marked[:, ::-1], MIDDLES[[1]])
    assert linked.text.text().startswith(
        "What the patch at 448, 224 (level 0) attends to, through its pooled tokens. "
        "Strongest: T2 after therapy with 100.00%"
    )
    picture(viewer, tmp_path, "patch")

    press(qtbot, linked.back_button)

    assert heat_at(viewer, role, centre((0, 0, 0))) == 1
    assert cross_hair(hung) is None
    assert len(hung.session.slide_view().marked.data) == 0
    assert not linked.back_button.isEnabled()


def test_a_second_answer_is_drawn_in_place_of_the_first(qtbot, hung, viewer, linked):
    role, _ = ASKS[0]
    layer = heat(viewer, role)
    click_patch(qtbot, hung, 0)
    first = layer.data.copy()

    click_patch(qtbot, hung, 2)

    assert ASKS[2][0] == role
    assert not np.allclose(layer.data, first)
    depth = round((viewer.dims.point[0] - layer.translate[0]) / layer.scale[0])
    drawn = canvas_of(viewer).layer_to_visual[layer].node._data
    np.testing.assert_array_equal(drawn, layer.data[depth])
    linked.back()
    assert np.all(layer.data == 1)  # the evidence is as it was


def test_another_slide_of_the_case_is_coloured_when_it_is_opened(
    qtbot, hung, viewer, linked, tmp_path
):
    view, (own,) = hung.session.slide_view(), hung.session.case.slides
    other = tmp_path / "other.tif"
    other.write_bytes(own.read_bytes())
    click_patch(qtbot, hung, 1)
    coloured = view.attention.face_color.copy()

    with qtbot.waitSignal(view.opened, timeout=LONG):
        view.open(other)

    assert len(view.attention.data) == len(view.marked.data) == 0
    role, cell = ASKS[1]
    assert heat_at(viewer, role, centre(cell)) == pytest.approx(1, abs=0.2)

    with qtbot.waitSignal(view.opened, timeout=LONG):
        view.open(own)

    np.testing.assert_allclose(view.attention.face_color, coloured)
    np.testing.assert_allclose(view.marked.data[:, ::-1], MIDDLES[[1]])


def test_slides_of_one_name_are_told_apart(qtbot, hung, load, tmp_path):
    session = hung.session
    view, (own,) = session.slide_view(), session.case.slides
    other = tmp_path / "second" / own.name
    other.parent.mkdir()
    other.write_bytes(own.read_bytes())
    session.case = replace(session.case, slides=(own, other), slide_mpp=(None, None))
    link = known_link(session.case.case_id)
    places = replace(
        link.places,
        names=("biopsy.tif", "biopsy-2.tif"),
        slide=np.array([0, 0, 1]),
        corners=CORNERS[[0, 1, 1]],
        **{name: np.tile(getattr(link.places, name), (2, 1)) for name in PER_SLIDE},
    )
    box = load(link=replace(link, places=places))
    box.button.setChecked(True)

    click_patch(qtbot, hung, 1)
    assert box._patch == 1

    with qtbot.waitSignal(view.opened, timeout=LONG):
        view.open(other)
    assert len(view.attention.data) == 0  # the file knows of no such slide
    click_patch(qtbot, hung, 1)

    assert box._patch == 2
    np.testing.assert_allclose(view.marked.data[:, ::-1], MIDDLES[[1]])


def test_a_click_on_a_voxel_colours_the_patches_that_look_there(
    qtbot, hung, viewer, linked, tmp_path
):
    role, cell = ASKS[2]
    z, y, x = centre(cell)
    viewer.dims.set_point(0, z)
    view = hung.session.slide_view()
    before = view.attention.face_color.copy()

    click_volume(qtbot, viewer, role, (z, y + 5, x - 8))

    bright, dark = ensure_colormap("inferno").map(np.array([1.0, 0.0]))
    np.testing.assert_allclose(view.attention.data[:, ::-1], MIDDLES)
    colours = view.attention.face_color
    np.testing.assert_allclose(colours, [dark, dark, bright], atol=1e-5)
    np.testing.assert_allclose(view.marked.data[0, ::-1], MIDDLES[2])
    np.testing.assert_allclose(view.model.scene.camera.center[:0:-1], MIDDLES[2])
    place = cross_hair(hung)
    pixel = 1 / viewer.scene.camera.zoom
    np.testing.assert_allclose(place[1:], (y + 5, x - 8), atol=pixel)
    assert "this place in T1+C before therapy, a cell of 30 x 40 x 50 mm" in (
        linked.text.text()
    )
    assert "the patch at 672, 448 with 100.00%" in linked.text.text()
    assert heat_at(viewer, role, centre((0, 0, 0))) == 1  # the evidence stays
    picture(viewer, tmp_path, "voxel")

    hung.explain.window().activateWindow()
    qtbot.waitUntil(hung.explain.window().isActiveWindow, timeout=5000)
    qtbot.keyClick(hung.explain.link, Qt.Key.Key_Escape)

    np.testing.assert_allclose(view.attention.face_color, before)
    assert len(view.marked.data) == 0
    assert cross_hair(hung) is None


def test_a_place_that_the_model_does_not_see_is_told(hung, linked):
    linked.ask_place("t1_pre", (500.0, 0.0, 0.0))

    assert "does not see that place" in linked.text.text()
    assert cross_hair(hung) is None


@pytest.mark.parametrize("asked", ["patch", "place"])
def test_a_place_that_the_model_does_not_see_ends_the_answer_before(
    hung, viewer, linked, asked
):
    role, cell = ASKS[1]
    view = hung.session.slide_view()
    before = view.attention.face_color.copy()
    if asked == "patch":
        linked.ask_patch(1)
    else:
        linked.ask_place(role, centre(cell))
    assert len(view.marked.data)

    linked.ask_place("t1_pre", (500.0, 0.0, 0.0))

    assert "does not see that place" in linked.text.text()
    assert not linked.asked
    assert cross_hair(hung) is None
    assert len(view.marked.data) == 0
    np.testing.assert_allclose(view.attention.face_color, before)
    assert heat_at(viewer, role, centre((0, 0, 0))) == 1


def test_a_click_beside_all_patches_ends_the_answer_before(linked):
    linked.ask_patch(1)

    linked.click_slide(10_000, 10_000)

    assert linked.text.text() == "The model has seen no patch there."
    assert not linked.asked


def test_a_drag_moves_the_slide_and_asks_nothing(qtbot, hung, linked):
    click_patch(qtbot, hung, 1, drag=40)

    assert not linked.asked
    click_patch(qtbot, hung, 1, drag=2)  # no hand is quite still

    assert linked.asked


def test_clicks_are_heard_only_while_it_is_switched_on(qtbot, hung, viewer, linked):
    click_patch(qtbot, hung, 1)
    linked.toggle()

    assert not linked.asked
    assert cross_hair(hung) is None
    click_patch(qtbot, hung, 1)
    click_volume(qtbot, viewer, "t1_pre", (0.0, 0.0, 0.0))
    assert not linked.asked


def test_beside_the_patches_nothing_is_asked(qtbot, hung, linked):
    linked.click_slide(10, 10)

    assert linked.text.text() == "The model has seen no patch there."
    assert not linked.asked


def test_painting_asks_nothing(qtbot, hung, viewer, linked):
    layer = viewer.layers[f"{TITLES['t2_post']}, annotation"]
    viewer.layers.selection.active = layer
    layer.mode = "paint"

    click_volume(qtbot, viewer, "t1_pre", (0.0, 0.0, 0.0))

    assert not linked.asked


def test_the_lift_tells_what_is_special_to_a_patch(qtbot, hung, viewer, linked):
    role, cell = ASKS[1]
    click_patch(qtbot, hung, 1)

    linked.weighing.setCurrentText(LIFT)

    # Three patches ask one cell each, so that this one asks three times the average.
    assert heat_at(viewer, role, centre(cell)) == pytest.approx(2, abs=0.4)
    linked.weighing.setCurrentText(SHARE)
    assert heat_at(viewer, role, centre(cell)) == pytest.approx(1, abs=0.2)


def test_the_figures_are_those_of_the_place_that_is_named(hung, load):
    plain = known_link(hung.session.case.case_id)
    first, second = plain.cross[0].argmax(), plain.cross[1].argmax()
    cross = np.zeros_like(plain.cross)
    cross[:, first] = 0.9, 1, 1
    cross[0, second] = 0.1
    box = load(link=replace(plain, cross=cross))

    box.weighing.setCurrentText(LIFT)
    box.ask_patch(0)
    # One of three patches asks it at all, so that this is three times the average.
    assert "Strongest: T2 after therapy with 10.00% (an even" in box.text.text()
    assert "), 3.00 times the average." in box.text.text()
    box.weighing.setCurrentText(SHARE)
    assert "Strongest: T1+C before therapy with 90.00% (an even" in box.text.text()
    assert "), 0.93 times the average." in box.text.text()


def test_the_figures_are_those_of_the_patch_that_is_named(hung, load):
    plain = known_link(hung.session.case.case_id)
    pooling = np.array([[0.6, 0.4, 0], [0.9, 0, 0.1], [0.9, 0, 0.1]], np.float32)
    box = load(link=replace(plain, pooling=pooling))
    role, cell = ASKS[0]

    box.weighing.setCurrentText(LIFT)
    box.ask_place(role, centre(cell))

    x, y = CORNERS[1].astype(int)
    assert f"Strongest: the patch at {x}, {y} with 40.00% (" in box.text.text()
    assert "), 3.00 times the average." in box.text.text()


def test_an_answer_follows_the_volumes_that_are_laid_on_each_other(
    qtbot, hung, viewer, linked
):
    role, cell = ASKS[1]
    click_patch(qtbot, hung, 1)
    shift = np.eye(4)
    shift[:3, 3] = (4.0, -6.0, 9.0)
    x, y, z = 4.0, -6.0, -9.0  # in LPS mm the common space lies the other way
    moved = np.add(centre(cell), (z, y, x))

    hung.session.hanging.move(draw_case(hung.session.case, {role: shift}))
    with qtbot.waitSignal(hung.explain.drawn, timeout=LONG):
        hung.session.move({role: shift})

    np.testing.assert_allclose(cross_hair(hung), moved)
    assert heat_at(viewer, role, moved) == pytest.approx(1, abs=0.2)
    assert heat(viewer, "t1_pre").visible is False


def test_a_place_that_was_asked_follows_its_tissue(qtbot, hung, linked):
    role, cell = ASKS[1]
    linked.ask_place(role, centre(cell))
    said = linked.text.text()
    assert "the patch at 448, 224 with 100.00%" in said
    shift = np.eye(4)
    shift[:3, 3] = (-CELL_MM[2], 0, 9.0)  # another cell lies there then
    moved = np.add(centre(cell), (-9.0, 0, -CELL_MM[2]))

    for transforms, place in (({role: shift}, moved), ({}, centre(cell))):
        hung.session.hanging.move(draw_case(hung.session.case, transforms))
        with qtbot.waitSignal(hung.explain.drawn, timeout=LONG):
            hung.session.move(transforms)

        assert linked.text.text() == said
        np.testing.assert_allclose(cross_hair(hung), place)


def test_the_next_case_forgets_the_answer(qtbot, hung, viewer, linked):
    click_patch(qtbot, hung, 1)

    with qtbot.waitSignal(hung.session.case_drawn, timeout=LONG):
        press(qtbot, hung.cases.next_button)

    assert not linked.asked
    assert not linked.button.isEnabled()
    assert not linked.button.isChecked()
    assert linked.button.toolTip() == "Explain a case first."
    assert cross_hair(hung) is None


def test_a_model_without_a_link_says_so(load):
    box = load()

    assert not box.button.isEnabled()
    assert "no attention from slide to MRI, Eq. (6)" in box.button.toolTip()
    box.toggle()
    assert not box.button.isChecked()
    box.ask_patch(0)
    assert not box.asked


def test_a_damaged_link_says_so(qtbot, hung, load, tmp_path):
    load("first", link=known_link(hung.session.case.case_id))
    (tmp_path / "first" / "link.npz").write_bytes(b"PK nothing")

    box = hung.explain.link
    with qtbot.waitSignal(box.ready, timeout=LONG):
        hung.explain.load(tmp_path / "first")

    assert not box.button.isEnabled()
    assert "explain the case again" in box.button.toolTip()


def test_other_maps_are_chosen_and_their_agreement_with_them(qtbot, hung, viewer, load):
    load(kinds=("cam", "occlusion", "inherent"))
    explain = hung.explain
    titles = [explain.maps.itemText(n) for n in range(explain.maps.count())]
    assert titles == [title_of(k) for k in ("cam", "occlusion", "inherent")]
    assert explain.figures.table.item(0, 1).text() == "0.50"

    with qtbot.waitSignal(explain.drawn, timeout=LONG):
        explain.maps.setCurrentText("Occlusion")

    assert heat(viewer, "t1_pre").data.max() == 2
    assert explain.figures.table.item(0, 1).text() == "0.30"
    with qtbot.waitSignal(explain.drawn, timeout=LONG):
        explain.maps.setCurrentText("Inherent part")
    assert heat(viewer, "t1_pre").data.max() == 3
    assert explain.figures.table.rowCount() == 0
    assert "no annotation says where" in explain.figures.reason.text()


def test_the_table_shows_a_label_of_a_volume_beside_chance_and_ceiling(hung, load):
    load()
    figures = hung.explain.figures

    def row(number):
        return [figures.table.item(number, n).text() for n in range(5)]

    assert figures.volume.currentText() == TITLES["t2_pre"]  # the first to compare
    assert row(0) == ["Pointing game", "0.50", "0.10", "0.90", "0.50"]
    assert [row(n)[0] for n in range(8)] == [title for title, *_ in MEASURES.values()]
    assert row(6)[4] == "-"  # nothing between chance and ceiling
    figures.label.setCurrentText("Primary")
    assert row(0) == ["Pointing game", "0.70", "0.10", "0.90", "0.75"]
    figures.label.setCurrentText("Nodes")
    assert figures.table.rowCount() == 0
    assert figures.reason.text() == "No voxel has this label"
    figures.volume.setCurrentText(TITLES["t1_pre"])
    assert figures.reason.text() == "Not annotated"
    assert measures(0.7)["iou"]  # what is not for people is left out
    assert "iou" not in MEASURES


def wheel(viewer, role, steps):
    """Turn the wheel over a volume with Ctrl held."""
    canvas = canvas_of(viewer)
    view = canvas.grid_views[ROLES.index(role)]
    spot = QPointF(*(view.transform.translate[:2] + np.array(view.size) / 2).tolist())
    event = QWheelEvent(
        spot,
        QPointF(canvas.native.mapToGlobal(spot.toPoint())),
        QPoint(0, 0),
        QPoint(0, 120 * steps),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.ControlModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(canvas.native, event)


def test_the_wheel_moves_all_volumes_or_one_of_them_alone(qtbot, hung, viewer, linked):
    images = {role: viewer.layers[TITLES[role]] for role in ROLES}
    start, point = images["t1_post"].translate[0], viewer.dims.point
    assert hung.explain.linked.isChecked()
    wheel(viewer, "t1_post", -1)
    assert viewer.dims.point[0] > point[0]
    point = viewer.dims.point

    hung.explain.linked.setChecked(False)
    wheel(viewer, "t1_post", -1)

    step = images["t1_post"].scale[0]
    assert viewer.dims.point == point
    assert images["t1_post"].translate[0] == pytest.approx(start - step)
    for name in ("heat", "annotation"):
        layer = viewer.layers[f"{TITLES['t1_post']}, {name}"]
        np.testing.assert_allclose(layer.translate[0], start - step, atol=1e-4)
    assert images["t1_pre"].name == TITLES["t1_pre"]
    assert images["t1_post"].name == f"{TITLES['t1_post']}, moved {-step:+.0f} mm"
    # The place that is asked is the volume's own, not where it is drawn.
    z, y, x = viewer.dims.point[0], *centre((0, 1, 1))[1:]
    click_volume(qtbot, viewer, "t1_post", (z, y, x))
    role, ras = linked._place
    assert (role, ras[2]) == ("t1_post", pytest.approx(z + step))
    assert cross_hair(hung)[0] == pytest.approx(z)

    hung.explain.linked.setChecked(True)

    assert images["t1_post"].translate[0] == pytest.approx(start)
    assert images["t1_post"].name == TITLES["t1_post"]


def test_the_worker_makes_other_maps_and_the_link_when_asked(qtbot, hung, run, viewer):
    explain = hung.explain
    explain.model_path.set_path(run)
    hung.session.case_changed.emit(hung.session.case)
    explain.choices.also["decoupled"].setChecked(True)

    with qtbot.waitSignals([explain.drawn, explain.link.ready], timeout=LONG):
        press(qtbot, explain.compute_button)

    kinds = {explain.maps.itemData(n) for n in range(explain.maps.count())}
    assert kinds == {"cam", "inherent", "variant", "cross"}
    box = explain.link
    assert box.button.isEnabled()
    with qtbot.waitSignal(explain.drawn, timeout=LONG):
        explain.maps.setCurrentText("Variant part")
    evidence = heat(viewer, "t1_pre").data
    box.ask_patch(0)
    shares = box.link.mri_of_patch(0)
    # Heat is as large as the cells' shares, whatever these are.
    assert hung.session.hanging.peak == pytest.approx(shares.max(), rel=0.1)
    box.back()
    assert heat(viewer, "t1_pre").data is evidence
