"""The grid of patches and its rules: every patch in place, none beyond the slide."""

from typing import get_args

import numpy as np
import pytest
import tifffile

from drawn_slides import PINK, blobs, tissue_of, write_tiff
from napari_harm3.errors import SlideError
from napari_harm3.wsi.config import PatchConfig, Rule
from napari_harm3.wsi.patch_pixels import lost_patches, read_patches
from napari_harm3.wsi.patches import Patches, grid, lay_patches, taken, tissue_fractions
from napari_harm3.wsi.slide import open_slide


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Return a slide that is tissue all over."""
    path = tmp_path_factory.mktemp("plain") / "p.tif"
    return write_tiff(path, np.full((701, 811, 3), PINK, np.uint8), levels=3)


@pytest.mark.parametrize("origin", [(0, 0), (37, 1201)])
@pytest.mark.parametrize("side", [(224.0, 224.0), (93.5, 93.5), (112.37, 201.9)])
def test_the_grid_begins_at_the_bounds_and_its_stride_does_not_drift(origin, side):
    bounds = (*origin, 20_011, 9_973)

    coords = grid(bounds, side)

    columns, rows = (int(bounds[2 + axis] / side[axis]) for axis in (0, 1))
    exact = [
        (origin[0] + column * side[0], origin[1] + row * side[1])
        for row in range(rows)
        for column in range(columns)
    ]
    assert tuple(coords[0]) == origin
    np.testing.assert_allclose(coords, exact, atol=1)
    inner = (coords < np.array(origin) + bounds[2:] - 2 * np.array(side)).all(axis=1)
    np.testing.assert_allclose(coords[inner], np.array(exact)[inner], atol=0.5)


@pytest.mark.parametrize("seed", range(40))
def test_no_patch_leaves_the_slide_and_none_that_fits_is_missing(seed):
    rng = np.random.default_rng(seed)
    # Halves of pixels, to the very edge, are where rounding goes astray.
    side = rng.integers(32, 1200, 2) / 2
    width, height = np.ceil(side * rng.integers(0, 9, 2)).astype(int).tolist()

    coords = grid((0, 0, width, height), tuple(side.tolist()))

    assert len(coords) == int(width / side[0]) * int(height / side[1])
    assert (coords >= 0).all()
    assert (coords + side <= (width, height)).all()


def points_of(rule, side):
    """Return the pixels of a patch that a rule looks at."""
    far = round(side[0]) - 1, round(side[1]) - 1
    return {
        "center": [(far[0] // 2, far[1] // 2)],
        "top_left": [(0, 0)],
    }.get(rule, [(0, 0), (far[0], 0), (0, far[1]), far])


@pytest.mark.parametrize("rule", ["corners_any", "corners_all", "center", "top_left"])
@pytest.mark.parametrize("scale", [(16.0, 16.0), (7.31, 11.87)])
def test_a_rule_asks_the_pixels_it_names(rule, scale):
    mask = np.random.default_rng(1).random((60, 50)) < 0.5
    side = (49.6, 61.2)
    coords = np.random.default_rng(2).integers(0, 300, (400, 2))

    said = taken(tissue_of(mask, scale), coords, side, rule)

    for (x, y), valid in zip(coords, said, strict=True):
        found = [
            mask[int((y + b + 0.5) // scale[1]), int((x + a + 0.5) // scale[0])]
            for a, b in points_of(rule, side)
        ]
        assert valid == (all(found) if rule == "corners_all" else any(found))


@pytest.mark.parametrize("rule", get_args(Rule))
def test_a_slide_without_tissue_has_no_patches(plain, rule):
    with open_slide(plain) as slide:
        patches = lay_patches(
            slide, tissue_of(np.zeros((80, 90), bool)), PatchConfig(rule=rule)
        )

    assert patches.coords.shape == (0, 2)
    assert patches.tissue.shape == (0,)


@pytest.mark.parametrize("rule", get_args(Rule))
def test_every_rule_takes_all_of_a_slide_full_of_tissue(plain, rule):
    with open_slide(plain) as slide:
        patches = lay_patches(
            slide,
            tissue_of(np.ones((88, 102), bool)),
            PatchConfig(patch=64, rule=rule),
        )

    inside = (patches.coords + 64 <= (811, 701)).all(axis=1)
    assert inside.sum() == (811 // 64) * (701 // 64)
    assert inside.all() or rule.startswith("clam")
    assert (patches.tissue[inside] == 255).all()


@pytest.mark.parametrize(("source_mpp", "refused"), [(0.54, False), (0.56, True)])
def test_up_sampling_beyond_ten_percent_is_refused_unless_allowed(
    plain, source_mpp, refused
):
    tissue = tissue_of(np.ones((88, 102), bool))
    with open_slide(plain, source_mpp=source_mpp) as slide:
        if refused:
            with pytest.raises(SlideError, match=r"coarser than the 0\.5 asked"):
                lay_patches(slide, tissue, PatchConfig())
        patches = lay_patches(slide, tissue, PatchConfig(allow_upsampling=refused))

    assert patches.level0_px == pytest.approx((112 / source_mpp,) * 2)
    assert len(patches.coords)


def test_the_tissue_under_a_patch_is_its_share_of_the_mask():
    mask = blobs(5)
    coords = np.random.default_rng(0).integers(0, 110 * 8, (300, 2))
    coords = coords[(coords + 100 <= (110 * 8, 90 * 8)).all(axis=1)]

    found = tissue_fractions(tissue_of(mask), coords, (96.0, 72.0))

    for (x, y), share in zip(coords, found, strict=True):
        left, top, right, bottom = (int(np.rint(v / 8)) for v in (x, y, x + 96, y + 72))
        assert share == np.rint(255 * mask[top:bottom, left:right].mean())


def test_a_patch_as_large_as_a_slide_is_counted_without_overflow():
    tissue = tissue_of(np.ones((3000, 3000), bool), (1.0, 1.0))
    assert tissue_fractions(tissue, np.array([[0, 0]]), (3000.0, 3000.0)) == [255]


def without_some_tiles(path, tiles):
    """Say in a file's directory that some tiles of each level are nowhere."""
    with tifffile.TiffFile(path, mode="r+") as file:
        for page, lost in zip(file.pages, tiles, strict=True):
            offsets = list(page.dataoffsets)
            for tile in lost:
                offsets[tile] = 0
            page.tags["TileOffsets"].overwrite(offsets)


@pytest.mark.parametrize("source_mpp", [0.5, (0.25, 0.5), (0.5, 0.25), 0.13])
def test_a_lost_tile_loses_just_the_patches_that_read_it(tmp_path, source_mpp):
    pixels = np.random.default_rng(0).integers(0, 255, (700, 900, 3), dtype=np.uint8)
    path = write_tiff(tmp_path / "l.tif", pixels, source_mpp, levels=2, tile=(64, 80))
    without_some_tiles(path, ((3, 40), (2, 17)))

    with open_slide(path) as slide:
        side = 37 * 0.5 / slide.mpp[0], 37 * 0.5 / slide.mpp[1]
        coords = grid((0, 0, 900, 700), side)
        patches = Patches(
            coords=coords,
            tissue=np.zeros(len(coords), np.uint8),
            level0_px=side,
            size=37,
        )
        lost = lost_patches(slide, patches)
        _, whole = read_patches(slide, patches, slice(None))

    assert 0 < lost.sum() < len(lost) / 2
    np.testing.assert_array_equal(lost, ~whole)


def test_of_a_slide_that_openslide_reads_no_patch_is_known_to_be_lost(real_data):
    path = real_data / "wsi" / "camelyon_jpeg.dcm"
    with open_slide(path, source_mpp=0.5) as slide:
        patches = lay_patches(
            slide, tissue_of(np.ones((70, 115), bool), (10.0, 10.0)), PatchConfig()
        )

        assert slide.tiff is None
        assert len(patches.coords) == 15
        assert not lost_patches(slide, patches).any()
