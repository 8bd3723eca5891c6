"""Ctrl and the wheel are napari's own again once the box is gone."""

import pytest
from napari.components import ViewerModel

from napari_harm3.plugin.widgets.linked_volumes import LinkedVolumes

pytestmark = pytest.mark.gui


def stranger(viewer, event):
    """Answer the wheel as another plugin does."""


def destroy(qtbot, box):
    with qtbot.waitSignal(box.destroyed):
        box.deleteLater()


def test_napari_has_its_own_back_wherever_that_stands_by_then(qtbot):
    viewer = ViewerModel()
    before = list(viewer.mouse_wheel_callbacks)
    box = LinkedVolumes(viewer, None)
    viewer.mouse_wheel_callbacks.insert(0, stranger)

    destroy(qtbot, box)

    assert viewer.mouse_wheel_callbacks == [stranger, *before]


def test_a_box_that_took_over_from_another_gives_back_napari_s_own(qtbot):
    viewer = ViewerModel()
    before = list(viewer.mouse_wheel_callbacks)
    first, second = LinkedVolumes(viewer, None), LinkedVolumes(viewer, None)

    destroy(qtbot, first)
    assert viewer.mouse_wheel_callbacks != before
    destroy(qtbot, second)

    assert viewer.mouse_wheel_callbacks == before
