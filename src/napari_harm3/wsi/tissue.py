"""Tell tissue from glass (section 2.3 of the paper)."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Int32, Int64, UInt8

from napari_harm3.errors import SlideError
from napari_harm3.wsi.config import AnyTissueConfig, ClamTissueConfig, TissueConfig
from napari_harm3.wsi.contours import (
    Contour,
    drawn,
    find_contours,
    geojson,
    large_contours,
)
from napari_harm3.wsi.pyramid import overview
from napari_harm3.wsi.slide import Pair, Slide

Picture = UInt8[np.ndarray, "rows columns 3"]
Mask = UInt8[np.ndarray, "rows columns"]

BRIGHT, PALE = 190, 24
"""Glass is at least this bright and at most this saturated."""

GLASS_SHARE = 0.02
"""Less of it than this says nothing about its tint."""

INK_GREENER = 12
"""Haematoxylin and eosin absorb green most; what is greener than red is ink."""

INK_DARK = 60
IMPLAUSIBLE = 0.95
CLAM_SQUARE = 512
MOST_PIXELS = 300_000_000


@dataclass(frozen=True, kw_only=True)
class Tissue:
    """Where a slide shows tissue."""

    mask: Bool[np.ndarray, "rows columns"]
    level0_per_pixel: Pair
    """Level-0 pixels that one pixel of the mask spans, along x and y."""

    contours: tuple[Contour, ...]
    """The pieces, in pixels of the mask."""

    damaged: int = 0
    """Blocks of the overview that could not be read; they are no tissue."""

    @cached_property
    def polygons(self) -> dict[str, Any]:
        """GeoJSON in level-0 pixels, one feature a piece, holes kept."""
        return geojson(self.contours, self.level0_per_pixel)

    @property
    def fraction(self) -> float:
        """Share of the slide that is tissue."""
        return float(self.mask.mean()) if self.mask.size else 0.0

    @property
    def warning(self) -> str:
        """What is implausible about it; "" if nothing is."""
        if self.fraction > IMPLAUSIBLE:
            return (
                f"Tissue on {self.fraction:.0%} of the slide is implausible: is its "
                "background dark, as of fluorescence?"
            )
        return ""


def find_tissue(slide: Slide, config: AnyTissueConfig) -> Tissue:
    """Return the tissue of a slide.

    Raises
    ------
    SlideError
        If the slide's resolution is not known, or it has no level that CLAM's way
        can be followed on.
    """
    if isinstance(config, ClamTissueConfig):
        return _as_clam(slide, config)
    seen = overview(slide, config.um_per_pixel)
    return replace(
        tissue_of(seen.picture, seen.level0_per_pixel, config), damaged=seen.damaged
    )


def tissue_of(picture: Picture, level0: Pair, config: TissueConfig) -> Tissue:
    """Return the tissue of an overview at `TissueConfig.um_per_pixel`."""
    mask = tissue_mask(picture, config)
    return Tissue(
        mask=mask,
        level0_per_pixel=level0,
        contours=tuple(find_contours(mask.astype(np.uint8))),
    )


def tissue_mask(
    picture: Picture, config: TissueConfig
) -> Bool[np.ndarray, "rows columns"]:
    """Return where a picture at `TissueConfig.um_per_pixel` shows tissue.

    Glass is grey and tissue is stained, so the saturation tells them apart.

    Examples
    --------
    >>> glass = np.full((8, 8, 3), 240, dtype=np.uint8)
    >>> bool(tissue_mask(glass, TissueConfig()).any())
    False
    """
    _, saturation, value = cv2.split(cv2.cvtColor(picture, cv2.COLOR_RGB2HSV))
    least = config.saturation
    if config.glass:
        least += glass_level(saturation, value)
    stained = (saturation > least).astype(np.uint8)
    if config.pen:
        stained[ink(picture, value)] = 0
    stained = majority(stained, _odd(config.median_um / config.um_per_pixel))
    closing = round(config.closing_um / config.um_per_pixel)
    if closing > 1:
        disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (closing, closing))
        stained = cv2.morphologyEx(stained, cv2.MORPH_CLOSE, disk)
    area = config.um_per_pixel**2
    stained = _without_small(stained, config.least_area_um2 / area)
    return _filled(stained, config.least_hole_um2 / area)


def glass_level(saturation: Mask, value: Mask) -> int:
    """Return the saturation of bare glass: the commonest among what is bright and pale.

    0 if too little of the picture is.
    """
    bright = (value >= BRIGHT).astype(np.uint8)
    counts = cv2.calcHist([saturation], [0], bright, [PALE + 1], [0, PALE + 1])
    if counts.sum() < GLASS_SHARE * saturation.size:
        return 0
    return int(counts.argmax())


def ink(picture: Picture, value: Mask) -> Bool[np.ndarray, "rows columns"]:
    """Return where a picture shows a pen's colour, which no stain of tissue has.

    Parameters
    ----------
    picture
        Red, green and blue.
    value
        The largest of the three.
    """
    red, green, blue = cv2.split(picture)
    greener = cv2.subtract(green, red) > INK_GREENER
    black = value < INK_DARK
    pure_red = (red > 150) & (green < INK_DARK) & (blue < INK_DARK)
    return greener | black | pure_red


def majority(mask: Mask, width: int) -> Mask:
    """Return a mask where most of a square around each pixel is set.

    The median of a picture exceeds a threshold exactly where most of its pixels do, so
    this is the paper's median filter, ten times faster.
    """
    if width <= 1:
        return mask
    count = cv2.boxFilter(
        mask,
        cv2.CV_32F,
        (width, width),
        normalize=False,
        borderType=cv2.BORDER_REPLICATE,
    )
    return (count > width**2 / 2).astype(np.uint8)


def mask_png(tissue: Tissue) -> bytes:
    """Return the mask as a PNG, 255 for tissue."""
    _, encoded = cv2.imencode(".png", tissue.mask.astype(np.uint8) * 255)
    return bytes(encoded)


def _as_clam(slide: Slide, config: ClamTissueConfig) -> Tissue:
    """Return the tissue as CLAM finds it, on the level that it would read."""
    fine = [n for n, d in enumerate(slide.level_downsamples) if d <= config.downsample]
    level = max(fine, key=lambda n: slide.level_downsamples[n])
    width, height = slide.level_dimensions[level]
    if width * height > MOST_PIXELS:
        raise SlideError(
            f"{slide.name} has no level near a down-sampling of "
            f"{config.downsample:g}, and CLAM would read {width} x {height} pixels at "
            "once: use --preset harm3."
        )
    picture = slide.read(level, 0, 0, width, height)
    scale = slide.width / width, slide.height / height
    saturation = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)[..., 1]
    stained = (saturation > config.saturation).astype(np.uint8)
    stained = majority(stained, config.median)
    if config.closing:
        square = np.ones((config.closing, config.closing), np.uint8)
        stained = cv2.morphologyEx(stained, cv2.MORPH_CLOSE, square)
    unit = int(CLAM_SQUARE**2 / (scale[0] * scale[1]))
    contours = large_contours(
        find_contours(stained),
        least_area=config.least_area * unit,
        least_hole=config.least_hole * unit,
        most_holes=config.most_holes,
    )
    return Tissue(
        mask=drawn(contours, stained.shape) == 1,
        level0_per_pixel=scale,
        contours=tuple(contours),
    )


def _odd(pixels: float) -> int:
    return 2 * round((pixels - 1) / 2) + 1


def _without_small(mask: Mask, least: float) -> Mask:
    """Return a mask without its pieces below an area in pixels."""
    labels, areas = _pieces(mask, 8)
    keep = areas >= least
    keep[0] = False
    return np.take(keep.astype(np.uint8), labels)


def _filled(mask: Mask, least: float) -> Bool[np.ndarray, "rows columns"]:
    """Return a mask without its holes below an area in pixels.

    Glass at the border of the picture is no hole.
    """
    glass = cv2.copyMakeBorder(1 - mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    # Tissue hangs together at corners, so glass does not.
    labels, areas = _pieces(glass, 4)
    tissue = areas < least
    tissue[0], tissue[labels[0, 0]] = True, False
    return np.take(tissue, labels)[1:-1, 1:-1]


def _pieces(
    mask: Mask, connectivity: int
) -> tuple[Int32[np.ndarray, "rows columns"], Int64[np.ndarray, "pieces"]]:
    """Return which piece each pixel is of, and their areas; 0 is what is not set.

    OpenCV's own statistics take twice as long as the pieces and a count.
    """
    _, labels = cv2.connectedComponents(mask, connectivity=connectivity)
    return labels, np.bincount(labels.ravel())
