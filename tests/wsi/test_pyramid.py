"""A slide at any resolution: means of area, and arrays as the viewer knows them."""

import itertools

import numpy as np
import pytest
import tifffile
from scipy.ndimage import gaussian_filter

from drawn_slides import area_means, shrunk, write_tiff
from napari_harm3.errors import SlideError
from napari_harm3.wsi import pyramid as module
from napari_harm3.wsi.pyramid import (
    DAMAGED_COLOUR,
    SlideLevel,
    coarse_picture,
    overview,
    pyramid,
)
from napari_harm3.wsi.slide import open_slide

JPEG = {
    "compression": "jpeg",
    "compressionargs": {"level": 98},
    "photometric": "rgb",
    "subsampling": (1, 1),
}


def noise(rows, columns, seed=0):
    return np.random.default_rng(seed).integers(
        0, 256, (rows, columns, 3), dtype=np.uint8
    )


def clouds(rows, columns, seed=0):
    """Return what JPEG keeps: soft stains."""
    soft = gaussian_filter(noise(rows, columns, seed).astype(float), (12, 12, 0))
    return np.rint(128 + (soft - 128) * 20).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Return a picture, and slides of it: of one level, of four, and 1:4 apart."""
    folder = tmp_path_factory.mktemp("pyramid")
    pixels = clouds(1280, 1024)
    return pixels, {
        "single": write_tiff(folder / "single.tif", pixels),
        "halves": write_tiff(folder / "halves.tif", pixels, levels=4),
        "quarters": write_tiff(folder / "quarters.tif", pixels, levels=3, factor=4),
        "jpeg": write_tiff(folder / "jpeg.tif", pixels, levels=2, factor=4, **JPEG),
    }


@pytest.mark.parametrize(
    ("kind", "off"),
    [("single", 0.51), ("halves", 1.2), ("quarters", 1.2), ("jpeg", 30)],
)
@pytest.mark.parametrize("um_per_pixel", [0.5, 4.0, 8.0, 16.0])
def test_an_overview_is_the_mean_of_area(drawn, kind, off, um_per_pixel):
    pixels, slides = drawn

    with open_slide(slides[kind]) as slide:
        seen = overview(slide, um_per_pixel)

    rows, columns = (round(n * 0.5 / um_per_pixel) for n in (1280, 1024))
    assert seen.picture.shape == (rows, columns, 3)
    assert seen.level0_per_pixel == (1024 / columns, 1280 / rows)
    assert seen.damaged == 0
    expected = area_means(pixels, (rows, columns))
    np.testing.assert_allclose(seen.picture, expected, atol=off)
    assert abs(seen.picture - expected).mean() < 2


@pytest.mark.parametrize("mpp", [(0.25, 0.5), (0.5, 0.2)])
def test_an_overview_has_square_pixels_whatever_the_slides_are(tmp_path, mpp):
    pixels = clouds(400, 600)
    with open_slide(write_tiff(tmp_path / "a.tif", pixels, mpp)) as slide:
        seen = overview(slide, 4.0)

    rows, columns = round(400 * mpp[1] / 4), round(600 * mpp[0] / 4)
    np.testing.assert_allclose(
        seen.picture, area_means(pixels, (rows, columns)), atol=0.51
    )


@pytest.mark.parametrize("kind", ["single", "jpeg"])
def test_a_level_too_large_to_hold_is_shrunk_by_blocks(drawn, kind, monkeypatch):
    pixels, slides = drawn
    monkeypatch.setattr(module, "WHOLE_PIXELS", 400_000)
    monkeypatch.setattr(module, "BLOCK", 300)

    with open_slide(slides[kind]) as slide:
        seen = overview(slide, 7.0)

    expected = area_means(pixels, seen.picture.shape[:2])
    off = abs(seen.picture - expected)
    assert off.mean() < 2
    assert off.max() < 20


def broken(path, level, tile):
    """Overwrite one tile of a file."""
    with tifffile.TiffFile(path) as file:
        page = file.pages[level]
        offset, size = page.dataoffsets[tile], page.databytecounts[tile]
    content = bytearray(path.read_bytes())
    content[offset : offset + size] = bytes(size)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("options", [{}, JPEG], ids=["deflate", "jpeg"])
def test_what_is_damaged_is_grey_and_counted_and_all_else_is_there(tmp_path, options):
    pixels = clouds(1024, 1280)
    whole = write_tiff(tmp_path / "w.tif", pixels, **options)
    path = broken(write_tiff(tmp_path / "d.tif", pixels, **options), 0, 7)

    with open_slide(path) as slide, open_slide(whole) as sound:
        seen, intact = overview(slide, 1.0), overview(sound, 1.0)
        level = pyramid(slide)[0]
        part = level[200:600, 500:800]
        with pytest.raises(SlideError, match="damaged"):
            slide.read(0, 500, 200, 300, 400)

    assert seen.damaged > 0
    assert intact.damaged == 0
    grey = np.zeros(seen.picture.shape, bool)
    grey[128:256, 256:384] = True
    assert (seen.picture[grey] == DAMAGED_COLOUR).all()
    np.testing.assert_array_equal(seen.picture[~grey], intact.picture[~grey])
    assert (part[56:312, 12:268] == DAMAGED_COLOUR).all()


@pytest.mark.parametrize("kind", ["single", "halves", "quarters"])
def test_levels_are_a_factor_of_two_apart_and_each_the_mean_of_the_one_before(
    drawn, kind
):
    pixels, slides = drawn

    with open_slide(slides[kind]) as slide:
        levels = [np.asarray(level) for level in pyramid(slide)]

    np.testing.assert_array_equal(levels[0], pixels)
    assert max(levels[-1].shape) <= 512 < max(levels[-2].shape)
    for finer, coarser in itertools.pairwise(levels):
        ratio = np.array(finer.shape[:2]) / coarser.shape[:2]
        np.testing.assert_allclose(ratio, 2, rtol=0.01)
        np.testing.assert_allclose(coarser, shrunk(finer, 2).astype(int), atol=1)


def test_a_level_made_while_jpeg_is_decoded_is_close_to_the_mean(drawn):
    with open_slide(drawn[1]["jpeg"]) as slide:
        finest, second = (np.asarray(level) for level in pyramid(slide)[:2])

    off = abs(second.astype(int) - shrunk(finest, 2))
    assert off.max() <= 4
    assert off.mean() < 0.5


def test_levels_of_the_file_that_are_there_are_taken_as_they_are(tmp_path):
    path = tmp_path / "o.tif"
    with tifffile.TiffWriter(path) as writer:
        for level, side in enumerate((2400, 800, 267)):
            pixels = np.full((side, side, 3), 60 * level, np.uint8)
            writer.write(
                pixels,
                tile=(256, 256),
                photometric="rgb",
                subfiletype=int(level > 0),
                metadata=None,
            )

    with open_slide(path) as slide:
        levels = pyramid(slide)
        colours = [int(level[0, 0, 0]) for level in levels]
        downs = [level.down for level in levels]

    assert colours[0] == 0
    assert set(colours[1:]) >= {60}
    assert (np.diff(downs) > 0).all()
    assert max(levels[-1].shape) <= 512


def picked(rng, size):
    """Return an index: a slice with or without a step, or an integer."""
    kind = rng.integers(4)
    if kind == 0:
        return int(rng.integers(-size, size))
    ends = [
        None if rng.random() < 0.2 else int(n)
        for n in rng.integers(-2 * size, 2 * size, 2)
    ]
    step = [None, int(rng.integers(1, 9)), -int(rng.integers(1, 9))][kind - 1]
    return slice(*ends, step)


@pytest.mark.parametrize("down", [1.0, 2.0, 4.0, 16.0])
@pytest.mark.parametrize("kind", ["single", "quarters", "jpeg"])
def test_a_level_is_sliced_as_an_array_is(drawn, kind, down):
    rng = np.random.default_rng(0)
    with open_slide(drawn[1][kind]) as slide:
        level = SlideLevel(slide, down)
        whole = np.asarray(level)
        assert whole.shape == level.shape
        assert whole.dtype == level.dtype
        assert whole.ndim == level.ndim
        assert whole.size == level.size

        for _ in range(60):
            key = picked(rng, level.shape[0]), picked(rng, level.shape[1])
            for full in (
                key,
                key[:1],
                key[0],
                (*key, 1),
                (*key, slice(None, None, -1)),
            ):
                np.testing.assert_array_equal(level[full], whole[full])
                assert level[full].shape == whole[full].shape
        for full in (..., (..., 0), (3, ...), (..., 5, slice(2)), (1, 2, ..., 0), ()):
            np.testing.assert_array_equal(level[full], whole[full])


@pytest.mark.parametrize(
    "key", [(1280, 0), (0, 1024), (-1281,), (0, 0, 3), (0, 0, 0, 0)]
)
def test_what_lies_beyond_a_level_is_an_index_error(drawn, key):
    with open_slide(drawn[1]["single"]) as slide:
        level = pyramid(slide)[0]
        with pytest.raises(IndexError):
            level[key]


def test_a_level_becomes_an_array_only_by_a_copy(drawn):
    with open_slide(drawn[1]["quarters"]) as slide:
        level = pyramid(slide)[-1]

        assert np.asarray(level, dtype=np.float32).dtype == np.float32
        assert np.array(level, copy=True).shape == level.shape
        with pytest.raises(ValueError, match="copy"):
            np.array(level, copy=False)


def test_a_level_reads_only_what_it_is_asked_for(drawn):
    with open_slide(drawn[1]["single"]) as slide:
        level = pyramid(slide)[0]
        before = slide.tiff.cache.bytes

        level[300:310, 340:360]

        assert slide.tiff.cache.bytes - before == 256 * 256 * 3


def test_a_slide_without_coarse_levels_is_decoded_whole_once(drawn, monkeypatch):
    pixels, slides = drawn
    monkeypatch.setattr(module, "SLOW_PIXELS", 1_000_000)
    monkeypatch.setattr(module, "KEPT_PIXELS", 100_000)
    monkeypatch.setattr(module, "COARSEST", 100)

    with open_slide(slides["single"]) as slide:
        levels = pyramid(slide)
        picture = coarse_picture(levels)
        steps = list(picture.make())
        slide.close()  # what is kept needs the file no more
        seen = [np.asarray(level) for level in levels if level.source is picture]

    assert [level.down for level in levels] == [1, 2, 4, 8, 16]
    assert len(seen) == 3
    assert steps[-1] == (len(steps), len(steps))
    for level in seen:
        np.testing.assert_allclose(level, area_means(pixels, level.shape[:2]), atol=2)


def test_a_coarse_picture_is_made_for_whoever_looks_first(drawn, monkeypatch):
    _, slides = drawn
    monkeypatch.setattr(module, "SLOW_PIXELS", 1_000_000)

    with open_slide(slides["single"]) as slide:
        levels = pyramid(slide)
        picture = coarse_picture(levels)
        assert not picture.made
        levels[-1][:4, :4]
        assert picture.made

    with open_slide(slides["halves"]) as slide:
        monkeypatch.setattr(module, "SLOW_PIXELS", 2_000_000)
        assert coarse_picture(pyramid(slide)) is None
