"""Whole-slide images through OpenSlide: light enough for the viewer's process."""

import hashlib
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import openslide
from jaxtyping import UInt8

from napari_harm3.errors import SlideError

WHITE = (255, 255, 255)
PLAUSIBLE_MPP = (0.01, 100.0)
PROBE_BYTES = 1 << 22
"""A file up to sixteen times this is fingerprinted whole, a larger one by probes."""

Pair = tuple[float, float]


class Slide:
    """An open slide. Coordinates are level-0 pixels from its upper left corner.

    Parameters
    ----------
    path
        File in any format that OpenSlide reads.
    source_mpp
        Microns per pixel at level 0, where the file does not say it.
    """

    def __init__(self, path: Path, *, source_mpp: float | None = None) -> None:
        self.path, self.name = path, path.name
        self._handle = self._open()
        self.width, self.height = self._handle.dimensions
        self.level_dimensions: tuple[tuple[int, int], ...] = (
            self._handle.level_dimensions
        )
        self.level_downsamples: tuple[float, ...] = self._handle.level_downsamples
        self.mpp, self.mpp_source = _resolution(self._handle.properties, source_mpp)
        self._background = _background(self._handle.properties)

    def __enter__(self) -> "Slide":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._handle.close()

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """The scanned part: x, y, width, height."""
        keys = ("x", "y", "width", "height")
        found = [self._handle.properties.get(f"openslide.bounds-{k}") for k in keys]
        if all(value is not None and value.isdecimal() for value in found):
            x, y, width, height = (int(value) for value in found)
            return x, y, width, height
        return 0, 0, self.width, self.height

    @property
    def vendor(self) -> str:
        """OpenSlide's name of the format."""
        return str(self._handle.properties.get("openslide.vendor", "unknown"))

    def require_mpp(self) -> Pair:
        """Return microns per pixel along x and y.

        Raises
        ------
        SlideError
            If neither the file nor the user says it; it is never assumed.
        """
        if self.mpp is None:
            raise SlideError(
                f"{self.name} does not state its resolution (microns per pixel): give "
                "it in the column 'mpp' of the cohort table, or as --source-mpp."
            )
        return self.mpp

    def read(
        self, level: int, x: int, y: int, width: int, height: int
    ) -> UInt8[np.ndarray, "height width 3"]:
        """Return a region as RGB; what was not scanned has the background colour.

        Parameters
        ----------
        level
            Pyramid level that the pixels come from.
        x, y
            Upper left corner at level 0.
        width, height
            Pixels of that level.

        Raises
        ------
        SlideError
            If the file is damaged there.
        """
        try:
            region = self._handle.read_region((x, y), level, (width, height))
        except openslide.OpenSlideError as error:
            # OpenSlide refuses everything after a fault: open the file anew.
            self._handle.close()
            self._handle = self._open()
            raise SlideError(
                f"{self.name} is damaged near x {x}, y {y}: copy it again."
            ) from error
        rgba = np.asarray(region)
        alpha = rgba[..., 3:]
        if alpha.min() == 255:
            return np.ascontiguousarray(rgba[..., :3])
        share = alpha.astype(np.float32) / 255
        blended = rgba[..., :3] * share + self._background * (1 - share)
        return np.asarray(np.rint(blended), dtype=np.uint8)

    def thumbnail(self, um_per_pixel: float) -> tuple[UInt8[np.ndarray, "h w 3"], Pair]:
        """Return the whole slide, and how many level-0 pixels one of its pixels spans.

        The picture is read from the coarsest level that is fine enough; it is not
        yet scaled to the exact resolution.
        """
        mpp_x, mpp_y = self.require_mpp()
        wanted = um_per_pixel / max(mpp_x, mpp_y)
        level = self.level_for(wanted)
        width, height = self.level_dimensions[level]
        picture = self.read(level, 0, 0, width, height)
        return picture, (self.width / width, self.height / height)

    def level_for(self, downsample: float) -> int:
        """Return the coarsest level that is at least as fine as a down-sampling."""
        fine = [
            n for n, d in enumerate(self.level_downsamples) if d <= downsample * 1.01
        ]
        return max(fine, key=lambda n: self.level_downsamples[n]) if fine else 0

    def pyramid(self) -> list["SlideLevel"]:
        """Return the levels as arrays that read on demand, for the viewer."""
        return [SlideLevel(self, level) for level in range(len(self.level_dimensions))]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the content; of a large file, of its size and sixteen probes."""
        digest = hashlib.sha256()
        try:
            size = self.path.stat().st_size
            with self.path.open("rb") as stream:
                if size <= 16 * PROBE_BYTES:
                    digest.update(stream.read())
                else:
                    digest.update(size.to_bytes(8, "little"))
                    for probe in range(16):
                        stream.seek((size - PROBE_BYTES) * probe // 15)
                        digest.update(stream.read(PROBE_BYTES))
        except OSError as error:
            raise SlideError(f"{self.name} cannot be read.") from error
        return digest.hexdigest()

    def _open(self) -> openslide.OpenSlide:
        if not self.path.exists():
            raise SlideError(f"{self.name} does not exist: correct the path.")
        try:
            return openslide.OpenSlide(self.path)
        except openslide.OpenSlideError as error:
            raise SlideError(
                f"{self.name} cannot be opened as a slide: it is damaged, or of a "
                "format that OpenSlide does not read."
            ) from error


class SlideLevel:
    """One pyramid level as an array of shape (rows, columns, 3)."""

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(self, slide: Slide, level: int) -> None:
        self._slide, self._level = slide, level
        width, height = slide.level_dimensions[level]
        self.shape = (height, width, 3)
        self.size = height * width * 3

    def __getitem__(self, key: Any) -> UInt8[np.ndarray, "..."]:
        """Return a region by slices, reading only what it covers."""
        parts = key if isinstance(key, tuple) else (key,)
        rows, columns = (*parts, slice(None), slice(None))[:2]
        top, bottom, row_step = _span(rows, self.shape[0])
        left, right, column_step = _span(columns, self.shape[1])
        down_x = self._slide.width / self.shape[1]
        down_y = self._slide.height / self.shape[0]
        region = self._slide.read(
            self._level,
            round(left * down_x),
            round(top * down_y),
            max(right - left, 1),
            max(bottom - top, 1),
        )
        region = region[::row_step, ::column_step]
        rest = parts[2:] if len(parts) > 2 else ()
        squeezed = region[
            0 if isinstance(rows, int | np.integer) else slice(None),
            0 if isinstance(columns, int | np.integer) else slice(None),
        ]
        return squeezed[(..., *rest)] if rest else squeezed

    def __array__(
        self, dtype: Any = None, copy: bool | None = None
    ) -> UInt8[np.ndarray, "h w 3"]:
        """Return the whole level."""
        del copy
        whole = self[:, :]
        return whole if dtype is None else whole.astype(dtype)


def open_slide(path: Path, *, source_mpp: float | None = None) -> Slide:
    """Return an open slide; close it, or use it in a `with`.

    Raises
    ------
    SlideError
        If the file is missing or no slide.
    """
    return Slide(path, source_mpp=source_mpp)


def _span(part: Any, size: int) -> tuple[int, int, int]:
    if isinstance(part, slice):
        return part.indices(size)
    index = int(part)
    index += size if index < 0 else 0
    return index, index + 1, 1


def _resolution(
    properties: Any, stated: float | None
) -> tuple[Pair | None, str | None]:
    """Return microns per pixel and who says so; a stated value wins."""
    if stated is not None:
        return (stated, stated), "stated"
    try:
        x, y = (float(properties[f"openslide.mpp-{axis}"]) for axis in "xy")
    except (KeyError, ValueError):
        return None, None
    low, high = PLAUSIBLE_MPP
    return ((x, y), "file") if low <= min(x, y) and max(x, y) <= high else (None, None)


def _background(properties: Any) -> UInt8[np.ndarray, "3"]:
    colour = str(properties.get("openslide.background-color", "FFFFFF"))
    try:
        return np.frombuffer(bytes.fromhex(colour), dtype=np.uint8)
    except ValueError:
        return np.array(WHITE, dtype=np.uint8)
