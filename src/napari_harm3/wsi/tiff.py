"""Tiled TIFF without detours: each tile decoded once, damage told and not guessed.

OpenSlide spends most of a read in compositing. Where a file is plain tiles on a plain
grid, decoding them ourselves gives the same pixels several times faster.
"""

import logging
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
import simplejpeg
import tifffile
from jaxtyping import Int64, UInt8
from tifffile import COMPRESSION, PHOTOMETRIC, PLANARCONFIG, TiffFile, TiffPage

from napari_harm3.errors import SlideError
from napari_harm3.wsi.tiles import Tile, TileCache

logging.getLogger("tifffile").addHandler(logging.NullHandler())
"""What tifffile notices in a damaged file is told once, by our own errors."""

REDUCTIONS = (1, 2, 4, 8)
"""A JPEG tile can be decoded at a fraction of its size, at a fraction of the cost."""

ADOBE_RGB = bytes.fromhex("ffee000e41646f626500640000000000")
"""The JPEG segment that says: three components, and they are RGB."""

MICRONS = {
    "m": 1e6,
    "cm": 1e4,
    "mm": 1e3,
    "µm": 1.0,
    "um": 1.0,
    "nm": 1e-3,
    "in": 25_400.0,
}


@dataclass(frozen=True, kw_only=True)
class Level:
    """One level of the pyramid, as its file has it."""

    page: TiffPage
    width: int
    height: int
    tile_width: int
    tile_height: int
    offsets: Int64[np.ndarray, "tiles"]
    counts: Int64[np.ndarray, "tiles"]

    @property
    def columns(self) -> int:
        """Tiles in a row."""
        return -(-self.width // self.tile_width)

    @property
    def jpeg(self) -> bool:
        """Whether its tiles are JPEG."""
        return self.page.compression == COMPRESSION.JPEG


class TiledTiff:
    """The tiled levels of a TIFF, from the finest to the coarsest.

    Parameters
    ----------
    path
        The file.
    sizes
        Width and height of each level, where something else has found them; the
        file's own pyramid if not given.

    Raises
    ------
    SlideError
        If it is no TIFF of plain 8-bit RGB tiles, saying what it is instead.
    """

    def __init__(
        self, path: Path, *, sizes: tuple[tuple[int, int], ...] | None = None
    ) -> None:
        self.name = path.name
        try:
            self._file = TiffFile(path)
        except (OSError, ValueError, tifffile.TiffFileError) as error:
            raise SlideError(f"{path.name} is no TIFF that can be read.") from error
        try:
            _require_whole_directory(self.name, self._file)
            pages = (
                _own_pyramid(self.name, self._file) if sizes is None else self._pages()
            )
            self.levels = tuple(_levels(self.name, pages, sizes))
            self.size = self._file.filehandle.size
        except SlideError:
            self.close()
            raise
        except (OSError, ValueError, LookupError, TypeError, struct.error) as error:
            self.close()
            raise SlideError(
                f"{path.name} is damaged in its directory: copy it again."
            ) from error
        self.cache = TileCache()
        self._lock = Lock()

    def close(self) -> None:
        """Let go of the file."""
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
    def mpp(self) -> tuple[float, float] | None:
        """Microns per pixel as OME or the resolution tags say; None if they do not."""
        return _ome_resolution(self._file) or _tag_resolution(self.levels[0].page)

    def _pages(self) -> list[TiffPage]:
        return [page for page in self._file.pages if isinstance(page, TiffPage)]

    def _decode(self, level: int, index: int, reduction: int) -> Tile:
        at = self.levels[level]
        try:
            data = self._raw(at, index)
            tile = _decoded(at, data, index, reduction)
        except (ValueError, RuntimeError, OSError, KeyError) as error:
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
        with self._lock:
            self._file.filehandle.seek(offset)
            data: bytes = self._file.filehandle.read(count)
        if not count or len(data) != count:
            raise ValueError("the tile is not in the file")
        return data


def _decoded(at: Level, data: bytes, index: int, reduction: int) -> Tile:
    """Return a tile's pixels; ValueError and the like if they cannot be had whole."""
    if at.jpeg:
        tile = _jpeg(at, data, reduction)
    else:
        decoded, _, _ = at.page.decode(data, index)
        tile = np.asarray(decoded)[0]
    shape = at.tile_height // reduction, at.tile_width // reduction
    if tile.shape[:2] != shape or tile.dtype != np.uint8:
        raise ValueError("the tile has another size than its directory says")
    if tile.shape[2] == 4:
        alpha = tile[..., 3:].astype(np.uint16)
        tile = (tile[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255
    return np.asarray(tile, dtype=np.uint8)


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


def colour_fault(page: TiffPage) -> str:
    """Return what keeps a page from being an 8-bit RGB picture; "" if nothing does."""
    kinds = {
        PHOTOMETRIC.MINISBLACK: "grey",
        PHOTOMETRIC.MINISWHITE: "grey",
        PHOTOMETRIC.PALETTE: "palette colours",
        PHOTOMETRIC.SEPARATED: "CMYK",
    }
    bits, samples = page.bitspersample, page.samplesperpixel
    if kind := kinds.get(page.photometric):
        found = kind
    elif bits != 8:
        found = f"{bits} bits a sample"
    elif samples not in (3, 4):
        found = f"{samples} samples a pixel"
    elif page.planarconfig != PLANARCONFIG.CONTIG:
        found = "colours in separate planes"
    else:
        return ""
    return (
        f"holds {found}, and a stained slide is 8-bit RGB: export it as such (a "
        "fluorescence scan is of no use here)."
    )


def missing_codec(page: TiffPage) -> str:
    """Return the name of a compression that cannot be decoded here; "" if none."""
    try:
        tifffile.TIFF.DECOMPRESSORS[page.compression]
    except KeyError:
        return str(getattr(page.compression, "name", page.compression))
    return ""


def _require_whole_directory(name: str, file: TiffFile) -> None:
    """Refuse a file whose directory goes on beyond its end; tifffile would stop there.

    Raises
    ------
    SlideError
        If levels are lost.
    """
    handle, form = file.filehandle, file.tiff
    handle.seek(file.pages[-1].offset)
    (tags,) = struct.unpack(form.tagnoformat, handle.read(form.tagnosize))
    handle.seek(tags * form.tagsize, 1)
    (after,) = struct.unpack(form.offsetformat, handle.read(form.offsetsize))
    below = [sub for page in file.pages for sub in getattr(page, "subifds", None) or ()]
    if after or any(offset >= handle.size for offset in below):
        raise SlideError(
            f"{name} is cut short: its directory goes on beyond its end "
            f"({handle.size} bytes are there). Copy it again."
        )


def _own_pyramid(name: str, file: TiffFile) -> list[TiffPage]:
    series = file.series[0]
    if series.axes not in ("YXS", "YX"):
        raise SlideError(
            f"{name} holds {series.axes} and a slide is one RGB picture (YXS): export "
            "a single plane."
        )
    return [level.keyframe for level in series.levels]


def _levels(
    name: str, pages: list[TiffPage], sizes: tuple[tuple[int, int], ...] | None
) -> Iterator[Level]:
    if sizes is not None:
        tiled = {
            (p.imagewidth, p.imagelength): p for p in reversed(pages) if p.is_tiled
        }
        if missing := [size for size in sizes if size not in tiled]:
            raise SlideError(f"{name} has no plain tiles of level {missing[0]}.")
        pages = [tiled[size] for size in sizes]
    for page in pages:
        if fault := colour_fault(page):
            raise SlideError(f"{name} {fault}")
        if not page.is_tiled:
            raise SlideError(
                f"{name} is a TIFF in strips, which cannot be read piecewise: convert "
                "it to a tiled pyramid (vips tiffsave --tile --pyramid)."
            )
        if codec := missing_codec(page):
            raise SlideError(f"{name} is compressed as {codec}, which has no decoder.")
        tiles = -(-page.imagewidth // page.tilewidth)
        tiles *= -(-page.imagelength // page.tilelength)
        if not len(page.dataoffsets) == len(page.databytecounts) == tiles:
            raise SlideError(f"{name} is damaged in its directory: copy it again.")
        yield Level(
            page=page,
            width=page.imagewidth,
            height=page.imagelength,
            tile_width=page.tilewidth,
            tile_height=page.tilelength,
            offsets=np.asarray(page.dataoffsets, dtype=np.int64),
            counts=np.asarray(page.databytecounts, dtype=np.int64),
        )


def _ome_resolution(file: TiffFile) -> tuple[float, float] | None:
    """Return microns per pixel of the first image that OME-XML describes."""
    pixels = re.search(r"<Pixels\b[^>]*>", file.ome_metadata or "")
    if pixels is None:
        return None
    found = dict(re.findall(r'PhysicalSize([XY](?:Unit)?)="([^"]*)"', pixels[0]))
    try:
        x, y = (
            float(found[axis]) * MICRONS[found.get(f"{axis}Unit", "µm")]
            for axis in "XY"
        )
    except (KeyError, ValueError):
        return None
    return x, y


def _tag_resolution(page: TiffPage) -> tuple[float, float] | None:
    """Return microns per pixel of the resolution tags, where they have a unit."""
    unit = page.tags.valueof("ResolutionUnit", default=1)
    microns = {2: 25_400.0, 3: 10_000.0}.get(int(unit))
    if microns is None or "XResolution" not in page.tags:
        return None
    x, y = page.resolution
    return (microns / x, microns / y) if x > 0 and y > 0 else None
