"""Whole-slide images, light enough for the viewer's process.

OpenSlide opens every vendor's format and says what the file says of itself. Where a
file is plain RGB tiles, they are decoded without it, several times faster.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from threading import Lock

import numpy as np
import openslide
from jaxtyping import UInt8

from napari_harm3.errors import SlideError
from napari_harm3.wsi.alpha import WHITE, background, laid_on
from napari_harm3.wsi.files import SlideFiles, file_of, shown_name
from napari_harm3.wsi.levels import Size, levels_among
from napari_harm3.wsi.resolution import UNSTATED, require_plausible, resolution
from napari_harm3.wsi.tiff import REDUCTIONS, TiledTiff
from napari_harm3.wsi.tiff_pages import NotPlainError

PROBE_TILES = (0.5, 0.3, 0.7)
"""Places of the tiles of level 0 that are decoded both ways at opening."""

PLAIN = ("aperio", "generic-tiff")
"""Vendors whose tiles lie side by side and are all there."""

ALPHA_ROUNDING = 2
"""OpenSlide multiplies by alpha and divides again, in whole numbers."""

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

Pair = tuple[float, float]


class Slide:
    """An open slide. Coordinates are level-0 pixels from its upper left corner.

    Parameters
    ----------
    path
        A file that OpenSlide reads, a tiled RGB TIFF (OME too), or a folder of one
        DICOM slide.
    source_mpp
        Microns per pixel at level 0; they win over what the file says.

    Raises
    ------
    SlideError
        If it cannot be opened, saying what it is instead and what to do.
    """

    def __init__(self, path: Path, *, source_mpp: float | None = None) -> None:
        self.path, self.name = path, shown_name(path)
        self.stated_mpp = source_mpp
        if source_mpp is not None:
            require_plausible(source_mpp)
        self._file = file_of(path, is_dicom_slide)
        self._files = SlideFiles(self._file)
        self._lock = Lock()
        self._handle, why = _with_openslide(self._file)
        # Asked first: after a fault OpenSlide refuses to tell them.
        self._properties: Mapping[str, str] = (
            {} if self._handle is None else dict(self._handle.properties)
        )
        self._tiff, self.reader_note = _with_tiff(self._file, self._handle, why)
        with ExitStack() as opened:
            opened.callback(self.close)
            self._files.watch_parts(self.vendor)
            # OpenSlide numbers other pictures too, which are none of its levels.
            self._numbers, self.level_dimensions = self._levels()
            self.width, self.height = self.level_dimensions[0]
            self.level_downsamples: tuple[float, ...] = tuple(
                (self.width / width + self.height / height) / 2
                for width, height in self.level_dimensions
            )
            self.mpp, self.mpp_source, self.mpp_note = resolution(
                self._properties, own=self._own_mpp, stated=source_mpp
            )
            if self._handle is not None and self._tiff is not None:
                self._handle.close()
                self._handle = None
            self._background = background(self._properties)
            opened.pop_all()

    def __enter__(self) -> "Slide":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file, when nobody reads of it any more."""
        with self._lock:
            if self._handle is not None:
                self._handle.close()
                self._handle = None
        if self._tiff is not None:
            self._tiff.close()

    def forget_tiles(self) -> None:
        """Let go of what was decoded and kept in case it is asked for again."""
        if self._tiff is not None:
            self._tiff.cache.clear()

    @property
    def reader(self) -> str:
        """What decodes its tiles: ``tifffile`` or ``openslide``."""
        return "openslide" if self._tiff is None else "tifffile"

    @property
    def tiff(self) -> TiledTiff | None:
        """Its tiles, where they are decoded without OpenSlide."""
        return self._tiff

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """The scanned part: x, y, width, height."""
        if self.vendor in PLAIN:
            # OpenSlide would leave out borders whose tiles are empty, which is damage.
            return 0, 0, self.width, self.height
        keys = ("x", "y", "width", "height")
        found = [self._properties.get(f"openslide.bounds-{k}", "") for k in keys]
        if all(value.isdecimal() for value in found):
            x, y, width, height = (int(value) for value in found)
            return x, y, width, height
        return 0, 0, self.width, self.height

    @property
    def vendor(self) -> str:
        """OpenSlide's name of the format; ``tiff`` for what it does not open."""
        return str(self._properties.get("openslide.vendor", "tiff"))

    def require_mpp(self) -> Pair:
        """Return microns per pixel along x and y.

        Raises
        ------
        SlideError
            If neither the file nor the user says it; it is never assumed.
        """
        if self.mpp is None:
            why = self.mpp_note or UNSTATED
            raise SlideError(
                f"{self.name} {why}: state it in the column 'mpp' of the cohort table, "
                "as --source-mpp, or in the Slide panel."
            )
        return self.mpp

    def read(
        self, level: int, x: int, y: int, width: int, height: int
    ) -> UInt8[np.ndarray, "height width 3"]:
        """Return a region as RGB; see `read_into`."""
        region = np.empty((height, width, 3), np.uint8)
        self.read_into(region, level, x, y)
        return region

    def read_into(
        self, region: UInt8[np.ndarray, "height width 3"], level: int, x: int, y: int
    ) -> None:
        """Fill an array with a region as RGB; bare where nothing was scanned.

        Parameters
        ----------
        region
            Takes the pixels; its shape says how many.
        level
            Pyramid level that they come from.
        x, y
            Upper left corner at level 0.

        Raises
        ------
        SlideError
            If the file is damaged there.
        """
        if self._tiff is None:
            region[:] = self._composited(level, x, y, region.shape[1], region.shape[0])
        else:
            down_x, down_y = self._down(level)
            self._tiff.read_into(region, level, round(x / down_x), round(y / down_y))

    def read_reduced(
        self, level: int, reduction: int, x: int, y: int, width: int, height: int
    ) -> UInt8[np.ndarray, "height width 3"]:
        """Return a region of a level shrunk by a factor of `reductions`.

        Parameters
        ----------
        level, reduction
            Where the pixels come from.
        x, y, width, height
            In pixels of the shrunk level.

        Raises
        ------
        SlideError
            If the file is damaged there.
        """
        if self._tiff is not None:
            return self._tiff.read(level, x, y, width, height, reduction=reduction)
        down_x, down_y = self._down(level)
        return self.read(level, round(x * down_x), round(y * down_y), width, height)

    def reductions(self, level: int) -> tuple[int, ...]:
        """Return the factors by which a level can be shrunk while it is decoded."""
        fast = self._tiff is not None and self._tiff.levels[level].jpeg
        return REDUCTIONS if fast else (1,)

    def level_for(self, downsample: float) -> int:
        """Return the coarsest level that is at least as fine as a down-sampling."""
        fine = [
            n for n, d in enumerate(self.level_downsamples) if d <= downsample * 1.01
        ]
        return max(fine, key=lambda n: self.level_downsamples[n]) if fine else 0

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the content; of a large file, of its size and sixteen probes."""
        try:
            return self._files.fingerprint
        except OSError as error:
            raise SlideError(f"{self.name} cannot be read: check the disk.") from error

    def require_unchanged(self) -> None:
        """Refuse to go on with a file that was replaced while it was open.

        Raises
        ------
        SlideError
            If size, time or place on the disk of one of its files is another one.
        """
        if self._files.changed:
            raise SlideError(f"{self.name} was changed while it was read: run again.")

    @property
    def _own_mpp(self) -> Pair | None:
        # OpenSlide knows what scanners write, and nothing of OME.
        if self._tiff is None or not (self._tiff.ome or self._handle is None):
            return None
        return self._tiff.mpp

    def _levels(self) -> tuple[list[int], tuple[Size, ...]]:
        """Return the reader's number of each level, and its size."""
        if self._tiff is not None:
            sizes = [(level.width, level.height) for level in self._tiff.levels]
        else:
            assert self._handle is not None
            sizes = list(self._handle.level_dimensions)
        numbers = levels_among(sizes)
        return numbers, tuple(sizes[number] for number in numbers)

    def _down(self, level: int) -> Pair:
        width, height = self.level_dimensions[level]
        return self.width / width, self.height / height

    def _composited(
        self, level: int, x: int, y: int, width: int, height: int
    ) -> UInt8[np.ndarray, "height width 3"]:
        with self._lock:
            if self._handle is None:
                raise SlideError(
                    f"{self.name} is closed, or its file is gone: open it."
                )
            try:
                number = self._numbers[level]
                region = self._handle.read_region((x, y), number, (width, height))
            except openslide.OpenSlideError as error:
                # OpenSlide refuses everything after a fault: open the file anew.
                self._handle.close()
                self._handle, _ = _with_openslide(self._file)
                raise SlideError(
                    f"{self.name} is damaged near x {x}, y {y}: copy it again."
                ) from error
        return laid_on(self._background, np.asarray(region))


def open_slide(path: Path, *, source_mpp: float | None = None) -> Slide:
    """Return an open slide; close it, or use it in a `with`.

    Raises
    ------
    SlideError
        If the file is missing or no slide.
    """
    return Slide(path, source_mpp=source_mpp)


def is_dicom_slide(file: Path) -> bool:
    """Return whether a file is a slide in DICOM, whatever its name."""
    return openslide.OpenSlide.detect_format(file) == "dicom"


def dicom_series(file: Path) -> str | None:
    """Return which series a DICOM slide is of; None if it cannot be opened."""
    try:
        with openslide.OpenSlide(file) as slide:
            return slide.properties.get("dicom.SeriesInstanceUID")
    except openslide.OpenSlideError:
        return None


def _with_openslide(path: Path) -> tuple[openslide.OpenSlide | None, str]:
    """Return OpenSlide's handle, or none and why."""
    try:
        return openslide.OpenSlide(path), ""
    except openslide.OpenSlideUnsupportedFormatError:
        return None, "is of a format that OpenSlide does not read"
    except openslide.OpenSlideError as error:
        cause = str(error)
        return None, f"is damaged ({cause})" if "/" not in cause else "is damaged"


def _with_tiff(
    path: Path, handle: openslide.OpenSlide | None, why: str
) -> tuple[TiledTiff | None, str]:
    """Return the tiles where they can be trusted, and why it is so or not.

    Raises
    ------
    SlideError
        If neither OpenSlide nor we can open it.
    """
    if handle is None:
        return _without_openslide(path, why), "OpenSlide does not read it"
    if handle.properties.get("openslide.vendor") not in PLAIN:
        return None, "its tiles overlap, or only OpenSlide knows how they lie"
    try:
        tiff = TiledTiff(path, sizes=handle.level_dimensions)
    except NotPlainError:
        return None, "not plain tiles of RGB"
    except SlideError:
        handle.close()
        raise
    known = _known(tiff, handle)
    for level, index in _probes(tiff, list(known)):
        if not _alike(tiff, handle, (level, known[level]), index):
            tiff.close()
            return None, "its tiles decode differently outside OpenSlide"
    tiff.cache.clear()
    return tiff, "plain tiles, the same pixels as OpenSlide's"


def _without_openslide(path: Path, why: str) -> TiledTiff:
    with path.open("rb") as stream:
        is_tiff = stream.read(4) in TIFF_MAGIC
    if is_tiff:
        return TiledTiff(path)
    folder = path.with_suffix("")
    if path.suffix.lower() == ".mrxs" and not folder.is_dir():
        raise SlideError(
            f"{path.name} needs the folder {folder.name} beside it, where its pixels "
            "are: copy both."
        )
    raise SlideError(f"{path.name} {why}: copy it again, or convert it to OME-TIFF.")


def _known(tiff: TiledTiff, handle: openslide.OpenSlide) -> dict[int, int]:
    """Return OpenSlide's number of each level that it knows.

    Of an OME-TIFF's levels it sees the first alone.
    """
    sizes = list(handle.level_dimensions)
    return {
        number: sizes.index((at.width, at.height))
        for number, at in enumerate(tiff.levels)
        if (at.width, at.height) in sizes
    }


def _probes(tiff: TiledTiff, levels: list[int]) -> list[tuple[int, int]]:
    """Return some tiles of levels: of every one the first, of level 0 more."""
    first = tiff.levels[0]
    rows = len(first.offsets) // first.columns
    inner = [
        int(rows * share) * first.columns + int(first.columns * share)
        for share in PROBE_TILES
    ]
    return [(n, index) for n in levels for index in ([*inner, 0] if n == 0 else [0])]


def _alike(
    tiff: TiledTiff, handle: openslide.OpenSlide, levels: tuple[int, int], index: int
) -> bool:
    """Return whether a tile is the same both ways; a damaged one says nothing."""
    level, number = levels
    at = tiff.levels[level]
    row, column = divmod(index, at.columns)
    x, y = column * at.tile_width, row * at.tile_height
    width, height = min(at.tile_width, at.width - x), min(at.tile_height, at.height - y)
    try:
        ours = tiff.read(level, x, y, width, height)
        theirs = np.asarray(handle.read_region((x, y), number, (width, height)))
    except (SlideError, openslide.OpenSlideError):
        return True
    rounding = 0 if (theirs[..., 3] == 255).all() else ALPHA_ROUNDING
    difference = ours.astype(np.int16) - laid_on(WHITE, theirs)
    return int(np.abs(difference).max()) <= rounding
