"""Small slides drawn by hand, written as OpenSlide opens them, and plainly read."""

import cv2
import numpy as np
import tifffile
from scipy.ndimage import gaussian_filter

from napari_harm3.wsi.contours import find_contours
from napari_harm3.wsi.tissue import Tissue

GLASS = (243, 243, 243)
PINK = (220, 140, 190)


def area_means(pixels, size, extent=None):
    """Return a picture of another size, each of its pixels a mean of area.

    Parameters
    ----------
    pixels
        Of which the upper left part is taken.
    size
        Rows and columns to make.
    extent
        Rows and columns of that part, not whole; all if not given.
    """

    def along(lines, count, length):
        integral = np.concatenate([0 * lines[:1], lines.cumsum(axis=0)])
        edges = np.linspace(0, length, count + 1)
        low = np.minimum(edges.astype(int), len(lines) - 1)
        part = (edges - low).reshape(-1, *[1] * (lines.ndim - 1))
        at = integral[low] * (1 - part) + integral[low + 1] * part
        return np.diff(at, axis=0) * count / length

    height, width = pixels.shape[:2] if extent is None else extent
    narrowed = along(pixels.astype(float).swapaxes(0, 1), size[1], width)
    return along(narrowed.swapaxes(0, 1), size[0], height)


def shrunk(pixels, factor):
    """Return means of whole squares of pixels."""
    rows, columns = pixels.shape[0] // factor, pixels.shape[1] // factor
    whole = pixels[: rows * factor, : columns * factor]
    return np.rint(area_means(whole, (rows, columns))).astype(np.uint8)


def write_tiff(path, pixels, mpp=0.5, levels=1, factor=2, **options):
    """Write a pyramid, lossless unless told otherwise.

    Parameters
    ----------
    path, pixels
        The file and its finest level.
    mpp
        Microns per pixel, one number or one along x and one along y; None for none.
    levels, factor
        How many, and how much each is smaller than the one before.
    options
        Of tifffile.
    """
    options = {
        "tile": (256, 256),
        "photometric": "rgb",
        "compression": "deflate",
        "compressionargs": {"level": 1},
        "metadata": None,
    } | options
    with tifffile.TiffWriter(path) as writer:
        for level in range(levels):
            if mpp is not None:
                x, y = np.broadcast_to(mpp, 2) * factor**level
                options["resolution"] = 1e4 / x, 1e4 / y
                options["resolutionunit"] = "CENTIMETER"
            writer.write(pixels, subfiletype=int(level > 0), **options)
            pixels = shrunk(pixels, factor)
    return path


def stains(shape, seed=0, smooth=4, strength=12, least=6):
    """Return a picture of cloudy stain with noise."""
    rng = np.random.default_rng(seed)
    clouds = gaussian_filter(rng.normal(size=shape), smooth)
    stain = clouds / clouds.std() * strength + least + rng.normal(size=shape) * 4
    picture = np.full((*shape, 3), (255, 0, 250), np.uint8)
    picture[..., 1] = 255 - stain.clip(0, 255)  # so much is the saturation
    return picture


def stained(picture, threshold, median, closing):
    """Return where a picture is stained: its saturation, median, threshold, closing."""
    saturation = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)[..., 1]
    mask = (cv2.medianBlur(saturation, median) > threshold).astype(np.uint8)
    return cv2.morphologyEx(mask, cv2.MORPH_CLOSE, closing)


def blobs(seed, share=0.5):
    """Return a mask of ragged pieces with holes."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(90, 110)), 3)
    return noise > np.quantile(noise, 1 - share)


def tissue_of(mask, scale=(8.0, 8.0)):
    """Return a mask as tissue, with its outlines."""
    return Tissue(
        mask=mask,
        level0_per_pixel=scale,
        contours=tuple(find_contours(mask.astype(np.uint8))),
    )
