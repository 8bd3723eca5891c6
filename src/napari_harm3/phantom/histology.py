"""A made-up biopsy slide: H&E-like pixels in a pyramidal tiled TIFF."""

from pathlib import Path

import numpy as np
import tifffile
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage

from napari_harm3.artifacts import atomic_path

MPP = 0.5
SIDE = 2016
"""Pixels: nine patches of 224 a side."""

TILE = 256
LEVELS = 4
GLASS = np.array([243, 241, 244], np.float32)
STROMA = np.array([226, 158, 196], np.float32)
NUCLEUS = np.array([88, 58, 138], np.float32)
COARSE = 8
"""Tissue and texture are drawn on a grid this much coarser."""


def draw_slide(rng: np.random.Generator, density: float) -> UInt8[np.ndarray, "h w 3"]:
    """Return the pixels of a biopsy; its cell density follows a latent value."""
    side = SIDE // COARSE
    tissue = _tissue(rng, side)
    pixels = _stained(rng, tissue, side)
    # Between about 1,000 and 15,000 nuclei a square millimetre.
    per_mm2 = 4200 * np.exp(0.45 * density)
    _stamp_nuclei(rng, pixels, tissue, per_mm2)
    stain = 1 + rng.normal(0, 0.025, 3).astype(np.float32)
    pixels = GLASS - (GLASS - pixels) * stain * np.float32(rng.uniform(0.94, 1.06))
    pixels += rng.integers(-3, 4, (SIDE, SIDE, 1), dtype=np.int8)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def write_slide(path: Path, pixels: UInt8[np.ndarray, "h w 3"]) -> None:
    """Write JPEG tiles in four levels, with the resolution, atomically."""
    with (
        atomic_path(path) as temporary,
        tifffile.TiffWriter(temporary, bigtiff=False) as writer,
    ):
        for level in range(LEVELS):
            writer.write(
                pixels,
                tile=(TILE, TILE),
                photometric="rgb",
                compression="jpeg",
                compressionargs={"level": 90},
                resolution=(1e4 / (MPP * 2**level),) * 2,
                resolutionunit="CENTIMETER",
                subfiletype=1 if level else 0,
                metadata=None,
                software=False,
            )
            pixels = _halved(pixels)


def _halved(pixels: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    height, width = (n // 2 * 2 for n in pixels.shape[:2])
    boxes = pixels[:height, :width].reshape(height // 2, 2, width // 2, 2, 3)
    return (boxes.mean(axis=(1, 3), dtype=np.float32) + 0.5).astype(np.uint8)


def _tissue(rng: np.random.Generator, side: int) -> Bool[np.ndarray, "rows columns"]:
    """Return two or three biopsy cores with ragged edges."""
    y, x = np.mgrid[:side, :side] / side - 0.5
    ragged = ndimage.gaussian_filter(rng.normal(size=(side, side)), 6)
    ragged *= 0.035 / ragged.std()
    mask = np.zeros((side, side), dtype=bool)
    cores = int(rng.integers(2, 4))
    for core in range(cores):
        angle = rng.uniform(-0.35, 0.35)
        offset = (core - (cores - 1) / 2) * 0.62 / cores * 1.15 + rng.normal(0, 0.01)
        along = x * np.cos(angle) + y * np.sin(angle) + rng.normal(0, 0.03)
        across = -x * np.sin(angle) + y * np.cos(angle) - offset
        half = 0.235 / cores
        mask |= np.hypot(along / 0.36, across / half) + ragged / half * 0.6 < 1
    holes = ndimage.gaussian_filter(rng.normal(size=(side, side)), 3)
    return mask & (holes < 2.4 * holes.std())


def _stained(
    rng: np.random.Generator, tissue: Bool[np.ndarray, "rows columns"], side: int
) -> Float[np.ndarray, "h w 3"]:
    """Return pink stroma with fibres, on glass."""
    fibres = ndimage.gaussian_filter(rng.normal(size=(side, side)), (0.7, 3))
    fibres /= fibres.std()
    cover = ndimage.gaussian_filter(tissue.astype(np.float32), 0.8)
    cover *= 1 + 0.10 * fibres.astype(np.float32)
    fine = ndimage.zoom(cover.astype(np.float32), COARSE, order=1)
    grain = ndimage.gaussian_filter(
        rng.standard_normal((SIDE // 2,) * 2, np.float32), 1
    )
    grain = np.repeat(np.repeat(grain, 2, axis=0), 2, axis=1)
    fine *= 1 + 0.16 * grain
    return GLASS + (STROMA - GLASS) * fine[..., None]


def _stamp_nuclei(
    rng: np.random.Generator,
    pixels: Float[np.ndarray, "h w 3"],
    tissue: Bool[np.ndarray, "rows columns"],
    per_mm2: float,
) -> None:
    """Draw nuclei of six to ten microns, in loose clusters."""
    area_mm2 = tissue.sum() * (COARSE * MPP / 1000) ** 2
    rows, columns = np.nonzero(tissue)
    count = int(per_mm2 * area_mm2)
    stamps = [_nucleus(rng) for _ in range(24)]
    size = stamps[0].shape[0]
    chosen = rng.integers(0, len(rows), count)
    tops = rows[chosen] * COARSE + rng.integers(0, COARSE, count) - size // 2
    lefts = columns[chosen] * COARSE + rng.integers(0, COARSE, count) - size // 2
    tops, lefts = tops.clip(0, SIDE - size), lefts.clip(0, SIDE - size)
    which = rng.integers(0, len(stamps), count)
    for top, left, stamp in zip(
        tops.tolist(), lefts.tolist(), which.tolist(), strict=True
    ):
        patch = pixels[top : top + size, left : left + size]
        patch += (NUCLEUS - patch) * stamps[stamp]


def _nucleus(rng: np.random.Generator) -> Float[np.ndarray, "s s 1"]:
    y, x = np.mgrid[-11:12, -11:12].astype(np.float32)
    angle, long, short = rng.uniform(0, np.pi), rng.uniform(7, 10), rng.uniform(5, 7)
    u = (x * np.cos(angle) + y * np.sin(angle)) / long
    v = (-x * np.sin(angle) + y * np.cos(angle)) / short
    edge = np.clip((1 - np.hypot(u, v)) * 4, 0, 1)
    return (edge * rng.uniform(0.75, 0.95)).astype(np.float32)[..., None]
