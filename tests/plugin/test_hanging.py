"""A volume that is scrolled alone: what is saved of it lies where it belongs."""

import nibabel as nib
import numpy as np
import pytest

from mri_grids import oriented
from napari_harm3.cohort.case import TITLES, Case
from napari_harm3.mri.volume import write_volume
from napari_harm3.plugin.hanging import Hanging
from napari_harm3.plugin.layers import draw_case, draw_maps

OURS = "napari-harm3"
TILTED = oriented((2, 0, 1), (-1, 1, -1), tilt=(7, -11, 14))
STRAIGHT = oriented((2, 0, 1), (-1, 1, -1))
SHIFT = np.array([[1, 0, 0, 7], [0, 1, 0, -4], [0, 0, 1, 2.5], [0, 0, 0, 1]])


@pytest.fixture
def case_on(tmp_path):
    """Return a function that writes a volume and its annotation on a grid."""

    def written(grid):
        image, mask = tmp_path / "t1.nii.gz", tmp_path / "mask.nii.gz"
        rng = np.random.default_rng(0)
        write_volume(image, rng.random(grid.shape, np.float32), grid.affine)
        labels = np.zeros(grid.shape, np.uint8)
        labels[4:8, 3:6, 2:5] = 1
        write_volume(mask, labels, grid.affine)
        return Case(
            case_id="A", row=2, volumes={"t1_pre": image}, masks={"t1_pre": mask}
        )

    return written


def stored(path):
    image = nib.load(path)
    return np.asarray(image.dataobj), image.affine


def middle(path):
    """Return the centre of what a file marks, RAS mm."""
    array, affine = stored(path)
    return (affine @ [*np.argwhere(array).mean(axis=0), 1])[:3]


@pytest.mark.parametrize("grid", [STRAIGHT, TILTED], ids=["straight", "oblique"])
def test_an_annotation_is_saved_on_its_own_grid(viewer, tmp_path, case_on, grid):
    case, hanging = case_on(grid), Hanging(viewer)
    hanging.show(draw_case(case))
    hanging.scroll("t1_pre", -2)
    labels = viewer.layers[f"{TITLES['t1_pre']}, annotation"]

    (path,) = labels.save(str(tmp_path / "out.nii.gz"), plugin=OURS)

    for found, wanted in zip(stored(path), stored(case.masks["t1_pre"]), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_after_it_was_put_back_nothing_has_changed(viewer, tmp_path, case_on):
    case, hanging = case_on(TILTED), Hanging(viewer)
    hanging.show(draw_case(case))
    hanging.scroll("t1_pre", 3)
    hanging.relink()
    labels = viewer.layers[f"{TITLES['t1_pre']}, annotation"]

    (path,) = labels.save(str(tmp_path / "out.nii.gz"), plugin=OURS)

    np.testing.assert_array_equal(stored(path)[0], stored(case.masks["t1_pre"])[0])


def test_an_aligned_annotation_is_saved_where_it_was_aligned_to(
    viewer, tmp_path, case_on
):
    case, hanging = case_on(STRAIGHT), Hanging(viewer)
    hanging.show(draw_case(case))
    hanging.move(draw_case(case, {"t1_pre": SHIFT}))
    hanging.scroll("t1_pre", 2)
    labels = viewer.layers[f"{TITLES['t1_pre']}, annotation"]

    (path,) = labels.save(str(tmp_path / "out.nii.gz"), plugin=OURS)

    away = middle(path) - middle(case.masks["t1_pre"])
    np.testing.assert_allclose(away, -SHIFT[:3, 3], atol=1e-4)


def test_a_heat_map_is_saved_where_it_belongs(viewer, tmp_path, case_on):
    case, hanging = case_on(STRAIGHT), Hanging(viewer)
    hanging.show(draw_case(case))
    hanging.scroll("t1_pre", -2)
    hanging.show_heat(draw_maps(case.masks))
    heat = viewer.layers[f"{TITLES['t1_pre']}, heat"]

    (path,) = heat.save(str(tmp_path / "out.nii.gz"), plugin=OURS)

    np.testing.assert_allclose(middle(path), middle(case.masks["t1_pre"]), atol=1e-4)


@pytest.mark.gui
def test_new_labels_over_it_are_saved_on_its_grid(
    make_napari_viewer, tmp_path, case_on
):
    viewer = make_napari_viewer(show=True)
    case, hanging = case_on(STRAIGHT), Hanging(viewer)
    hanging.show(draw_case(case))
    hanging.scroll("t1_pre", -2)
    drawn = viewer.layers[f"{TITLES['t1_pre']}, annotation"]
    labels = viewer.add_labels(
        np.array(drawn.data), scale=drawn.scale, translate=drawn.translate
    )

    (path,) = labels.save(str(tmp_path / "out.nii.gz"), plugin=OURS)

    for found, wanted in zip(stored(path), stored(case.masks["t1_pre"]), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)
