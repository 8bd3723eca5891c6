"""Biopsy slides of a known share of responder patches.

A patch that responds shows lymphocytes that have moved in: small, round, dark nuclei,
stamped on the tissue. Every other patch keeps the pixels of the slide it is taken from,
a user's own or a drawn one.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from napari_harm3.artifacts import write_csv
from napari_harm3.errors import Harm3Error, SlideError
from napari_harm3.phantom.histology import draw_slide, write_slide
from napari_harm3.wsi.config import PatchConfig, TissueConfig
from napari_harm3.wsi.folder import slides_in
from napari_harm3.wsi.patch_pixels import read_patches
from napari_harm3.wsi.patches import Patches, grid, lay_patches
from napari_harm3.wsi.resolution import UNSTATED
from napari_harm3.wsi.slide import Slide, open_slide
from napari_harm3.wsi.tissue import find_tissue

MOST_ACROSS = 9
"""Patches along each side of a biopsy, at most."""

LEAST_PATCHES = 8
"""Of tissue; a slide with fewer tells nothing of a share."""

TRIES = 8
LEAST_TISSUE = 128
"""Of 255: a patch with less tissue never responds."""

LYMPHOCYTE = np.array([62, 44, 118], np.float32)
PER_PATCH = 110
"""Lymphocytes of a responder patch; 8,800 a square millimetre."""

RADIUS = 6.0
"""Pixels of half a micron."""

GLASS_FROM = 215
"""A pixel whose darkest channel is brighter shows no tissue."""

PATCHES = PatchConfig()


@dataclass(frozen=True, kw_only=True)
class Biopsy:
    """What is true of a slide."""

    source: str
    """Name of the slide it is taken from; ``drawn`` if none."""

    patches: int
    responders: int

    @property
    def fraction(self) -> float:
        """Share of the patches that respond."""
        return self.responders / self.patches


def usable_slides(folder: Path | None) -> tuple[list[Path], list[str]]:
    """Return a folder's slides that biopsies can be taken from, and why others not.

    Raises
    ------
    SlideError
        If there is none.
    """
    if folder is None:
        return [], []
    found, notes = [], []
    for path in slides_in(folder):
        if fault := _fault(path):
            notes.append(fault)
        else:
            found.append(path)
    if not found:
        told = f" ({notes[0]})" if notes else ""
        raise SlideError(
            f"{folder.name} holds no slide of at least {LEAST_PATCHES} patches of "
            f"tissue and a known resolution{told}."
        )
    return found, notes


def write_biopsy(
    path: Path, source: Path | None, share: float, rng: np.random.Generator
) -> Biopsy:
    """Write a slide, and beside it ``<stem>.patches.csv``: x, y and responder.

    Parameters
    ----------
    path
        Of the slide, a pyramidal TIFF.
    source
        A slide to take pixels from; they are drawn if it is None.
    share
        Of the patches that are to respond, as near as their number allows.
    rng
        What everything is drawn from.

    Raises
    ------
    SlideError
        If the source cannot be read.
    """
    pixels = draw_slide(rng, 0.0) if source is None else _taken(source, rng)
    write_slide(path, pixels)
    laid = _written(path)  # of the file itself, since its compression has a say
    able = np.flatnonzero(laid.tissue >= LEAST_TISSUE)
    wanted = min(round(share * len(laid.coords)), len(able))
    chosen = np.sort(rng.permutation(able)[:wanted])
    for x, y in laid.coords[chosen].tolist():
        _stamp(pixels[y : y + PATCHES.patch, x : x + PATCHES.patch], rng)
    write_slide(path, pixels)
    final = _written(path).coords
    responds = {(x, y) for x, y in laid.coords[chosen].tolist()}
    rows = [
        {"x": x, "y": y, "responder": int((x, y) in responds)}
        for x, y in final.tolist()
    ]
    write_csv(path.with_suffix(".patches.csv"), rows, ("x", "y", "responder"))
    return Biopsy(
        source="drawn" if source is None else source.name,
        patches=len(rows),
        responders=sum(row["responder"] for row in rows),
    )


def _fault(path: Path) -> str:
    """Return why no biopsy can be taken from a slide; empty if one can."""
    try:
        with open_slide(path) as slide:
            if slide.mpp is None:  # which nobody is asked for here
                return (
                    f"{slide.name} {slide.mpp_note or UNSTATED}: it is left out until "
                    "the file is corrected."
                )
            tissue = len(_laid(slide).coords)
    except (Harm3Error, OSError) as error:
        return f"{error} The slide is left out."
    if tissue < LEAST_PATCHES:
        return f"{path.name} has {tissue} patches of tissue: it is left out."
    return ""


def _laid(slide: Slide) -> Patches:
    return lay_patches(slide, find_tissue(slide, TissueConfig()), PATCHES)


def _written(path: Path) -> Patches:
    with open_slide(path) as slide:
        return _laid(slide)


def _taken(source: Path, rng: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
    """Return a square of a slide on its own grid of patches, mirrored and turned."""
    with open_slide(source) as slide:
        laid = _laid(slide)
        every = grid(slide.bounds, laid.level0_px)
        columns, rows = len(np.unique(every[:, 0])), len(np.unique(every[:, 1]))
        cells = every.reshape(rows, columns, 2)
        kept = {tuple(corner) for corner in laid.coords.tolist()}
        tissue = np.array([tuple(c) in kept for c in every.tolist()])
        top, left, high, wide = _window(tissue.reshape(rows, columns), rng)
        coords = cells[top : top + high, left : left + wide].reshape(-1, 2)
        patches = Patches(
            coords=coords,
            tissue=np.zeros(len(coords), np.uint8),
            level0_px=laid.level0_px,
            size=laid.size,
        )
        pixels, whole = read_patches(slide, patches, slice(None))
    if not whole.all():
        raise SlideError(f"{source.name} is damaged in part: take it out, or copy it.")
    side = laid.size
    square = pixels.reshape(high, wide, side, side, 3).swapaxes(1, 2)
    image = square.reshape(high * side, wide * side, 3)
    image = image[:, ::-1] if rng.random() < 0.5 else image
    return np.ascontiguousarray(np.rot90(image, int(rng.integers(4))))


def _window(
    tissue: Bool[np.ndarray, "rows columns"], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Return top, left, rows and columns of the fullest of a few drawn squares."""
    rows, columns = tissue.shape
    high, wide = min(rows, MOST_ACROSS), min(columns, MOST_ACROSS)
    tops = rng.integers(0, rows - high + 1, TRIES).tolist()
    lefts = rng.integers(0, columns - wide + 1, TRIES).tolist()
    drawn = list(zip(tops, lefts, strict=True))
    filled = [tissue[t : t + high, x : x + wide].sum() for t, x in drawn]
    top, left = drawn[int(np.argmax(filled))]
    return top, left, high, wide


def _stamp(patch: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator) -> None:
    """Draw lymphocytes where a patch shows tissue."""
    reach = int(RADIUS) + 1
    across = np.arange(-reach, reach + 1)
    distance = np.hypot(across[:, None], across)
    cover = np.clip(RADIUS - distance, 0, 1)[..., None].astype(np.float32)
    height, width = patch.shape[:2]
    rows = rng.integers(reach, height - reach, PER_PATCH)
    columns = rng.integers(reach, width - reach, PER_PATCH)
    tissue = patch.min(axis=2) < GLASS_FROM
    for y, x in zip(rows.tolist(), columns.tolist(), strict=True):
        if tissue[y, x]:
            part = patch[y - reach : y + reach + 1, x - reach : x + reach + 1]
            stain = LYMPHOCYTE * np.float32(rng.uniform(0.9, 1.15))
            part[:] = np.clip(part + (stain - part) * 0.9 * cover, 0, 255)
