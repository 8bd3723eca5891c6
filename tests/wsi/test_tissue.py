"""Tissue told from glass (section 2.3): the same in microns whatever the slide."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import median_filter

from drawn_slides import GLASS, PINK, stained, stains, write_tiff
from napari_harm3.errors import SlideError
from napari_harm3.wsi.config import PRESETS, TissueConfig
from napari_harm3.wsi.slide import open_slide
from napari_harm3.wsi.tissue import (
    Tissue,
    find_tissue,
    glass_level,
    majority,
    tissue_mask,
)

PURPLE = (90, 50, 130)
"""Dark with haematoxylin, as a lymph node is."""

INKS = {
    "green": (40, 150, 60),
    "blue": (30, 60, 180),
    "black": (25, 22, 28),
    "red": (190, 30, 35),
}


def glass(rows=200, columns=200, colour=GLASS):
    return np.full((rows, columns, 3), colour, np.uint8)


@pytest.mark.parametrize("mpp", [0.1, 0.25, 0.5, 1.0, 2.0, (0.25, 0.5), (1.0, 0.4)])
def test_tissue_has_the_same_area_where_it_was_drawn_at_any_resolution(tmp_path, mpp):
    mpp_x, mpp_y = np.broadcast_to(mpp, 2)

    def at(rows_um, columns_um):
        return (
            slice(*(round(v / mpp_y) for v in rows_um)),
            slice(*(round(v / mpp_x) for v in columns_um)),
        )

    pixels = glass(round(320 / mpp_y), round(400 / mpp_x))
    pixels[at((80, 240), (80, 320))] = PINK
    path = write_tiff(tmp_path / "t.tif", pixels, mpp)

    with open_slide(path) as slide:
        tissue = find_tissue(slide, TissueConfig())

    scale = np.array(tissue.level0_per_pixel) * (mpp_x, mpp_y)
    assert tissue.mask.sum() * scale.prod() == pytest.approx(160 * 240, rel=0.05)
    (piece,) = tissue.polygons["features"]
    ring = np.array(piece["geometry"]["coordinates"][0]) * (mpp_x, mpp_y)
    np.testing.assert_allclose(ring.min(axis=0), (80, 80), atol=9)
    np.testing.assert_allclose(ring.max(axis=0), (320, 240), atol=9)
    assert not tissue.warning


@pytest.mark.parametrize("seed", range(5))
def test_the_papers_preset_is_its_words_read_plainly(seed):
    picture = stains((150, 170), seed)
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (4, 4))

    mask = tissue_mask(picture, PRESETS["paper"])

    expected = stained(picture, 8, 7, disk)
    assert 0.1 < expected.mean() < 0.9
    np.testing.assert_array_equal(mask, expected == 1)


@settings(max_examples=150, deadline=None)
@given(
    picture=arrays(
        np.uint8,
        st.tuples(st.integers(1, 12), st.integers(1, 12)),
        elements=st.integers(0, 255),
    ),
    threshold=st.integers(0, 254),
    width=st.sampled_from([1, 3, 5, 7, 11]),
)
def test_a_majority_is_the_median_then_thresholded(picture, threshold, width):
    found = majority((picture > threshold).astype(np.uint8), width)

    median = median_filter(picture, width, mode="nearest")
    np.testing.assert_array_equal(found == 1, median > threshold)


@pytest.mark.parametrize("level", [0, 6, 15, 24])
def test_the_tint_of_glass_is_subtracted(level):
    value = 240
    tinted = glass(colour=(value, value - round(level * value / 255), value))
    picture = tinted.copy()
    picture[60:140, 60:140] = PINK

    mask = tissue_mask(picture, TissueConfig())

    saturation, brightest = cv2.split(cv2.cvtColor(picture, cv2.COLOR_RGB2HSV))[1:]
    assert glass_level(saturation, brightest) == pytest.approx(level, abs=1)
    assert not tissue_mask(tinted, TissueConfig()).any()
    assert mask.sum() == pytest.approx(80 * 80, rel=0.05)
    assert tissue_mask(tinted, TissueConfig(glass=False)).all() == (level > 8)


def test_a_slide_almost_without_glass_tells_no_tint():
    picture = glass(colour=(180, 168, 180))
    picture[:2, :2] = (240, 230, 240)
    assert tissue_mask(picture, TissueConfig()).all()


@pytest.mark.parametrize("colour", INKS.values(), ids=INKS.keys())
def test_pen_marks_are_left_out(colour):
    picture = glass()
    picture[20:80, 20:180] = colour
    picture[120:180, 20:180] = PINK

    mask = tissue_mask(picture, TissueConfig())

    assert not mask[:100].any()
    assert mask[125:175, 25:175].all()
    with_ink = tissue_mask(picture, TissueConfig(pen=False))
    assert with_ink[25:75, 25:175].all()


@pytest.mark.parametrize("colour", [PURPLE, PINK, (70, 35, 100), (200, 60, 110)])
def test_dark_and_strongly_stained_tissue_is_no_ink(colour):
    picture = glass()
    picture[40:160, 40:160] = colour
    assert tissue_mask(picture, TissueConfig())[45:155, 45:155].all()


def test_holes_are_filled_and_specks_dropped_below_their_area():
    picture = glass()
    picture[20:140, 20:140] = PINK
    picture[40:60, 40:60] = GLASS  # 25,600 square microns
    picture[90:104, 90:104] = GLASS  # 12,544
    picture[160:180, 20:40] = PINK
    picture[160:174, 100:114] = PINK

    usual = tissue_mask(picture, TissueConfig())
    every = tissue_mask(picture, TissueConfig(least_area_um2=0, least_hole_um2=0))
    none = tissue_mask(picture, TissueConfig(least_area_um2=5e5, least_hole_um2=5e5))

    centres = [(50, 50), (97, 97), (170, 30), (167, 107), (80, 80)]
    assert [usual[at] for at in centres] == [0, 1, 1, 0, 1]
    assert [every[at] for at in centres] == [0, 0, 1, 1, 1]
    assert [none[at] for at in centres] == [1, 1, 0, 0, 1]


def test_glass_at_the_border_is_no_hole_however_small():
    assert not tissue_mask(glass(10, 10), TissueConfig()).any()
    picture = glass(colour=PINK)
    picture[:12, :12] = picture[190:, 60:90] = GLASS

    mask = tissue_mask(picture, TissueConfig(closing_um=0, median_um=0))

    assert not mask[:12, :12].any()
    assert not mask[190:, 60:90].any()
    assert mask.sum() == 200 * 200 - 144 - 300


def test_a_hole_is_closed_by_tissue_that_touches_at_corners():
    picture = glass(20, 20)
    picture[2:18, 2:18] = PINK
    picture[6:9, 6:9] = GLASS
    # On the outside, and met by the hole in one corner.
    picture[0:6, 9:18] = GLASS
    config = TissueConfig(
        median_um=0, closing_um=0, least_area_um2=0, least_hole_um2=20 * 64
    )

    mask = tissue_mask(picture, config)

    assert mask[6:9, 6:9].all()
    assert not mask[0:6, 9:18].any()


def test_a_dark_background_is_warned_about(tmp_path):
    rng = np.random.default_rng(0)
    glow = rng.integers(0, 40, (400, 400, 3), dtype=np.uint8)
    glow[100:200, 100:200, 1] = 200
    path = write_tiff(tmp_path / "f.tif", glow, 4.0)

    with open_slide(path) as slide:
        tissue = find_tissue(slide, PRESETS["paper"])

    assert "dark, as of fluorescence" in tissue.warning
    empty = Tissue(mask=np.zeros((0, 0), bool), level0_per_pixel=(1, 1), contours=())
    assert (empty.fraction, empty.warning) == (0, "")


def test_a_slide_without_resolution_is_refused_until_it_is_stated(tmp_path):
    path = write_tiff(tmp_path / "n.tif", glass(), None)
    with open_slide(path) as slide:
        assert slide.mpp is None
        with pytest.raises(SlideError, match=r"n\.tif does not state its resolution"):
            find_tissue(slide, TissueConfig())
    with open_slide(path, source_mpp=0.5) as slide:
        assert slide.mpp_source == "stated"
        assert find_tissue(slide, TissueConfig()).fraction == 0
