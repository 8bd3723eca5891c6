"""CLAM's ways of finding tissue and laying patches, read plainly, point by point."""

import itertools

import cv2
import numpy as np
import pytest
import tifffile

from drawn_slides import blobs, stained, stains, tissue_of
from napari_harm3.errors import SlideError
from napari_harm3.wsi import tissue as module
from napari_harm3.wsi.config import PRESETS
from napari_harm3.wsi.patches import clam_patches
from napari_harm3.wsi.slide import open_slide
from napari_harm3.wsi.tissue import find_tissue

PUBLISHED = {
    "clam": (8, 7, 4, 100, 16, 8),
    "clam_biopsy": (15, 11, 2, 1, 1, 2),
    "clam_resection": (15, 11, 4, 100, 16, 8),
    "clam_tcga": (8, 7, 4, 16, 4, 8),
}
"""sthresh, mthresh, close, a_t, a_h and max_n_holes of CLAM's presets."""


def clam_pieces(picture, preset, down):
    """Return CLAM's pieces and their holes, from its published parameters."""
    threshold, median, closing, least_area, least_hole, most_holes = PUBLISHED[preset]
    mask = stained(picture, threshold, median, np.ones((closing,) * 2, np.uint8))
    rings, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    square = 512**2 // down**2
    found = []
    for piece in (n for n in range(len(rings)) if tree[0, n, 3] == -1):
        holes = [rings[n] for n in range(len(rings)) if tree[0, n, 3] == piece]
        net = cv2.contourArea(rings[piece]) - sum(map(cv2.contourArea, holes))
        if net > least_area * square:
            holes.sort(key=cv2.contourArea, reverse=True)
            found.append(
                [rings[piece]]
                + [
                    hole
                    for hole in holes[:most_holes]
                    if cv2.contourArea(hole) > least_hole * square
                ]
            )
    return found


def below_an_empty_level(path, seen, down):
    """Write a picture as the second level of a slide whose first is not needed."""
    rows, columns = seen.shape[0] * down, seen.shape[1] * down
    options = {
        "tile": (256, 256),
        "photometric": "rgb",
        "compression": "deflate",
        "metadata": None,
    }
    with tifffile.TiffWriter(path) as writer:
        writer.write(
            itertools.repeat(b"", -(-rows // 256) * -(-columns // 256)),
            shape=(rows, columns, 3),
            dtype=np.uint8,
            **options,
        )
        writer.write(seen, subfiletype=1, **options)
    return path


@pytest.mark.parametrize("preset", PUBLISHED)
@pytest.mark.parametrize("down", [32, 40, 64])
def test_clams_presets_find_what_its_published_parameters_say(tmp_path, preset, down):
    seen = stains((480, 560), down, smooth=6, strength=30, least=25)

    with open_slide(below_an_empty_level(tmp_path / "c.tif", seen, down)) as slide:
        tissue = find_tissue(slide, PRESETS[preset])

    expected = clam_pieces(seen, preset, down)
    assert tissue.level0_per_pixel == (down, down)
    assert len(tissue.contours) == len(expected)
    for contour, rings in zip(tissue.contours, expected, strict=True):
        for one, other in zip((contour.outer, *contour.holes), rings, strict=True):
            np.testing.assert_array_equal(one, other[:, 0])


def test_a_slide_without_a_level_that_clam_could_hold_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_PIXELS", 100_000)
    path = below_an_empty_level(tmp_path / "c.tif", stains((480, 560)), 8)
    with (
        open_slide(path) as slide,
        pytest.raises(SlideError, match="560 x 480 pixels at once"),
    ):
        find_tissue(slide, PRESETS["clam"])


def as_clam_has_it(mask, scale, side, *, every):
    """Return CLAM's patches, each point of each patch asked by itself."""
    rings, tree = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
    )
    rings = [(ring * scale).astype(np.int32) for ring in rings]
    kept = set()
    for piece in np.flatnonzero(tree[0, :, 3] == -1):
        outer = rings[piece]
        holes = [rings[n] for n in np.flatnonzero(tree[0, :, 3] == piece)]
        left, top, width, height = cv2.boundingRect(outer)
        for x in range(left, left + width, side):
            for y in range(top, top + height, side):
                quarter = side // 2 // 2
                inside = [
                    cv2.pointPolygonTest(
                        outer, (x + side // 2 + a, y + side // 2 + b), 0
                    )
                    >= 0
                    for a in (-quarter, quarter)
                    for b in (-quarter, quarter)
                ]
                middle = (x + side / 2, y + side / 2)
                in_hole = any(cv2.pointPolygonTest(h, middle, 0) > 0 for h in holes)
                if (all if every else any)(inside) and not in_hole:
                    kept.add((x, y))
    return kept


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_clam_patches_are_those_found_point_by_point(every, seed):
    mask = blobs(seed, share=(0.3, 0.5, 0.7)[seed % 3])
    scale = [(8.0, 8.0), (4.37, 5.21), (2.0, 2.0)][seed // 2]

    for side in (16, 33, 50):
        found = clam_patches(
            tissue_of(mask, scale), (float(side), float(side)), every=every
        )

        expected = as_clam_has_it(mask, scale, side, every=every)
        assert expected
        assert {tuple(place) for place in found.tolist()} == expected
        assert len(found) == len(expected)


def test_all_four_points_of_clam_ask_more_than_one():
    tissue = tissue_of(blobs(3))
    one, four = (
        {tuple(c) for c in clam_patches(tissue, (64.0, 64.0), every=every).tolist()}
        for every in (False, True)
    )
    assert four < one
