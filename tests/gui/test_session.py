"""What the panels of a viewer share lives as long as its window, and no longer."""

import gc
import weakref

import numpy as np
import pytest
from napari.utils.notifications import notification_manager

from drawn_slides import write_tiff
from napari_harm3.plugin import sample_data
from napari_harm3.plugin.client import Listener
from napari_harm3.plugin.session import Session
from napari_harm3.worker.alive import alive
from window_steps import LONG, press

pytestmark = pytest.mark.gui
PANELS = ("Cases", "Explain", "Review", "Slide", "Train")


def open_panels(viewer):
    """Open every panel as napari's menu does."""
    opened = {
        name: viewer.window.add_plugin_dock_widget("napari-harm3", f"HARM3 {name}")[1]
        for name in PANELS
    }
    session = Session.of(viewer)
    assert all(getattr(p, "session", session) is session for p in opened.values())
    return session


def test_what_was_begun_for_a_window_ends_with_it(qtbot, viewer, tmp_path):
    session, told = open_panels(viewer), []
    pixels = np.full((600, 600, 3), 200, np.uint8)
    with qtbot.waitSignal(session.slide_view().opened, timeout=LONG):
        session.slide_view().open(write_tiff(tmp_path / "s.tif", pixels, mpp=0.5))
    params = {"out": str(tmp_path / "cohort"), "config": {"cases": 50}}
    listener = Listener(then=told.append, failed=told.append)
    session.client.ask("make_phantom", params, listener)
    process, view = session.client._process, session.slide_view()
    assert process.waitForStarted()
    worker = process.processId()

    viewer.close()
    qtbot.waitUntil(lambda: not alive(worker), timeout=LONG)

    assert view.slide is None
    with pytest.raises(RuntimeError, match="after shutdown"):
        view._pool.submit(int)
    assert told == []


def test_a_session_is_forgotten_when_its_viewer_is_closed(qtbot, make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    session = weakref.ref(open_panels(viewer))

    viewer.close()
    del viewer

    def forgotten():
        gc.collect()
        return session() is None

    qtbot.waitUntil(forgotten, timeout=LONG)


def test_another_cohort_ends_what_was_computed_of_the_one_before(
    qtbot, hung, prepared_cohort, run
):
    explain, batch = hung.explain, hung.slide.batch
    explain.model_path.set_path(run)
    explain.compute()
    batch.out.set_path(run.parent / "made")
    press(qtbot, batch.save_button)
    records = len(notification_manager.records)

    hung.cases.open_cohort(prepared_cohort)

    assert not explain.cancel_button.isEnabled()
    assert batch.save_button.isEnabled()
    assert len(notification_manager.records) == records
    with qtbot.waitSignal(hung.session.case_drawn, timeout=LONG):
        hung.session.step(1)
    assert explain.compute_button.isEnabled()


@pytest.fixture
def sample(monkeypatch, tmp_path):
    monkeypatch.setattr(sample_data, "sample_folder", lambda: tmp_path / "sample")
    return tmp_path / "sample" / "cohort.csv"


def test_the_sample_is_made_while_the_window_lives(qtbot, viewer, sample):
    viewer.open_sample("napari-harm3", "phantom")
    session = Session.of(viewer)

    assert not sample.exists()
    assert [layer.name for layer in viewer.layers] == [sample_data.WAITING]
    assert "made up" in notification_manager.records[-1].message
    with qtbot.waitSignal(session.case_drawn, timeout=LONG):
        pass
    assert session.cohort.path == sample
    assert session.case.case_id == "HN-0001"
    assert len(viewer.layers) == 12


def test_a_slide_leaves_room_for_the_volumes_beside_it(qtbot, viewer, sample):
    viewer.window.resize(1560, 1000)
    viewer.open_sample("napari-harm3", "phantom")
    session = Session.of(viewer)
    with qtbot.waitSignal(session.case_drawn, timeout=LONG):
        pass
    slide = session.slide_view()

    # It is narrow, and the whole slide is in sight.
    qtbot.waitUntil(lambda: slide.width() < 0.35 * viewer.window._qt_window.width())
    first, last = slide.model.layers["slide"].extent.world
    qtbot.waitUntil(
        lambda: (last - first)[1] * slide.model.scene.camera.zoom <= slide.width()
    )


def test_a_cohort_that_is_opened_meanwhile_stays(
    qtbot, viewer, sample, prepared_cohort
):
    viewer.open_sample("napari-harm3", "phantom")
    session, told = Session.of(viewer), len(notification_manager.records)

    session.open_cohort(prepared_cohort)
    qtbot.wait(500)

    assert session.cohort.path == prepared_cohort
    assert not session.client.busy
    assert not viewer.layers
    assert len(notification_manager.records) == told
