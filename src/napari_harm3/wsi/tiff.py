"""Tiled TIFF without detours: each tile decoded once, damage told and not guessed.

OpenSlide spends most of a read in compositing. Where a file is plain tiles on a plain
grid, decoding them ourselves gives the same pixels several times faster.
"""

import logging
import struct
from pathlib import Path
from threading import Lock

import numpy as np
import simplejpeg
import tifffile
from jaxtyping import Int64, UInt8
from tifffile import EXTRASAMPLE, PHOTOMETRIC, TiffFile

from napari_harm3.errors import SlideError
from napari_harm3.wsi.alpha import on_white
from napari_harm3.wsi.levels import Size, levels_among
from napari_harm3.wsi.resolution import Mpp, ome_mpp
from napari_harm3.wsi.tiff_pages import (
    COPY_AGAIN,
    Level,
    level_of,
    own_pyramid,
    pages_of,
    require_whole_directory,
    tag_resolution,
)
from napari_harm3.wsi.tiles import Tile, TileCache

logging.getLogger("tifffile").addHandler(logging.NullHandler())
"""What tifffile notices in a damaged file is told once, by our own errors."""

REDUCTIONS = (1, 2, 4, 8)
"""A JPEG tile can be decoded at a fraction of its size, at a fraction of the cost."""

JPEG_2000 = (33003, 33004, 33005, 34712)
"""Compressions of TIFF, Aperio's among them."""

END_OF_CODESTREAM = b"\xff\xd9"
"""The last bytes of JPEG 2000; its decoder makes up what a cut tile lacks."""

ADOBE_RGB = bytes.fromhex("ffee000e41646f626500640000000000")
"""The JPEG segment that says: three components, and they are RGB."""

DAMAGE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    struct.error,
    tifffile.TiffFileError,
)
"""What tifffile and the codecs raise on bytes that make no sense."""


class TiledTiff:
    """The tiled levels of a TIFF, from the finest to the coarsest.

    Parameters
    ----------
    path
        The file.
    sizes
        Of what may be its levels, where something else has found them; the file's own
        pyramid if not given, and of an OME-TIFF always.

    Raises
    ------
    SlideError
        If it is no TIFF of plain 8-bit RGB tiles, saying what it is instead; a
        `NotPlainError` where OpenSlide may read it all the same.
    """

    def __init__(self, path: Path, *, sizes: tuple[Size, ...] | None = None) -> None:
        self.name = path.name
        self._lock = Lock()
        try:
            self._file = TiffFile(path)
        except DAMAGE as error:
            raise SlideError(
                f"{path.name} is no TIFF that can be read: copy it again."
            ) from error
        try:
            require_whole_directory(self.name, self._file)
            self.ome = bool(self._file.is_ome)
            pages = (
                own_pyramid(self.name, self._file)
                if self.ome or sizes is None
                else pages_of(self.name, self._file, sizes)
            )
            numbers = levels_among([(p.imagewidth, p.imagelength) for p in pages])
            self.levels = tuple(level_of(self.name, pages[one]) for one in numbers)
            self.size = self._file.filehandle.size
        except SlideError:
            self.close()
            raise
        except DAMAGE as error:
            self.close()
            raise SlideError(f"{path.name} {COPY_AGAIN}") from error
        self.cache = TileCache()

    def close(self) -> None:
        """Let go of the file, when nobody reads of it any more."""
        with self._lock:
            self._file.close()

    def read(
        self, level: int, x: int, y: int, width: int, height: int, *, reduction: int = 1
    ) -> UInt8[np.ndarray, "height width 3"]:
        """Return a region; white where the slide ends."""
        region = np.empty((height, width, 3), np.uint8)
        self.read_into(region, level, x, y, reduction=reduction)
        return region

    def read_into(
        self,
        region: UInt8[np.ndarray, "height width 3"],
        level: int,
        x: int,
        y: int,
        *,
        reduction: int = 1,
    ) -> None:
        """Fill an array with a region; white where the slide ends.

        Parameters
        ----------
        region
            Takes the pixels; its shape says how many.
        level
            Level that they come from.
        x, y
            Upper left corner, in pixels of that level divided by `reduction`.
        reduction
            1, 2, 4 or 8; only a JPEG level has others than 1.

        Raises
        ------
        SlideError
            If a tile is damaged or missing.
        """
        at = self.levels[level]
        step_x, step_y = at.tile_width // reduction, at.tile_height // reduction
        height, width, _ = region.shape
        right = min(x + width, -(-at.width // reduction))
        bottom = min(y + height, -(-at.height // reduction))
        if x < 0 or y < 0 or right < x + width or bottom < y + height:
            region[:] = 255
        if right <= x or bottom <= y:
            return
        for row in range(max(y, 0) // step_y, -(-bottom // step_y)):
            for column in range(max(x, 0) // step_x, -(-right // step_x)):
                left, top = column * step_x, row * step_y
                tile = self.tile(level, row * at.columns + column, reduction)
                x0, x1 = max(left, x), min(left + step_x, right)
                y0, y1 = max(top, y), min(top + step_y, bottom)
                region[y0 - y : y1 - y, x0 - x : x1 - x] = tile[
                    y0 - top : y1 - top, x0 - left : x1 - left
                ]

    def tile(self, level: int, index: int, reduction: int = 1) -> Tile:
        """Return a tile as RGB.

        Raises
        ------
        SlideError
            If it is damaged or missing.
        """
        return self.cache.get(
            (level, index, reduction), lambda: self._decode(level, index, reduction)
        )

    def broken(self, level: int) -> Int64[np.ndarray, "n"]:
        """Return the tiles that the file cannot hold: empty, or beyond its end."""
        at = self.levels[level]
        beyond = at.offsets + at.counts > self.size
        return np.flatnonzero((at.counts == 0) | (at.offsets == 0) | beyond)

    @property
    def mpp(self) -> Mpp | None:
        """Microns per pixel as OME or the resolution tags say; None if they do not.

        Raises
        ------
        SlideError
            If the tags make no sense.
        """
        first = self.levels[0]
        xml = self._file.ome_metadata
        said = ome_mpp(xml, first.width, first.height) if xml else None
        try:
            return said or tag_resolution(first.page)
        except DAMAGE as error:
            raise SlideError(f"{self.name} {COPY_AGAIN}") from error

    def _decode(self, level: int, index: int, reduction: int) -> Tile:
        at = self.levels[level]
        try:
            data = self._raw(at, index)
            tile = _decoded(at, data, index, reduction)
        except DAMAGE as error:
            row, column = divmod(index, at.columns)
            scale = self.levels[0].width / at.width
            raise SlideError(
                f"{self.name} is damaged near x {round(column * at.tile_width * scale)}"
                f", y {round(row * at.tile_height * scale)} (level {level}, tile "
                f"{index}): copy it again."
            ) from error
        return tile

    def _raw(self, at: Level, index: int) -> bytes:
        count, offset = int(at.counts[index]), int(at.offsets[index])
        data = b""
        if offset + count <= self.size:  # a damaged count may ask for gigabytes
            with self._lock:
                if self._file.filehandle.closed:
                    raise ValueError("the file is closed")
                self._file.filehandle.seek(offset)
                data = self._file.filehandle.read(count)
        if not count or len(data) != count:
            raise ValueError("the tile is not in the file")
        return data


def _decoded(at: Level, data: bytes, index: int, reduction: int) -> Tile:
    """Return a tile's pixels; ValueError and the like if they cannot be had whole."""
    if at.jpeg:
        tile = _jpeg(at, data, reduction)
    else:
        if at.page.compression in JPEG_2000 and not data.endswith(END_OF_CODESTREAM):
            raise ValueError("the tile is cut")
        decoded, _, _ = at.page.decode(data, index)
        tile = np.asarray(decoded)[0]
    shape = at.tile_height // reduction, at.tile_width // reduction
    if tile.shape[:2] != shape or tile.dtype != np.uint8:
        raise ValueError("the tile has another size than its directory says")
    apart = at.page.extrasamples == (EXTRASAMPLE.UNASSALPHA,)
    return on_white(tile, multiplied=not apart) if tile.shape[2] == 4 else tile


def _jpeg(at: Level, data: bytes, reduction: int) -> Tile:
    """Decode strictly: what libjpeg would patch up with grey is an error here."""
    tables = at.page.jpegtables
    rgb = ADOBE_RGB if at.page.photometric == PHOTOMETRIC.RGB else b""
    stream = b"\xff\xd8" + rgb + (tables[2:-2] if tables else b"") + data[2:]
    if reduction == 1:
        return simplejpeg.decode_jpeg(stream)
    return simplejpeg.decode_jpeg(
        stream,
        min_height=at.tile_height // reduction,
        min_width=at.tile_width // reduction,
        min_factor=reduction,
    )
