"""The pixels of a patch: of the size asked for, means of area, none invented."""

import numpy as np
import pytest

from drawn_slides import area_means, write_tiff
from napari_harm3.wsi.patch_pixels import area_weights, read_patch
from napari_harm3.wsi.patches import grid
from napari_harm3.wsi.slide import open_slide


def ruler(length, period, axis):
    """Return stripes across an axis whose phase, in red and green, is a place on it."""
    phase = 2 * np.pi * np.arange(length) / period
    wave = np.stack([np.cos(phase), np.sin(phase), np.zeros(length)], axis=-1)
    line = np.rint(128 + 120 * wave).astype(np.uint8)
    square = np.broadcast_to(line, (length, length, 3))
    return square if axis == 0 else square.swapaxes(0, 1)


def places_on(patch, period, axis):
    """Return where the ruler says that the pixels of a patch lie, at level 0."""
    red, green, _ = np.moveaxis(patch.astype(float).mean(axis=axis) - 128, -1, 0)
    return np.unwrap(np.arctan2(green, red)) * period / (2 * np.pi)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize("size", [16, 37, 512])
@pytest.mark.parametrize(
    ("source_mpp", "asked"),
    [
        ((0.1, 0.1), 0.3),
        ((0.2272, 0.2272), 0.5),
        ((0.2527, 0.2491), 0.5),
        ((0.25, 0.5), 0.5),
        ((0.499, 0.499), 0.5),
        ((0.504, 0.504), 0.5),
        ((0.54, 0.51), 0.5),
        ((2.0, 2.0), 2.5),
    ],
)
def test_a_delivered_pixel_has_the_asked_size_and_place(
    tmp_path, source_mpp, asked, size, levels, axis
):
    down = asked / source_mpp[axis]
    period = 16 * max(asked / min(source_mpp), 1)
    length = 4 * int(size * asked / min(source_mpp) / 4 + 10)
    path = write_tiff(
        tmp_path / "r.tif",
        ruler(length, period, axis),
        source_mpp,
        levels,
    )

    with open_slide(path) as slide:
        side = size * asked / source_mpp[0], size * asked / source_mpp[1]
        patch = read_patch(slide, 9, 9, level0_px=side, size=size)

    found = places_on(patch, period, axis)
    step, first = np.polyfit(np.arange(size), found, 1)
    assert step * source_mpp[axis] == pytest.approx(asked, rel=0.005)
    # Half a pixel of the level read, and what half a pixel of the patch is off.
    expected = 9 + down / 2 - 0.5
    assert (first - expected + period / 2) % period - period / 2 == pytest.approx(
        0, abs=max(down, 1) * 0.6 + 0.005 * size * down / 2
    )


@pytest.mark.parametrize(
    ("size", "source_mpp", "extent"),
    [
        (64, 0.25, (128, 128)),
        (16, 0.3, (26 + 2 / 3, 26 + 2 / 3)),
        (30, (0.35, 0.21), (71 + 3 / 7, 42 + 6 / 7)),
        (64, (0.25, 0.502), (63.7450199, 128)),
        (224, 0.3, (373, 373)),  # whole pixels, where that is as good as exact
    ],
)
def test_down_sampling_is_the_mean_of_area(tmp_path, size, source_mpp, extent):
    pixels = np.random.default_rng(0).integers(0, 256, (400, 420, 3), dtype=np.uint8)
    path = write_tiff(tmp_path / "a.tif", pixels, source_mpp)

    with open_slide(path) as slide:
        side = tuple(size * 0.5 / mpp for mpp in slide.mpp)
        patch = read_patch(slide, 20, 10, level0_px=side, size=size)

    expected = area_means(pixels[10:, 20:], (size, size), extent)
    np.testing.assert_allclose(patch, expected, atol=0.51)


def test_a_checkerboard_gives_mid_grey(tmp_path):
    board = np.indices((256, 256)).sum(axis=0) % 2 * 255
    path = write_tiff(tmp_path / "c.tif", np.dstack([board] * 3).astype(np.uint8), 0.25)

    with open_slide(path) as slide:
        patch = read_patch(slide, 0, 0, level0_px=(256, 256), size=128)

    assert (abs(patch.astype(int) - 127.5) <= 0.5).all()


def test_at_its_own_resolution_a_patch_is_the_slide(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    path = write_tiff(tmp_path / "n.tif", pixels)

    with open_slide(path) as slide:
        patch = read_patch(slide, 61, 17, level0_px=(224.0, 224.0), size=224)

    np.testing.assert_array_equal(patch, pixels[17:241, 61:285])


@pytest.mark.parametrize("length", [16.0, 26.67, 93.5, 447.99, 17.001])
def test_weights_of_area_share_out_every_pixel_once(length):
    weights = area_weights(length, 16)

    np.testing.assert_allclose(weights.sum(axis=1), 1)
    covered = weights.sum(axis=0) * length / 16
    np.testing.assert_allclose(covered[:-1], 1)
    assert covered[-1] == pytest.approx(length - np.ceil(length) + 1)


@pytest.mark.parametrize("levels", [1, 3])
def test_patches_up_to_the_edge_hold_nothing_but_the_slide(tmp_path, levels):
    pixels = np.full((331, 403, 3), 100, np.uint8)
    path = write_tiff(tmp_path / "e.tif", pixels, levels=levels, tile=(64, 64))
    rng = np.random.default_rng(0)

    with open_slide(path) as slide:
        for _ in range(1500):
            size, down = int(rng.integers(16, 60)), rng.uniform(0.9, 5)
            side = size * down, size * down * rng.uniform(0.9, 1.1)
            for x, y in grid(slide.bounds, side)[-1:].tolist():
                patch = read_patch(slide, x, y, level0_px=side, size=size)
                assert (patch == 100).all()


def test_a_patch_beyond_the_edge_is_white_there(tmp_path):
    path = write_tiff(tmp_path / "w.tif", np.full((100, 100, 3), 100, np.uint8))

    with open_slide(path) as slide:
        patch = read_patch(slide, 60, 70, level0_px=(64.0, 64.0), size=64)

    assert (patch[:30, :40] == 100).all()
    assert (patch[30:] == 255).all()
    assert (patch[:, 40:] == 255).all()
