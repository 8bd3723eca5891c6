"""What was painted is found again, and never in a file of the cohort."""

import numpy as np
import pytest

from mri_grids import oriented
from napari_harm3.cohort.case import Case
from napari_harm3.mri.volume import write_volume
from napari_harm3.plugin.hanging import Hanging
from napari_harm3.plugin.layers import draw_case
from napari_harm3.plugin.painted import as_painted, discard, keep, kept

pytestmark = pytest.mark.gui

GRID = oriented((2, 0, 1), (-1, 1, -1))
SHIFT = np.array([[1, 0, 0, 7], [0, 1, 0, -4], [0, 0, 1, 2.5], [0, 0, 0, 1]])
SPOT = (1, 2, 3)


@pytest.fixture
def case(tmp_path):
    """Return a case with two volumes, the first of them annotated."""
    paths = {role: tmp_path / f"{role}.nii.gz" for role in ("t1_pre", "t1_post")}
    rng = np.random.default_rng(0)
    for path in paths.values():
        write_volume(path, rng.random(GRID.shape, np.float32), GRID.affine)
    mask = tmp_path / "mask.nii.gz"
    write_volume(mask, np.ones(GRID.shape, np.uint8), GRID.affine)
    return Case(case_id="A", row=2, volumes=paths, masks={"t1_pre": mask})


@pytest.fixture
def hanging(viewer, qapp, case):
    hung = Hanging(viewer)
    hung.show(draw_case(case))
    return hung


def annotation(viewer, role):
    number = ["t1_pre", "t1_post"].index(role)
    return viewer.layers[3 * number + 2]


def drawn_again(case, folder):
    return {one.role: one.annotation for one in draw_case(as_painted(case, folder))}


def test_what_nobody_touched_is_not_kept(hanging, tmp_path):
    keep(hanging.painted, tmp_path / "kept")

    assert kept(tmp_path / "kept") == {}


@pytest.mark.parametrize("role", ["t1_pre", "t1_post"])
def test_what_was_painted_is_drawn_again(viewer, hanging, case, tmp_path, role):
    own = case.masks["t1_pre"].read_bytes()
    annotation(viewer, role).data[SPOT] = 2

    keep(hanging.painted, tmp_path / "kept")

    assert set(kept(tmp_path / "kept")) == {role}
    labels = drawn_again(case, tmp_path / "kept")[role]
    np.testing.assert_array_equal(labels, annotation(viewer, role).data)
    assert labels[SPOT] == 2
    assert case.masks["t1_pre"].read_bytes() == own


@pytest.mark.parametrize("role", ["t1_pre", "t1_post"])
def test_it_is_kept_while_the_case_is_aligned(viewer, hanging, case, tmp_path, role):
    annotation(viewer, role).data[SPOT] = 2
    painted = annotation(viewer, role).data.copy()
    hanging.move(draw_case(case, {role: SHIFT}))
    hanging.scroll(role, 2)

    keep(hanging.painted, tmp_path / "kept")
    np.testing.assert_array_equal(drawn_again(case, tmp_path / "kept")[role], painted)

    hanging.move(draw_case(case))
    np.testing.assert_array_equal(annotation(viewer, role).data, painted)


def test_what_was_saved_as_the_cases_own_is_a_draft_no_longer(
    viewer, hanging, case, tmp_path
):
    annotation(viewer, "t1_pre").data[SPOT] = 2
    keep(hanging.painted, tmp_path / "kept")

    keep(hanging.painted, tmp_path)
    (tmp_path / "painted_t1_pre.nii.gz").replace(case.masks["t1_pre"])

    assert as_painted(case, tmp_path / "kept") == case
    assert kept(tmp_path / "kept") == {}


def test_what_was_painted_is_discarded_as_a_whole(hanging, viewer, case, tmp_path):
    for role in ("t1_pre", "t1_post"):
        annotation(viewer, role).data[SPOT] = 2
    keep(hanging.painted, tmp_path / "work" / "kept")

    discard(tmp_path / "work" / "kept")

    assert kept(tmp_path / "work" / "kept") == {}
    assert list((tmp_path / "work").iterdir()) == []
    discard(tmp_path / "work" / "kept")
