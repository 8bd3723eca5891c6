"""Tiles decoded without OpenSlide hold the same pixels as OpenSlide's, bit for bit."""

from concurrent.futures import ThreadPoolExecutor

import imagecodecs
import numpy as np
import openslide
import pytest
import tifffile
from scipy.ndimage import gaussian_filter

from drawn_slides import write_tiff
from napari_harm3.wsi.slide import open_slide
from napari_harm3.wsi.tiles import TileCache

ROWS, COLUMNS = 517, 683


def picture(seed=0):
    """Return soft colours under fine grain."""
    rng = np.random.default_rng(seed)
    soft = gaussian_filter(rng.normal(size=(ROWS, COLUMNS, 3)), (9, 9, 0))
    pixels = 150 + soft / soft.std() * 40 + rng.normal(size=soft.shape) * 8
    return pixels.clip(0, 255).astype(np.uint8)


def jpeg(photometric, subsampling=(1, 1), quality=85):
    return {
        "compression": "jpeg",
        "compressionargs": {"level": quality},
        "photometric": photometric,
        "subsampling": subsampling,
    }


def aperio(compression):
    text = f"Aperio Image Library v10.0.51\r\n{COLUMNS}x{ROWS} (240x240) J2K|MPP = 0.5"
    return {"compression": compression, "compressionargs": {}, "description": text}


FORMS = {
    "jpeg rgb": jpeg("rgb"),
    "jpeg rgb subsampled": jpeg("rgb", (2, 2)),
    "jpeg 4:4:4": jpeg("ycbcr"),
    "jpeg 4:2:2": jpeg("ycbcr", (2, 1)),
    "jpeg 4:2:0": jpeg("ycbcr", (2, 2)),
    "jpeg of low quality": jpeg("ycbcr", (2, 2), 20),
    "jpeg of aperio": {**aperio("jpeg"), "subsampling": (2, 2)},
    "jpeg 2000 of aperio": aperio("APERIO_JP2000_RGB"),
    "deflate": {},
    "deflate with predictor": {"predictor": 2},
    "lzw": {"compression": "lzw", "compressionargs": {}},
    "packbits": {"compression": "packbits", "compressionargs": {}},
    "zstd": {"compression": "zstd", "compressionargs": {}},
}
TILES = [(240, 240), (512, 64)]


def on_white(region):
    """Return OpenSlide's pixels, white where there are none."""
    rgba = np.asarray(region)
    assert set(np.unique(rgba[..., 3])) <= {0, 255}
    return np.where(rgba[..., 3:] == 0, 255, rgba[..., :3])


def places(rng, width, height, count):
    """Yield regions within a level, over its edges and beyond them."""
    yield 0, 0, width, height
    yield -31, -17, 80, 60
    yield width - 20, height - 30, 50, 70
    for _ in range(count):
        x, y = int(rng.integers(-50, width)), int(rng.integers(-50, height))
        yield x, y, int(rng.integers(1, 300)), int(rng.integers(1, 300))


def assert_same_as_openslide(path, *, level=0, count=12, whole=True):
    rng = np.random.default_rng(0)
    with open_slide(path) as slide, openslide.OpenSlide(path) as other:
        assert slide.reader == "tifffile"
        assert slide.level_dimensions == other.level_dimensions
        width, height = slide.level_dimensions[level]
        down = round(slide.level_downsamples[level])
        for n, (x, y, columns, rows) in enumerate(places(rng, width, height, count)):
            if n == 0 and not whole:
                continue
            at = x * down, y * down
            np.testing.assert_array_equal(
                slide.read(level, *at, columns, rows),
                on_white(other.read_region(at, level, (columns, rows))),
            )


@pytest.mark.parametrize("tile", TILES, ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_pixels_are_openslides(tmp_path, form, tile):
    path = write_tiff(tmp_path / "f.tif", picture(), tile=tile, **FORMS[form])
    assert_same_as_openslide(path)


@pytest.mark.parametrize("form", ["jpeg 4:2:0", "deflate"])
@pytest.mark.parametrize(
    "tile", [(256, 256), (160, 336), (16, 16), (528, 688)], ids=str
)
def test_pixels_are_openslides_whatever_the_tiles(tmp_path, form, tile):
    path = write_tiff(tmp_path / "f.tif", picture(), tile=tile, **FORMS[form])
    assert_same_as_openslide(path)


@pytest.mark.parametrize("form", ["jpeg 4:2:0", "lzw"])
@pytest.mark.parametrize("level", [1, 2])
def test_pixels_of_smaller_levels_are_openslides(tmp_path, form, level):
    pixels = np.pad(picture(), ((0, 3), (0, 1), (0, 0)), mode="edge")
    path = write_tiff(
        tmp_path / "l.tif", pixels, tile=(64, 80), levels=3, **FORMS[form]
    )
    assert_same_as_openslide(path, level=level)


@pytest.mark.parametrize("place", [(COLUMNS, 0), (COLUMNS + 5, 9), (0, ROWS + 5)])
def test_a_region_wholly_beyond_the_slide_is_white(tmp_path, place):
    with open_slide(write_tiff(tmp_path / "b.tif", picture())) as slide:
        assert (slide.read(0, *place, 20, 10) == 255).all()
        assert (slide.read(0, -30, -30, 20, 10) == 255).all()


def test_a_region_read_into_an_array_leaves_nothing_of_it(tmp_path):
    path = write_tiff(tmp_path / "i.tif", picture())
    into = np.full((3, 300, 400, 3), 77, np.uint8)
    with open_slide(path) as slide:
        slide.read_into(into[1], 0, COLUMNS - 150, ROWS - 100)

        np.testing.assert_array_equal(into[1, :100, :150], picture()[-100:, -150:])
    assert (into[1, 100:] == 255).all()
    assert (into[1, :, 150:] == 255).all()
    assert (into[[0, 2]] == 77).all()


def test_many_threads_read_one_slide_alike(tmp_path):
    pixels = picture()
    path = write_tiff(tmp_path / "t.tif", pixels, tile=(64, 80))
    white = np.pad(pixels, ((0, 100), (0, 100), (0, 0)), constant_values=255)
    with open_slide(path) as slide:
        slide.tiff.cache = TileCache(20 * 64 * 80 * 3)  # a fifth of the slide

        def work(seed):
            rng = np.random.default_rng(seed)
            for _ in range(40):
                x, y = int(rng.integers(COLUMNS)), int(rng.integers(ROWS))
                region = slide.read(0, x, y, 100, 100)
                np.testing.assert_array_equal(region, white[y : y + 100, x : x + 100])

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))


def contradicting_jpeg(pixels):
    """Return JPEG of luma and chroma that says of itself that it is red, green, blue.

    libjpeg believes the Adobe segment, and libtiff the TIFF's own word.
    """
    data = imagecodecs.jpeg8_encode(pixels, level=95, subsampling="444")
    assert data[2:4] == b"\xff\xe0"  # JFIF, which would settle it
    adobe = bytes.fromhex("ffee000e41646f626500640000000000")
    return data[:2] + adobe + data[4 + int.from_bytes(data[4:6]) :]


def test_tiles_that_decode_differently_are_left_to_openslide(tmp_path):
    pixels = picture()[:512, :512]
    tiles = [
        contradicting_jpeg(pixels[top : top + 256, left : left + 256])
        for top in (0, 256)
        for left in (0, 256)
    ]
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        iter(tiles),
        shape=pixels.shape,
        dtype=np.uint8,
        tile=(256, 256),
        photometric="ycbcr",
        subsampling=(1, 1),
        compression="jpeg",
        metadata=None,
    )

    with open_slide(path) as slide, openslide.OpenSlide(path) as other:
        assert slide.reader == "openslide"
        assert "decode differently" in slide.reader_note
        seen = slide.read(0, 100, 50, 300, 200)
        expected = on_white(other.read_region((100, 50), 0, (300, 200)))

    np.testing.assert_array_equal(seen, expected)
    assert abs(seen.astype(int) - pixels[50:250, 100:400]).mean() < 5


def test_jpeg_2000_of_luma_and_chroma_is_left_to_openslide(tmp_path):
    path = write_tiff(
        tmp_path / "y.svs", picture(), tile=(240, 240), **aperio("APERIO_JP2000_YCBC")
    )
    with open_slide(path) as slide, openslide.OpenSlide(path) as other:
        assert slide.reader == "openslide"
        np.testing.assert_array_equal(
            slide.read(0, 600, 400, 200, 200),
            on_white(other.read_region((600, 400), 0, (200, 200))),
        )


@pytest.mark.parametrize(
    "name",
    [
        "CMU-1-Small-Region.svs",
        "TCGA-CR-7395_pyramid.tiff",
        "TCGA-CR-7395-01A-01-TS1.svs",
    ],
)
def test_pixels_of_real_slides_are_openslides(real_data, name):
    assert_same_as_openslide(real_data / "wsi" / name, count=8, whole=False)


def test_tiles_that_openslide_alone_cannot_read_are_read(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (500, 700, 3), dtype=np.uint8)
    path = write_tiff(
        tmp_path / "n.tif",
        pixels,
        tile=(240, 160),
        compression=None,
        compressionargs={},
    )

    with open_slide(path) as slide:
        assert slide.reader == "tifffile"
        np.testing.assert_array_equal(slide.read(0, 0, 0, 700, 500), pixels)
