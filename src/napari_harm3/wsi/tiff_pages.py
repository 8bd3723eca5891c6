"""The pages of a TIFF: the levels of its slide, or what keeps them from being such."""

import struct
from dataclasses import dataclass

import numpy as np
import tifffile
from jaxtyping import Int64
from tifffile import COMPRESSION, PHOTOMETRIC, PLANARCONFIG, TiffFile, TiffPage

from napari_harm3.errors import SlideError
from napari_harm3.wsi.levels import Size
from napari_harm3.wsi.resolution import Mpp

COPY_AGAIN = "is damaged in its directory: copy it again."


class NotPlainError(SlideError):
    """Its tiles cannot be decoded here; OpenSlide may know how."""


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


def colour_fault(page: TiffPage) -> str:
    """Return what keeps a page from being an 8-bit RGB picture; "" if nothing does."""
    kinds = {
        PHOTOMETRIC.MINISBLACK: "grey",
        PHOTOMETRIC.MINISWHITE: "grey",
        PHOTOMETRIC.PALETTE: "palette colours",
        PHOTOMETRIC.SEPARATED: "CMYK",
    }
    bits, samples = page.bitspersample, page.samplesperpixel
    if page.photometric not in (PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR):
        found = kinds.get(page.photometric, f"{page.photometric.name} colours")
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


def require_whole_directory(name: str, file: TiffFile) -> None:
    """Refuse a file whose directory goes on beyond its end; tifffile would stop there.

    Raises
    ------
    SlideError
        If levels are lost.
    """
    handle, form = file.filehandle, file.tiff
    after = form.offsetsize  # anything but the 0 that ends a directory
    if len(file.pages):
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


def own_pyramid(name: str, file: TiffFile) -> list[TiffPage]:
    """Return the levels of the largest picture; labels and macros are smaller.

    Raises
    ------
    SlideError
        If it is no single RGB plane in one file.
    """
    series = max(file.series, key=lambda one: one.size)
    if series.axes not in ("YXS", "YX"):
        raise SlideError(
            f"{name} holds {series.axes} and a slide is one RGB picture (YXS): export "
            "a single plane."
        )
    pages = [level.keyframe for level in series.levels]
    if any(page.parent is not file for page in pages):
        raise SlideError(f"{name} spreads over several files: export it as one.")
    return pages


def pages_of(name: str, file: TiffFile, sizes: tuple[Size, ...]) -> list[TiffPage]:
    """Return the tiled page of each size, the first if there are several.

    Raises
    ------
    NotPlainError
        If one has none.
    """
    pages = [page for page in file.pages if isinstance(page, TiffPage)]
    tiled = {(p.imagewidth, p.imagelength): p for p in reversed(pages) if p.is_tiled}
    if missing := [size for size in sizes if size not in tiled]:
        raise NotPlainError(f"{name} has no plain tiles of level {missing[0]}.")
    return [tiled[size] for size in sizes]


def level_of(name: str, page: TiffPage) -> Level:
    """Return a page as a level.

    Raises
    ------
    SlideError
        If it is no 8-bit RGB picture, or damaged; a `NotPlainError` if only its tiles
        cannot be decoded here.
    """
    if fault := colour_fault(page):
        raise SlideError(f"{name} {fault}")
    if not page.is_tiled:
        raise NotPlainError(
            f"{name} is a TIFF in strips, which cannot be read piecewise: convert it "
            "to a tiled pyramid (vips tiffsave --tile --pyramid)."
        )
    if codec := missing_codec(page):
        raise NotPlainError(
            f"{name} is compressed as {codec}, which has no decoder here: convert it "
            "to OME-TIFF."
        )
    if page.photometric != PHOTOMETRIC.RGB and page.compression != COMPRESSION.JPEG:
        raise NotPlainError(
            f"{name} holds {page.photometric.name} colours that are not packed as "
            "JPEG: export it as RGB."
        )
    tiles = -(-page.imagewidth // page.tilewidth)
    tiles *= -(-page.imagelength // page.tilelength)
    if not len(page.dataoffsets) == len(page.databytecounts) == tiles:
        raise SlideError(f"{name} {COPY_AGAIN}")
    return Level(
        page=page,
        width=page.imagewidth,
        height=page.imagelength,
        tile_width=page.tilewidth,
        tile_height=page.tilelength,
        offsets=np.asarray(page.dataoffsets, dtype=np.int64),
        counts=np.asarray(page.databytecounts, dtype=np.int64),
    )


def tag_resolution(page: TiffPage) -> Mpp | None:
    """Return microns per pixel of the resolution tags, where they have a unit."""
    unit = page.tags.valueof("ResolutionUnit", default=1)
    microns = {2: 25_400.0, 3: 10_000.0}.get(int(unit))
    if microns is None or "XResolution" not in page.tags:
        return None
    x, y = page.resolution
    return (microns / x, microns / y) if x > 0 and y > 0 else None
