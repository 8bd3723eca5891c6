"""Each volume keeps its cell of the grid, whatever else is opened, moved or removed."""

import numpy as np
import pytest
from napari.utils.notifications import notification_manager

from napari_harm3.cohort.case import ROLES, TITLES
from napari_harm3.mri.display import display_grid
from napari_harm3.mri.volume import Geometry
from napari_harm3.plugin.hanging import Hanging
from napari_harm3.plugin.layers import DrawnVolume

pytestmark = pytest.mark.gui

SLICE_MM = 5.0
GRID = display_grid(Geometry(shape=(5, 4, 3), affine=np.diag([1, 1, SLICE_MM, 1])))
CELLS = dict(zip(ROLES, [(0, 0), (0, 1), (1, 0), (1, 1)], strict=True))
FIRST, HEAT, ANNOTATION = (
    f"{TITLES[ROLES[0]]}{e}" for e in ("", ", heat", ", annotation")
)


def drawn(role):
    return DrawnVolume(
        role=role,
        grid=GRID,
        image=np.zeros(GRID.shape, np.float32),
        annotation=np.ones(GRID.shape, np.uint8),
    )


@pytest.fixture
def hung(viewer, qapp):
    hanging = Hanging(viewer)
    hanging.show([drawn(role) for role in ROLES])
    return hanging


def in_cells(viewer):
    """Return the names of what lies in each cell, of the roles and of the others."""
    grid, layers = viewer.canvas.grid, viewer.layers
    return {
        cell: [layers[number].name for number in numbers]
        for cell, numbers in grid.iter_viewboxes(layers)
    }


def assert_each_has_its_cell(viewer, hanging):
    cells = in_cells(viewer)
    for role, cell in CELLS.items():
        title = TITLES[role]
        assert all(name.startswith(title) for name in cells[cell])
        assert hanging.role_at(cell) == role


def test_what_is_opened_over_a_case_has_a_cell_of_its_own(viewer, hung):
    viewer.add_image(np.zeros((4, 4, 4)), name="another")

    assert_each_has_its_cell(viewer, hung)
    assert in_cells(viewer)[2, 0] == ["another"]
    viewer.layers["another"].visible = False
    assert viewer.canvas.grid.shape == (2, 2)


def test_what_was_opened_before_a_case_comes_after_it(viewer, qapp):
    viewer.add_image(np.zeros((4, 4, 4)), name="another")

    hanging = Hanging(viewer)
    hanging.show([drawn(role) for role in ROLES])

    assert_each_has_its_cell(viewer, hanging)
    assert in_cells(viewer)[2, 0] == ["another"]


def test_many_others_never_reach_the_first_cells(viewer, hung):
    for _ in range(7):
        viewer.add_image(np.zeros((4, 4, 4)), name="another")

    assert_each_has_its_cell(viewer, hung)
    assert viewer.canvas.grid.shape == (4, 2)


@pytest.mark.parametrize("names", [[HEAT], [FIRST], [FIRST, HEAT, ANNOTATION]])
def test_what_is_removed_comes_back_hidden_and_is_told_once(viewer, hung, qtbot, names):
    told = len(notification_manager.records)

    for name in names:
        viewer.layers.remove(name)
    qtbot.waitUntil(lambda: len(viewer.layers) == 12)

    assert_each_has_its_cell(viewer, hung)
    assert not any(viewer.layers[name].visible for name in names)
    (said,) = notification_manager.records[told:]
    assert said.message.startswith(f"{', '.join(names)}: hidden, not removed")


def test_what_is_dragged_elsewhere_goes_back(viewer, hung, qtbot):
    viewer.add_image(np.zeros((4, 4, 4)), name="another")

    viewer.layers.move(0, 8)
    viewer.layers.move(12, 2)
    qtbot.waitUntil(lambda: viewer.layers[0].name == FIRST)

    assert_each_has_its_cell(viewer, hung)


def test_who_removes_all_means_it(viewer, hung, qtbot):
    viewer.layers.clear()
    qtbot.wait(50)

    assert len(viewer.layers) == 0
    hung.show([drawn(role) for role in ROLES])
    assert_each_has_its_cell(viewer, hung)


def test_a_volume_that_is_hidden_keeps_its_cell(viewer, hung):
    viewer.layers[FIRST].visible = viewer.layers[ANNOTATION].visible = False

    assert {cell: hung.role_at(cell) for cell in CELLS.values()} == {
        cell: role for role, cell in CELLS.items()
    }


@pytest.mark.parametrize(
    ("message", "why"),
    [("missing", "missing"), ("t1.nii.gz is damaged: copy it", "cannot be read")],
)
def test_a_volume_that_is_not_there_says_so_in_its_cell(viewer, qapp, message, why):
    lost, hanging = DrawnVolume(role="t1_post", message=message), Hanging(viewer)

    hanging.show([lost if role == lost.role else drawn(role) for role in ROLES])

    holder = viewer.layers[f"{TITLES['t1_post']} ({why})"]
    assert holder.visible
    assert holder.name_overlay.visible
    assert hanging.role_at((0, 1)) == "t1_post"
    assert hanging.role_at((1, 0)) == "t2_pre"
    assert viewer.dims.range[0].step == SLICE_MM
    assert viewer.dims.nsteps[0] == GRID.shape[0]
