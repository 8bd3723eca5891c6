"""Outlines of tissue against shapely and OpenCV."""

import cv2
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import binary_erosion, binary_opening, gaussian_filter
from shapely.geometry import shape

from napari_harm3.wsi.contours import (
    drawn,
    find_contours,
    geojson,
    grid_points_in,
    large_contours,
    outlines,
)

SCALE = (8.0, 8.0)


def ragged(seed, share):
    """Return pieces with holes, walls of one pixel, and pieces within holes."""
    noise = np.random.default_rng(seed).normal(size=(60, 70))
    noise = gaussian_filter(noise, 0.5 + seed % 3)
    return (noise > np.quantile(noise, 1 - share)).astype(np.uint8)


MASKS = [ragged(seed, share) for seed in range(8) for share in (0.15, 0.5, 0.85)]


def polygons(mask, scale=SCALE):
    features = geojson(find_contours(mask), scale)["features"]
    return [shape(feature["geometry"]) for feature in features]


def held_by(pieces, mask, scale=SCALE):
    """Return which pixels have their centre in polygons, or on their outlines."""
    rows, columns = np.indices(mask.shape) + 0.5
    whole = shapely.union_all(pieces)
    points = shapely.points(columns.ravel() * scale[0], rows.ravel() * scale[1])
    return shapely.intersects(whole, points).reshape(mask.shape)


@pytest.mark.parametrize("mask", MASKS)
def test_polygons_are_valid_and_hold_the_pixels_of_the_mask_and_no_others(mask):
    pieces = polygons(mask)

    assert all(piece.is_valid and piece.area > 0 for piece in pieces)
    held = held_by(pieces, mask)
    assert not held[mask == 0].any()
    # What is a pixel wide has no area; squares of four pixels have.
    assert held[binary_opening(mask, np.ones((2, 2)))].all()


@pytest.mark.parametrize("mask", MASKS)
def test_polygons_and_mask_differ_by_their_border_at_most(mask):
    area = sum(piece.area for piece in polygons(mask, (1.0, 1.0)))
    assert binary_erosion(mask, np.ones((3, 3))).sum() <= area <= mask.sum()


def test_pixels_are_stretched_to_level_0_along_x_and_y_apart():
    mask = np.zeros((20, 20), np.uint8)
    mask[4:9, 3:15] = 1

    (piece,) = polygons(mask, (10.0, 4.0))

    assert piece.bounds == (35, 18, 145, 34)


def test_a_hole_stays_a_hole_and_a_piece_within_it_stands_alone():
    mask = np.ones((40, 50), np.uint8)
    mask[8:32, 8:42] = 0
    mask[15:25, 18:32] = 1

    large, small = sorted(polygons(mask), key=lambda piece: -piece.area)

    assert len(large.interiors) == 1
    assert not small.interiors
    assert not large.intersects(small)


def test_shells_turn_against_their_holes_as_geojson_asks():
    mask = np.ones((30, 30), np.uint8)
    mask[10:20, 10:20] = 0

    (piece,) = polygons(mask)

    assert shapely.is_ccw(piece.exterior)
    assert not shapely.is_ccw(piece.interiors[0])


def test_the_form_is_that_of_qupath():
    collection = geojson(find_contours(MASKS[0]), SCALE)

    assert collection["type"] == "FeatureCollection"
    for feature in collection["features"]:
        assert feature["type"] == "Feature"
        assert feature["geometry"]["type"] == "Polygon"
        for ring in feature["geometry"]["coordinates"]:
            assert tuple(ring[0]) == tuple(ring[-1])
        assert feature["properties"]["objectType"] == "annotation"
        assert feature["properties"]["classification"]["name"] == "Tissue"


def test_an_empty_mask_has_no_outlines():
    empty = np.zeros((10, 10), np.uint8)
    assert find_contours(empty) == []
    assert geojson([], SCALE)["features"] == []
    assert not drawn([], (10, 10)).any()


@pytest.mark.parametrize("mask", MASKS)
def test_a_mask_drawn_from_its_outlines_is_the_mask(mask):
    np.testing.assert_array_equal(drawn(find_contours(mask), mask.shape), mask)


@pytest.mark.parametrize("mask", MASKS[::3])
def test_outlines_run_through_the_border_pixels_without_idle_corners(mask):
    for contour in find_contours(mask):
        for ring, corners in zip(
            outlines(contour, (1.0, 1.0)), (contour.outer, *contour.holes), strict=True
        ):
            assert len(ring) <= len(corners)
            assert cv2.contourArea(np.float32(ring)) == cv2.contourArea(corners)
            at = np.floor(ring).astype(int)
            assert mask[at[:, 1], at[:, 0]].all()


def test_large_pieces_and_the_largest_of_their_large_holes_are_kept():
    mask = np.zeros((100, 200), np.uint8)
    mask[0:90, 0:150] = 1
    for number, side in enumerate((6, 20, 12, 16)):
        mask[10 : 10 + side, 10 + 30 * number : 10 + 30 * number + side] = 0
    mask[0:20, 160:180] = 1
    mask[30:60, 160:190] = 1
    mask[32:58, 162:188] = 0  # large outside, and little in it
    found = find_contours(mask)

    (piece,) = large_contours(found, least_area=400, least_hole=100, most_holes=2)

    assert piece.outer.max(axis=0).tolist() == [149, 89]
    assert [np.ptp(hole[:, 0]) for hole in piece.holes] == [21, 17]
    assert len(large_contours(found, least_area=300, least_hole=0, most_holes=0)) == 2
    assert not large_contours(found, least_area=1e6, least_hole=0, most_holes=0)


def asked_one_by_one(ring, x, y):
    return [
        [cv2.pointPolygonTest(ring.astype(np.int32), (a, b), False) for a in x]
        for b in y
    ]


@settings(max_examples=300, deadline=None)
@given(
    ring=st.integers(1, 12).flatmap(
        lambda n: arrays(np.int64, (n, 2), elements=st.integers(0, 12))
    ),
    step=st.sampled_from([0.5, 1.0, 1.5]),
)
def test_points_lie_where_opencv_says_on_edges_and_corners_too(ring, step):
    x, y = np.arange(-1, 14, step), np.arange(-1.5, 13.5, step)
    np.testing.assert_array_equal(
        grid_points_in(ring, x, y), asked_one_by_one(ring, x, y)
    )


@pytest.mark.parametrize("seed", range(20))
def test_points_of_a_slide_lie_where_opencv_says(seed):
    rng = np.random.default_rng(seed)
    ring = rng.integers(0, 60_000, (int(rng.integers(3, 40)), 2))
    x = np.sort(rng.integers(0, 120_000, 40)) / 2
    y = np.sort(np.concatenate([rng.integers(0, 120_000, 30) / 2, ring[:3, 1]]))

    found = grid_points_in(ring, x, y)

    np.testing.assert_array_equal(found, asked_one_by_one(ring, x, y))


@pytest.mark.parametrize("mask", MASKS[::4])
def test_points_of_real_outlines_lie_where_opencv_says(mask):
    x, y = np.arange(0, 420, 7.5), np.arange(0, 360, 6.0)
    for contour in find_contours(mask):
        scaled = contour.scaled((6.0, 6.0))
        for ring in (scaled.outer, *scaled.holes):
            np.testing.assert_array_equal(
                grid_points_in(ring, x, y), asked_one_by_one(ring, x, y)
            )
