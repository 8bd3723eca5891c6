"""Pictures without their alpha: what is transparent looks like glass."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import UInt8

WHITE: UInt8[np.ndarray, "3"] = np.full(3, 255, np.uint8)


def on_white(
    tile: UInt8[np.ndarray, "rows columns 4"], *, multiplied: bool
) -> UInt8[np.ndarray, "rows columns 3"]:
    """Return a tile on white glass, its colours multiplied by alpha already or not."""
    colour, alpha = tile[..., :3].astype(np.uint16), tile[..., 3:].astype(np.uint16)
    if not multiplied:
        colour = (colour * alpha + 127) // 255
    return np.minimum(colour + 255 - alpha, 255).astype(np.uint8)


def laid_on(
    glass: UInt8[np.ndarray, "3"], rgba: UInt8[np.ndarray, "rows columns 4"]
) -> UInt8[np.ndarray, "rows columns 3"]:
    """Return a picture without its alpha, as it looks on glass of a colour."""
    alpha = rgba[..., 3:]
    if alpha.size and alpha.min() == 255:
        return np.ascontiguousarray(rgba[..., :3])
    share = alpha.astype(np.float32) / 255
    blended = rgba[..., :3] * share + glass * (1 - share)
    return np.asarray(np.rint(blended), dtype=np.uint8)


def background(properties: Mapping[str, str]) -> UInt8[np.ndarray, "3"]:
    """Return the colour of bare glass that a file states, as OpenSlide tells it."""
    colour = str(properties.get("openslide.background-color", "FFFFFF"))
    try:
        return np.frombuffer(bytes.fromhex(colour), dtype=np.uint8)
    except ValueError:
        return WHITE
