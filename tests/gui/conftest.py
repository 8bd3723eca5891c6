"""The real window, opened for every test anew."""

import shutil

import pytest

from napari_harm3.plugin.workspace import open_workspace
from window_steps import LONG, press


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer(show=True)


@pytest.fixture
def workspace(viewer):
    viewer.window.resize(1560, 1000)
    opened = open_workspace(viewer)
    yield opened
    opened.session.end()


@pytest.fixture
def hung(qtbot, workspace, prepared_cohort):
    """Return the workspace, the second case of a cohort that nobody read hanging."""
    shutil.rmtree(prepared_cohort.parent / ".harm3" / "reviews", ignore_errors=True)
    workspace.cases.open_cohort(prepared_cohort)
    workspace.cases.list.table.selectRow(1)
    with qtbot.waitSignal(workspace.session.case_drawn, timeout=LONG):
        press(qtbot, workspace.cases.open_button)
    return workspace
