"""The link's cells in the viewer's places, against places reckoned by hand."""

import numpy as np
import pytest

from link_folders import ASKS, GRID, centre, known_link
from napari_harm3.mri.display import display_grid
from napari_harm3.mri.volume import Geometry
from napari_harm3.plugin.link_layers import (
    cell_mm,
    link_maps,
    own_ras,
    place_of,
    strongest,
)

TURNED = np.array([[0, -1, 0, 7], [1, 0, 0, -3], [0, 0, 1, 11], [0, 0, 0, 1]], float)
LINK = known_link("A")


def grid_of(affine):
    return display_grid(Geometry(shape=(140, 120, 40), affine=affine))


def scanned(degrees=0.0):
    """Return the grid of a volume that holds every cell, tilted by some degrees."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    tilt = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    steps = np.diag([-1.5, -1.5, 3.0, 1.0])
    steps[:3, 3] = (100, 80, -60)
    return grid_of(tilt @ steps)


def at(drawn, place):
    """Return the heat that is drawn nearest to a place, Z Y X."""
    grid, heat = drawn
    return heat[
        tuple(np.rint((np.array(place) - grid.translate) / grid.scale).astype(int))
    ]


@pytest.mark.parametrize("degrees", [0.0, 9.0])
@pytest.mark.parametrize("patch", [0, 1, 2])
def test_a_patchs_heat_peaks_at_the_cell_that_it_asks(patch, degrees):
    role, cell = ASKS[patch]
    grids = {role: scanned(degrees), "t2_pre": scanned()}

    maps = link_maps(LINK, LINK.mri_of_patch(patch), grids, {})

    assert maps.keys() == grids.keys()
    assert not maps["t2_pre"][1].any()
    for other in np.ndindex(GRID):
        expected = float(other == cell)
        assert at(maps[role], centre(other)) == pytest.approx(expected, abs=0.25)
    best = strongest(LINK, LINK.mri_of_patch(patch), {})
    assert (best.role, best.share) == (role, 1)
    np.testing.assert_allclose(best.place, centre(cell))


def test_a_map_begins_with_its_volume_and_is_no_larger():
    grid = scanned()

    coarse, heat = link_maps(LINK, LINK.mri_of_patch(0), {"t1_pre": grid}, {})["t1_pre"]

    assert coarse.translate == grid.translate
    assert heat.shape == coarse.shape
    size = (np.array(coarse.shape) - 1) * coarse.scale
    assert (size <= (np.array(grid.shape) - 1) * grid.scale + 1e-9).all()
    assert max(coarse.scale) < 9


def test_an_answer_is_written_into_the_arrays_of_another_where_they_fit():
    grids = {"t1_pre": scanned(), "t2_pre": scanned(9.0)}
    before = link_maps(LINK, LINK.mri_of_patch(0), grids, {})
    fresh = link_maps(LINK, LINK.mri_of_patch(1), grids, {})

    after = link_maps(LINK, LINK.mri_of_patch(1), grids, {}, before)

    for role, (_, heat) in after.items():
        assert heat is before[role][1]
        np.testing.assert_array_equal(heat, fresh[role][1])
    turned = {"t2_pre": scanned()}
    other = link_maps(LINK, LINK.mri_of_patch(1), turned, {}, after)["t2_pre"]
    assert other[1].shape == other[0].shape != after["t2_pre"][1].shape


def test_a_registered_volume_is_asked_where_it_lies_now():
    """Drawn in the common space, a place goes through the viewer's own transform."""
    x, y, z = 12.0, -30.0, 8.0

    ras = own_ras("t2_post", (z, y, x), {"t2_post": TURNED})

    np.testing.assert_allclose(ras, (TURNED @ (-x, -y, z, 1))[:3])
    there = place_of("t2_post", ras.tolist(), {"t2_post": TURNED})
    np.testing.assert_allclose(there, (z, y, x))
    np.testing.assert_allclose(own_ras("t1_pre", (z, y, x), {}), (-x, -y, z))


def test_links_and_viewers_transforms_cancel_where_they_are_the_same():
    """In the common space a cell lies at the link's own place, whatever the role."""
    link = known_link("A", transforms={"t2_post": TURNED})
    shares = link.mri_of_patch(1)
    role, cell = ASKS[1]

    aligned = strongest(link, shares, {role: TURNED})
    as_scanned = strongest(link, shares, {})

    np.testing.assert_allclose(aligned.place, centre(cell))
    z, y, x = centre(cell)
    right, front, up = (TURNED @ (-x, -y, z, 1))[:3]
    np.testing.assert_allclose(as_scanned.place, (up, -front, -right))
    drawn = link_maps(link, shares, {role: scanned()}, {role: TURNED})[role]
    plain = link_maps(LINK, shares, {role: scanned()}, {})[role]
    np.testing.assert_allclose(drawn[1], plain[1], atol=1e-5)


def test_a_cell_is_as_large_as_the_link_says():
    assert cell_mm(LINK) == pytest.approx((30, 40, 50))
