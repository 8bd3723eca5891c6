"""A case drawn in the common space, against places reckoned by hand."""

import numpy as np
import pytest

from napari_harm3.cohort.case import Case
from napari_harm3.mri.volume import write_volume
from napari_harm3.plugin.layers import draw_case, draw_maps

MARKED = (9, 5, 4)
AFFINE = np.array([[-2.0, 0, 0, 30], [0, 2, 0, -12], [0, 0, 3, 5], [0, 0, 0, 1]])
SHIFT = np.array([[1.0, 0, 0, 7], [0, 1, 0, -4], [0, 0, 1, 2.5], [0, 0, 0, 1]])


def turned(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    return turn @ SHIFT


@pytest.fixture
def case(tmp_path):
    """Return one volume with a bright ball, and the ball as its annotation."""
    index = np.indices((20, 16, 10)).reshape(3, -1).T - MARKED
    near = np.linalg.norm(index * (2, 2, 3), axis=1) <= 5
    ball = near.reshape(20, 16, 10)
    write_volume(tmp_path / "v.nii.gz", 100 * ball.astype(np.float32), AFFINE)
    write_volume(tmp_path / "m.nii.gz", ball.astype(np.uint8), AFFINE)
    return Case(
        case_id="A",
        row=2,
        volumes={"t1_post": tmp_path / "v.nii.gz", "t2_pre": tmp_path / "v.nii.gz"},
        masks={"t1_post": tmp_path / "m.nii.gz"},
    )


def middle(weights, grid):
    """Return the centre of mass of a drawn array in LPS mm, as x, y, z."""
    index = np.argwhere(weights > 0)
    weight = weights[weights > 0].astype(float)
    centre = (index * weight[:, None]).sum(axis=0) / weight.sum()
    return (centre * grid.scale + grid.translate)[::-1]


@pytest.mark.parametrize("transform", [SHIFT, turned(12.0)], ids=["shift", "turn"])
def test_volume_annotation_and_map_land_where_the_transform_says(case, transform):
    drawn = draw_case(case, {"t1_post": transform.tolist()})[1]
    maps = draw_maps({"t1_post": case.volumes["t1_post"]}, {"t1_post": transform})

    own = AFFINE @ [*MARKED, 1]
    x, y, z, _ = np.linalg.inv(transform) @ own
    expected = (-x, -y, z)
    np.testing.assert_allclose(middle(drawn.image, drawn.grid), expected, atol=0.1)
    np.testing.assert_allclose(middle(drawn.annotation, drawn.grid), expected, atol=0.5)
    grid, heat = maps["t1_post"]
    np.testing.assert_array_equal(heat, drawn.image)
    assert (grid.scale, grid.translate) == (drawn.grid.scale, drawn.grid.translate)


def test_only_a_moved_role_forgets_the_grid_of_its_file(case):
    drawn = draw_case(case, {"t1_post": SHIFT})

    assert drawn[1].aligned
    assert drawn[1].origin("image") == drawn[1].origin("labels") == {}
    assert not drawn[2].aligned
    np.testing.assert_array_equal(drawn[2].origin("image")["affine_ras"], AFFINE)


def test_without_transforms_a_case_is_drawn_as_scanned(case):
    drawn = draw_case(case)[1]

    x, y, z, _ = AFFINE @ [*MARKED, 1]
    np.testing.assert_allclose(middle(drawn.image, drawn.grid), (-x, -y, z), atol=1e-4)
    assert not drawn.aligned
