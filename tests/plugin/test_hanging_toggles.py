"""What is hidden or shown by a key is what belongs on screen, and nothing else."""

import numpy as np
import pytest

from napari_harm3.cohort.case import ROLES, TITLES
from napari_harm3.mri.display import display_grid
from napari_harm3.mri.volume import Geometry
from napari_harm3.plugin.hanging import Hanging
from napari_harm3.plugin.layers import DrawnVolume

GRID = display_grid(Geometry(shape=(5, 4, 3), affine=np.eye(4)))
SHAPE = GRID.shape
HEAT = GRID, np.ones(SHAPE, np.float32)


def drawn(role, *, annotated=True, aligned=False):
    """Return a volume; aligned, it is another array, as that of a resampling is."""
    return DrawnVolume(
        role=role,
        grid=GRID,
        image=np.zeros(SHAPE, np.float32),
        annotation=np.ones(SHAPE, np.uint8) if annotated else None,
        aligned=aligned,
    )


@pytest.fixture
def hung(viewer):
    """Return a case whose volumes are all annotated, but for the first."""
    hanging = Hanging(viewer)
    hanging.show([drawn(role, annotated=role != ROLES[0]) for role in ROLES])
    return hanging


def shown(viewer, end):
    """Return the roles of which a kind of layer is on screen."""
    return {role for role in ROLES if viewer.layers[f"{TITLES[role]}, {end}"].visible}


def test_a_map_that_was_taken_off_never_comes_back_by_the_key(viewer, hung):
    hung.show_heat({"t1_pre": HEAT, "t2_pre": HEAT})
    hung.show_heat({"t1_pre": HEAT})

    hung.toggle_heat()
    assert shown(viewer, "heat") == set()
    hung.toggle_heat()
    assert shown(viewer, "heat") == {"t1_pre"}


def test_what_is_drawn_by_hand_stays_hidden_where_it_does_not_belong(viewer, hung):
    first = ROLES[0]
    by_hand = viewer.layers[f"{TITLES[first]}, annotation"]
    by_hand.data = np.ones(SHAPE, np.uint8)
    by_hand.visible = True
    hung.move([drawn(r, annotated=r != first, aligned=True) for r in ROLES])

    hung.toggle_annotations()
    assert shown(viewer, "annotation") == set()
    hung.toggle_annotations()
    assert shown(viewer, "annotation") == {*ROLES} - {first}

    hung.move([drawn(role, annotated=role != first) for role in ROLES])
    assert shown(viewer, "annotation") == {*ROLES}


def test_annotations_are_hidden_together_whatever_each_was(viewer, hung):
    viewer.layers[f"{TITLES['t2_post']}, annotation"].visible = False

    hung.toggle_annotations()
    assert shown(viewer, "annotation") == set()


def test_what_was_hidden_stays_so_in_the_next_case(viewer, hung):
    hung.toggle_annotations()
    hung.toggle_heat()

    hung.show([drawn(role) for role in ROLES])
    hung.show_heat({"t1_pre": HEAT})
    assert shown(viewer, "annotation") | shown(viewer, "heat") == set()

    hung.toggle_annotations()
    hung.toggle_heat()
    assert shown(viewer, "annotation") == {*ROLES}
    assert shown(viewer, "heat") == {"t1_pre"}
