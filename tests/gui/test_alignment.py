"""One click lays the volumes of a case on each other, another puts them back."""

import numpy as np
import pytest
from napari.layers import Image

from napari_harm3.cohort.case import TITLES
from window_steps import LONG, picture, press

pytestmark = pytest.mark.gui


def arrays(viewer):
    return [layer.data for layer in viewer.layers]


def places(viewer):
    return np.array([[*layer.scale, *layer.translate] for layer in viewer.layers])


def align(qtbot, hung):
    """Press Align and wait until the volumes lie on each other."""
    button = hung.cases.align_button
    assert button.text() == "Align"
    with qtbot.waitSignal(hung.session.moved, timeout=LONG):
        press(qtbot, button)
        assert button.text() == "Cancel"


def test_one_click_aligns_and_another_puts_everything_back(
    qtbot, hung, viewer, tmp_path
):
    before, where = arrays(viewer), places(viewer)
    origins = [layer.metadata for layer in viewer.layers]
    point, layers = viewer.dims.point, list(viewer.layers)

    align(qtbot, hung)

    said = hung.cases.status.text()
    assert "T2 before therapy on T1+C before therapy: correlation" in said
    assert "mm." in said
    moved = np.flatnonzero(np.abs(places(viewer) - where).max(axis=1) > 1e-3)
    assert moved.size
    assert list(viewer.layers) == layers
    np.testing.assert_allclose(viewer.dims.point, point, atol=3)
    for number in moved:
        if isinstance(viewer.layers[number], Image):
            assert viewer.layers[number].metadata == {}
    assert viewer.layers[0].metadata == origins[0]  # the role that others were laid on
    picture(viewer, tmp_path, "aligned")
    after, there = arrays(viewer), places(viewer)

    assert hung.cases.align_button.text() == "As scanned"
    assert "each press of Shift-B does" in hung.cases.align_button.toolTip()
    press(qtbot, hung.cases.align_button)

    assert all(a is b for a, b in zip(arrays(viewer), before, strict=True))
    np.testing.assert_array_equal(places(viewer), where)
    assert [layer.metadata for layer in viewer.layers] == origins
    assert hung.session.transforms == {}
    assert "as scanned" in hung.cases.status.text()

    assert hung.cases.align_button.text() == "Aligned"
    hung.cases.align_button.swap()

    assert all(a is b for a, b in zip(arrays(viewer), after, strict=True))
    np.testing.assert_array_equal(places(viewer), there)


def test_heat_maps_follow_the_volumes(qtbot, hung, viewer, run):
    explain = hung.explain
    explain.model_path.set_path(run)
    hung.session.case_changed.emit(hung.session.case)
    with qtbot.waitSignal(hung.session.case_drawn, timeout=LONG):
        hung.session.open_case("HN-0002")
    with qtbot.waitSignal(explain.drawn, timeout=LONG):
        explain.compute()
    shown = [layer.visible for layer in viewer.layers]

    with qtbot.waitSignal(explain.drawn, timeout=LONG):
        align(qtbot, hung)

    names = {layer.name: layer for layer in viewer.layers}
    for title in (TITLES["t1_post"], TITLES["t2_pre"], TITLES["t2_post"]):
        image, heat = names[title], names[f"{title}, heat"]
        np.testing.assert_allclose(heat.translate, image.translate)
        assert heat.data.shape == image.data.shape
    hung.cases.align_button.swap()
    assert [layer.visible for layer in viewer.layers] == shown
    for title in (TITLES["t1_post"], TITLES["t2_pre"], TITLES["t2_post"]):
        np.testing.assert_allclose(
            names[f"{title}, heat"].translate, names[title].translate
        )


def test_the_next_case_is_shown_as_scanned(qtbot, hung, viewer):
    align(qtbot, hung)

    with qtbot.waitSignal(hung.session.case_drawn, timeout=LONG):
        press(qtbot, hung.cases.next_button)

    where = places(viewer)
    assert hung.session.transforms == {}
    assert hung.cases.align_button.text() == "Align"
    hung.cases.align_button.swap()
    np.testing.assert_array_equal(places(viewer), where)


def test_aligning_can_be_cancelled_and_nothing_moves(qtbot, hung, viewer):
    button, where = hung.cases.align_button, places(viewer)
    press(qtbot, button)
    press(qtbot, button)

    qtbot.waitUntil(lambda: hung.cases.status.text() == "Cancelled.", timeout=LONG)

    assert button.text() == "Align"
    assert button.isEnabled()
    np.testing.assert_array_equal(places(viewer), where)


def test_a_registration_that_fails_is_told_in_its_sentence(qtbot, hung, viewer):
    button, asked = hung.cases.align_button, []
    sentence = "Registration needs SimpleITK, which is not installed."
    client = hung.session.client
    client.ask = lambda job, params, listener: asked.append(listener) or 1

    press(qtbot, button)
    asked[0].failed(sentence)

    assert hung.cases.status.text() == sentence
    assert button.text() == "Align"


def test_a_poor_registration_is_warned_of_and_not_applied(qtbot, hung, viewer):
    where, asked = places(viewer), []
    client = hung.session.client
    client.ask = lambda job, params, listener: asked.append(listener) or 1
    poor = {
        "fixed": "t1_pre",
        "correlation_before": 0.1,
        "correlation": 0.2,
        "moved_mm": 90.0,
        "poor": True,
        "message": "They tell little of each other.",
    }

    press(qtbot, hung.cases.align_button)
    asked[0].then(
        {
            "transforms": {"t2_pre": np.eye(4).tolist()},
            "registrations": {"t2_pre": poor},
        }
    )

    assert "not moved" in hung.cases.status.text()
    assert "tell little of each other" in hung.cases.faults.text()
    assert hung.cases.align_button.text() == "Align"
    np.testing.assert_array_equal(places(viewer), where)
