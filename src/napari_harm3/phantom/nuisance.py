"""What differs between two acquisitions of the same thing.

Drawn for every volume from a stream of its own, which never sees the label.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int16
from scipy import fft

BRIGHT = 1000.0
"""Whole numbers that a body's median becomes, before the gain."""

MOST = np.iinfo(np.int16).max


@dataclass(frozen=True, kw_only=True)
class Nuisance:
    """The flaws of one acquisition."""

    gain: float
    """The scanner's arbitrary unit, against a typical one."""

    bias: tuple[float, ...]
    """Of the receiving coil: logarithm of its slope and bend along each array axis."""

    noise: float
    """Spread of the noise in each of two channels, in medians of the body."""

    motion_mm: float
    """How far the patient lay aside, along the second array axis, while the outer
    lines of k-space were acquired. The inner ones fix where things are."""

    still: float
    """Share of the lines of k-space, from its middle, acquired before that."""

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return asdict(self) | {"bias": list(self.bias)}


def draw_nuisance(rng: np.random.Generator) -> Nuisance:
    """Return the flaws of an acquisition."""
    return Nuisance(
        gain=float(rng.uniform(0.7, 1.4)),
        bias=tuple(float(value) for value in rng.normal(0, 0.06, 6)),
        noise=float(rng.uniform(0.01, 0.035)),
        motion_mm=float(rng.normal(0, 0.7)),
        still=float(rng.uniform(0.3, 0.7)),
    )


def degraded(
    array: Float[np.ndarray, "X Y Z"],
    nuisance: Nuisance,
    rng: np.random.Generator,
    *,
    spacing_mm: float,
    median: float,
) -> Int16[np.ndarray, "X Y Z"]:
    """Return a volume as a scanner would have written it.

    Parameters
    ----------
    array
        Not negative; zero is air.
    nuisance
        The flaws.
    rng
        What the noise is drawn from.
    spacing_mm
        Of the second array axis.
    median
        Of the body.
    """
    signal = _moved(array / np.float32(median), nuisance, spacing_mm)
    signal *= _coil(array.shape, nuisance.bias)
    noise = rng.standard_normal((2, *array.shape), np.float32) * nuisance.noise
    rician = np.hypot(signal + noise[0], noise[1])  # magnitude images have such noise
    scaled = np.rint(rician * (BRIGHT * nuisance.gain))
    return np.minimum(scaled, MOST).astype(np.int16)


def _moved(
    array: Float[np.ndarray, "X Y Z"], nuisance: Nuisance, spacing_mm: float
) -> Float[np.ndarray, "X Y Z"]:
    lines = fft.rfft(array, axis=1)
    frequency = fft.rfftfreq(array.shape[1])
    late = frequency > nuisance.still * 0.5
    turn = np.exp(-2j * np.pi * frequency * nuisance.motion_mm / spacing_mm)
    lines *= np.where(late, turn, 1).astype(lines.dtype)[:, None]
    moved = fft.irfft(lines, n=array.shape[1], axis=1)
    return np.asarray(moved, dtype=np.float32)


def _coil(
    shape: tuple[int, ...], bias: tuple[float, ...]
) -> Float[np.ndarray, "X Y Z"]:
    field = np.zeros((1, 1, 1), dtype=np.float32)
    for axis, (size, slope, bend) in enumerate(
        zip(shape, bias[:3], bias[3:], strict=True)
    ):
        along = np.linspace(-1, 1, size, dtype=np.float32)
        line = slope * along + bend * (along**2 - 1 / 3)
        field = field + line.reshape([-1 if a == axis else 1 for a in range(3)])
    return np.asarray(np.exp(field), dtype=np.float32)
