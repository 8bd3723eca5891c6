"""What a slide is, how it is read, and where its file is damaged."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from napari_harm3.errors import SlideError
from napari_harm3.wsi.folder import SUFFIXES
from napari_harm3.wsi.resolution import UNSTATED
from napari_harm3.wsi.slide import Slide, open_slide
from napari_harm3.wsi.tiff import TiledTiff

SAMPLED_TILES = 256
"""Tiles of a level that are decoded, spread evenly."""

PROBES = 6
"""Where OpenSlide reads, a level is read at this many places along each side."""

PROBE_PIXELS = 64


@dataclass(frozen=True, kw_only=True)
class FileReport:
    """What is to be said of a file; it can be used if there are no faults."""

    kind: str
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def inspect_slide(
    path: Path, *, source_mpp: float | None = None, quick: bool = False
) -> FileReport:
    """Open a slide, compare its directory with its size, and decode a sample of it.

    Parameters
    ----------
    path
        A slide, or a folder of one DICOM slide.
    source_mpp
        What its user says of its resolution.
    quick
        Decode nothing beyond what opening needs.
    """
    try:
        slide = open_slide(path, source_mpp=source_mpp)
    except SlideError as error:
        kind = "slide" if path.suffix.lower() in SUFFIXES else "unknown"
        return FileReport(kind=kind, faults=[str(error)])
    with slide:
        report = FileReport(kind=f"slide ({slide.vendor})", notes=_described(slide))
        if slide.tiff is not None:
            report.faults.extend(_missing(slide.tiff))
        if not quick:
            damaged = _undecodable if slide.tiff is not None else _unreadable
            report.faults.extend(damaged(slide))
    return report


def _described(slide: Slide) -> list[str]:
    count = len(slide.level_dimensions)
    sizes = ", ".join(
        f"{width} x {height} (1:{down:.4g})"
        for (width, height), down in zip(
            slide.level_dimensions, slide.level_downsamples, strict=True
        )
    )
    said = [
        f"{count} {'level' if count == 1 else 'levels'}: {sizes}.",
        f"Read by {slide.reader}: {slide.reader_note}.",
    ]
    if slide.mpp is not None:
        x, y = slide.mpp
        said.append(f"{x:.4g} x {y:.4g} microns per pixel, {slide.mpp_source}.")
    else:
        why = slide.mpp_note or UNSTATED
        said.append(f"It {why}: give --source-mpp or the column 'mpp'.")
    if slide.mpp is not None and slide.mpp_note:
        said.append(f"It {slide.mpp_note}.")
    return said


def _missing(tiff: TiledTiff) -> list[str]:
    """Return a fault for each level of which the file does not hold all tiles."""
    faults = []
    for number, level in enumerate(tiff.levels):
        broken = tiff.broken(number)
        if broken.size:
            empty = int((level.counts[broken] == 0).sum())
            cause = [f"{empty} empty"] if empty else []
            if beyond := broken.size - empty:
                end = int((level.offsets + level.counts).max())
                cause.append(
                    f"{beyond} beyond the end of the file ({tiff.size} of {end} bytes "
                    "are there)"
                )
            first = broken[0]
            faults.append(
                f"Level {number} lacks {broken.size} of {level.offsets.size} tiles, "
                f"{' and '.join(cause)}; the first is tile {first} "
                f"({level.counts[first]} bytes at {level.offsets[first]}): copy the "
                "file again."
            )
    return faults


def _undecodable(slide: Slide) -> list[str]:
    """Return a fault for each level whose tiles are there and cannot be decoded."""
    tiff = slide.tiff
    assert tiff is not None
    faults = []
    for number, level in enumerate(tiff.levels):
        held = np.setdiff1d(np.arange(level.offsets.size), tiff.broken(number))
        places = np.linspace(0, len(held), SAMPLED_TILES, endpoint=False, dtype=int)
        chosen = held[np.unique(places)] if len(held) else held
        bad = [tile for tile in chosen.tolist() if not _decodes(tiff, number, tile)]
        if bad:
            faults.append(
                f"Level {number}: {len(bad)} of {len(chosen)} tiles tried are damaged, "
                f"the first is tile {bad[0]}: copy the file again."
            )
    return faults


def _decodes(tiff: TiledTiff, level: int, tile: int) -> bool:
    try:
        tiff.tile(level, tile)
    except SlideError:
        return False
    return True


def _unreadable(slide: Slide) -> list[str]:
    """Return a fault for each level that OpenSlide cannot read at some places."""
    faults = []
    for number, (width, height) in enumerate(slide.level_dimensions):
        bad = 0
        for x in np.linspace(0, max(width - PROBE_PIXELS, 0), PROBES):
            for y in np.linspace(0, max(height - PROBE_PIXELS, 0), PROBES):
                left, top = x * slide.width / width, y * slide.height / height
                try:
                    slide.read(number, int(left), int(top), PROBE_PIXELS, PROBE_PIXELS)
                except SlideError:
                    bad += 1
        if bad:
            faults.append(
                f"Level {number}: {bad} of {PROBES**2} places tried cannot be read: "
                "copy the file again."
            )
    return faults
