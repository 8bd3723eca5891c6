"""A made-up neck: shapes in patient millimetres, sampled by any scanner grid.

Patient coordinates are RAS: x to the right, y to the front, z up; the origin lies in
the middle of the neck. Nothing here is anatomy to learn from; it has the look, the
contrasts and the nuisances of a neck MRI.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from scipy import ndimage
from scipy.spatial.transform import Rotation

Points = tuple[Float[np.ndarray, "X Y Z"], ...]
SITES = {
    "oropharynx": (24.0, 14.0, 12.0),
    "oral_cavity": (14.0, 38.0, 20.0),
    "hypopharynx": (18.0, 6.0, -14.0),
    "larynx": (10.0, 20.0, -24.0),
}


class Contrast(NamedTuple):
    """Signal of each tissue; muscle is 1."""

    fat: float
    gland: float
    marrow: float
    fluid: float
    vessel: float
    lesion: float


CONTRASTS = {
    "t1": Contrast(0.6, 1.3, 0.75, 0.45, 1.7, 2.6),
    "t2": Contrast(0.6, 1.5, 0.8, 2.4, 0.2, 2.1),
}
"""Fat-suppressed, as the neck is usually imaged, so that enhancement stands out."""


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """An ellipsoid with a wavy surface."""

    centre: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    phase: float
    label: int
    """1 primary, 2 node."""


@dataclass(frozen=True, kw_only=True)
class Neck:
    """One patient."""

    size: float
    """Scale of the whole neck against a typical one."""

    asymmetry: float
    texture: Float[np.ndarray, "24 24 24"]
    lesions: tuple[Lesion, ...]
    t2_ratio: float
    """T2 signal of the lesion against its typical value."""


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One acquisition: grid, pose of the patient in it, and its flaws."""

    sequence: str
    shape: tuple[int, int, int]
    affine: Float[np.ndarray, "4 4"]
    pose: Float[np.ndarray, "4 4"]
    """From scanner RAS mm to patient mm."""

    gain: float
    bias: tuple[float, float, float]
    noise: float


def draw_neck(rng: np.random.Generator, t2_signal: float) -> tuple[Neck, str]:
    """Return a patient and the site of the primary tumour."""
    site = str(rng.choice(list(SITES)))
    side = float(rng.choice([-1, 1]))
    x, y, z = SITES[site]
    centre = np.array([side * x, y, z]) + rng.normal(0, 3, 3)
    radius = rng.uniform(14, 19)
    lesions = [
        Lesion(
            centre=_triple(centre),
            radii_mm=_triple(radius * rng.uniform(0.88, 1.15, 3)),
            phase=float(rng.uniform(0, 6.28)),
            label=1,
        )
    ]
    if rng.random() < 0.3:
        node = np.array([side * 46, -4, rng.uniform(-20, 15)]) + rng.normal(0, 2, 3)
        lesions.append(
            Lesion(
                centre=_triple(node),
                radii_mm=_triple(rng.uniform(7, 10) * rng.uniform(0.9, 1.3, 3)),
                phase=float(rng.uniform(0, 6.28)),
                label=2,
            )
        )
    neck = Neck(
        size=float(rng.uniform(0.94, 1.08)),
        asymmetry=float(rng.normal(0, 2)),
        texture=ndimage.gaussian_filter(rng.normal(size=(24, 24, 24)), 0.8),
        lesions=tuple(lesions),
        # Spread widely, so that the signal outlasts coarse voxels.
        t2_ratio=float(np.exp(0.30 * t2_signal)),
    )
    return neck, site


def draw_scan(rng: np.random.Generator, sequence: str, *, motion: bool) -> Scan:
    """Return an acquisition with its own oblique grid."""
    if sequence == "t1":
        shape, spacing = (144, 144, 24), np.array([1.55, 1.55, 5.0])
    else:
        shape, spacing = (160, 160, 20), np.array([1.4, 1.4, 6.0])
    spacing = spacing * rng.uniform(0.97, 1.03)
    angles = (rng.uniform(5, 14) * rng.choice([-1, 1]), *rng.uniform(-4, 4, 2))
    affine = np.eye(4)
    turned = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    # Axial, as scanners store it: the first axis runs to the left, the second back.
    affine[:3, :3] = turned @ np.diag([-1, -1, 1]) @ np.diag(spacing)
    affine[:3, 3] = rng.normal(0, 3, 3) - affine[:3, :3] @ (np.array(shape) - 1) / 2
    pose = np.eye(4)
    if motion:
        tilt = Rotation.from_euler("xyz", rng.normal(0, 1.5, 3), degrees=True)
        pose[:3, :3], pose[:3, 3] = tilt.as_matrix(), rng.normal(0, 1.5, 3)
    return Scan(
        sequence=sequence,
        shape=shape,
        affine=affine,
        pose=pose,
        gain=float(rng.uniform(180, 420)),
        bias=_triple(rng.normal(0, 0.06, 3)),
        noise=float(rng.uniform(0.02, 0.05)),
    )


def acquire(
    neck: Neck, scan: Scan, rng: np.random.Generator, *, residual: float
) -> tuple[Float[np.ndarray, "X Y Z"], UInt8[np.ndarray, "X Y Z"]]:
    """Return the volume, in the scanner's arbitrary units, and its annotation.

    ``residual`` is the volume of the lesions against that before treatment.
    """
    points = _patient_points(scan)
    contrast = CONTRASTS[scan.sequence]
    signal = _background(neck, points, contrast)
    mask = np.zeros(scan.shape, dtype=np.uint8)
    strength = contrast.lesion * (neck.t2_ratio if scan.sequence == "t2" else 1.0)
    for lesion in neck.lesions if residual > 0 else ():
        depth = _depth(lesion, points, residual ** (1 / 3))
        signal += (strength - signal) * np.clip(depth / 1.5 + 0.5, 0, 1)
        mask[depth > 0] = lesion.label
    x, y, z = points
    bx, by, bz = scan.bias
    signal *= 1 + (bx * x + by * y + bz * z) / 60
    noise = rng.normal(0, scan.noise, (2, *scan.shape)).astype(np.float32)
    rician = np.hypot(signal + noise[0], noise[1])  # magnitude images have such noise
    return rician * scan.gain, mask


def _patient_points(scan: Scan) -> Points:
    to_patient = scan.pose @ scan.affine
    i, j, k = np.ogrid[tuple(slice(n) for n in scan.shape)]
    return tuple(
        (row[0] * i + row[1] * j + row[2] * k + row[3]).astype(np.float32)
        for row in to_patient[:3]
    )


def _background(
    neck: Neck, points: Points, contrast: Contrast
) -> Float[np.ndarray, "X Y Z"]:
    """Return signal without lesions, painted from the outside in."""
    x, y, z = (axis / neck.size for axis in points)
    x = x - neck.asymmetry * np.tanh(z / 40)
    signal = np.zeros(x.shape, dtype=np.float32)

    def paint(
        inside: Float[np.ndarray, "X Y Z"], value: float, edge: float = 1.5
    ) -> None:
        nonlocal signal
        signal += (value - signal) * np.clip(inside / edge + 0.5, 0, 1)

    width = 62 + 10 * np.tanh(z / 30)
    outline = _ellipse(x, y + 4, width, 74 + 8 * np.tanh(z / 40))
    paint(outline, contrast.fat)
    paint(outline - 7, 1.0)
    texture = ndimage.map_coordinates(
        neck.texture,
        [(axis + 100) / 9 for axis in (x, y, z)],
        order=1,
        mode="grid-wrap",
    )
    signal *= 1 + 0.35 * texture.astype(np.float32)
    for side in (-1, 1):
        paint(
            _ellipse(x - side * 44, y - 2, 11, 17) - np.abs(z - 22) / 3, contrast.gland
        )
        paint(_ellipse(x - side * 27, y + 12, 6, 8), contrast.fat, 4)
        paint(_ellipse(x - side * 33, y + 4, 4.6, 4.6), contrast.vessel)
        paint(_ellipse(x - side * 38, y + 9, 5.5, 4.2), contrast.vessel * 0.85)
        jaw = _ellipse(x - side * (34 - 0.25 * np.abs(y - 30)), y - 32, 5, 24)
        jaw = np.minimum(jaw, 14 - np.abs(z - 26))
        paint(jaw, 0.15)
        paint(jaw - 2.5, contrast.marrow)
    vertebra = _ellipse(x, y + 24, 15, 13)
    paint(vertebra, 0.25)
    paint(vertebra - 2, contrast.marrow)
    paint(np.minimum(vertebra - 1, 1.6 - np.abs(np.mod(z, 17) - 8.5)), 0.7)
    paint(_ellipse(x, y + 46, 9, 7), contrast.fluid)
    paint(_ellipse(x, y + 46, 5, 4), 1.1)
    paint(_ellipse(x, y - 12 - 0.1 * z, 9, 7), 0.04)
    return signal


def _ellipse(
    x: Float[np.ndarray, "..."],
    y: Float[np.ndarray, "..."],
    width: Float[np.ndarray, "..."] | float,
    height: Float[np.ndarray, "..."] | float,
) -> Float[np.ndarray, "..."]:
    """Return about how many millimetres a point lies inside an ellipse."""
    return (1 - np.hypot(x / width, y / height)) * np.minimum(width, height)


def _depth(lesion: Lesion, points: Points, shrink: float) -> Float[np.ndarray, "X Y Z"]:
    """Return about how many millimetres a point lies inside a lesion."""
    u, v, w = (
        (axis - centre) / (radius * shrink)
        for axis, centre, radius in zip(
            points, lesion.centre, lesion.radii_mm, strict=True
        )
    )
    wave = 0.09 * np.sin(3 * np.arctan2(v, u) + lesion.phase) + 0.06 * np.sin(
        4 * w + lesion.phase
    )
    distance = np.sqrt(u * u + v * v + w * w)
    return (1 + wave - distance) * min(lesion.radii_mm) * shrink


def _triple(values: Float[np.ndarray, "3"]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z
