"""Tell tissue from glass (section 2.3 of the paper)."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, UInt8
from shapely.geometry import Polygon, mapping
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient

from napari_harm3.wsi.config import TissueConfig
from napari_harm3.wsi.slide import Pair, Slide


@dataclass(frozen=True, kw_only=True)
class Tissue:
    """Where a slide shows tissue."""

    mask: Bool[np.ndarray, "rows columns"]
    level0_per_pixel: Pair
    """Level-0 pixels that one pixel of the mask spans, along x and y."""

    polygons: dict[str, Any]
    """GeoJSON in level-0 pixels, one feature a piece, holes kept; QuPath reads it."""

    @property
    def fraction(self) -> float:
        """Share of the slide that is tissue."""
        return float(self.mask.mean()) if self.mask.size else 0.0


def find_tissue(slide: Slide, config: TissueConfig) -> Tissue:
    """Return the tissue of a slide.

    Raises
    ------
    SlideError
        If the slide's resolution is not known, or the file is damaged.
    """
    picture, level0 = slide.thumbnail(config.um_per_pixel)
    mpp_x, mpp_y = slide.require_mpp()
    # The level read is finer than asked; its area average is at the exact resolution.
    columns = max(round(slide.width * mpp_x / config.um_per_pixel), 1)
    rows = max(round(slide.height * mpp_y / config.um_per_pixel), 1)
    scaled = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA)
    level0 = slide.width / columns, slide.height / rows
    mask = tissue_mask(np.asarray(scaled, dtype=np.uint8), config)
    return Tissue(mask=mask, level0_per_pixel=level0, polygons=_geojson(mask, level0))


def tissue_mask(
    thumbnail: UInt8[np.ndarray, "rows columns 3"], config: TissueConfig
) -> Bool[np.ndarray, "rows columns"]:
    """Return where a thumbnail at `TissueConfig.um_per_pixel` shows tissue.

    Glass is grey and tissue is stained, so the saturation tells them apart.

    Examples
    --------
    >>> glass = np.full((8, 8, 3), 240, dtype=np.uint8)
    >>> bool(tissue_mask(glass, TissueConfig()).any())
    False
    """
    saturation = cv2.cvtColor(thumbnail, cv2.COLOR_RGB2HSV)[..., 1]
    width = _odd(config.median_um / config.um_per_pixel)
    if width > 1:
        saturation = cv2.medianBlur(saturation, width)
    stained = (saturation > config.saturation).astype(np.uint8)
    radius = round(config.closing_um / config.um_per_pixel)
    if radius:
        disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
        stained = cv2.morphologyEx(stained, cv2.MORPH_CLOSE, disk)
    area = config.um_per_pixel**2
    stained = _without_small(stained, config.least_area_um2 / area)
    return 1 - _without_small(1 - stained, config.least_hole_um2 / area) == 1


def mask_png(tissue: Tissue) -> bytes:
    """Return the mask as a PNG, 255 for tissue."""
    _, encoded = cv2.imencode(".png", tissue.mask.astype(np.uint8) * 255)
    return bytes(encoded)


def _odd(pixels: float) -> int:
    return 2 * round((pixels - 1) / 2) + 1


def _without_small(
    mask: UInt8[np.ndarray, "rows columns"], least: float
) -> UInt8[np.ndarray, "rows columns"]:
    """Return a mask without its pieces below an area in pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= least
    keep[0] = False
    return np.asarray(keep[labels], dtype=np.uint8)


def _geojson(mask: Bool[np.ndarray, "rows columns"], level0: Pair) -> dict[str, Any]:
    """Return the outlines; a contour runs through pixel centres, so half is added."""
    contours, tree = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE
    )
    rings = [(c[:, 0].astype(float) + 0.5) * level0 for c in contours]
    pieces = []
    for number, ring in enumerate(rings):
        if tree[0][number][3] == -1 and len(ring) >= 3:
            holes = [
                rings[child]
                for child in range(len(rings))
                if tree[0][child][3] == number and len(rings[child]) >= 3
            ]
            pieces += _valid(Polygon(ring, holes))
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "geometry": mapping(orient(piece)),
                "properties": {
                    "objectType": "annotation",
                    "classification": {"name": "Tissue", "color": [66, 180, 120]},
                },
            }
            for piece in pieces
        ],
    }


def _valid(piece: Polygon) -> list[Polygon]:
    """Return a polygon without self-touching rings, as one or several."""
    whole: BaseGeometry = piece if piece.is_valid else piece.buffer(0)
    parts = getattr(whole, "geoms", [whole])
    return [part for part in parts if not part.is_empty]
