"""What a NIfTI header says, field by field, and whether it can be believed.

nibabel mends some faults silently (a spacing of zero becomes one millimetre, a
negative one positive), so the fields are judged here as they stand in the file.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from napari_harm3.errors import VolumeError
from napari_harm3.mri.affine import SAME_MM, agree, check_affine

TYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
"""Voxel types that are read, by the standard's code."""

OTHER_TYPES = {
    1: "single bits",
    32: "complex numbers",
    128: "RGB colours",
    1536: "numbers of 128 bits",
    1792: "complex numbers",
    2048: "complex numbers",
    2304: "RGBA colours",
}

MILLIMETRES = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""Length of the standard's spatial units; an unknown unit is taken as mm."""

MOST_CODE = 5
"""Largest code of the standard for what an sform or a qform refers to."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the voxels stand in the file, what they mean, and where they lie."""

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    offset: int
    slope: float
    inter: float
    affine: Float[np.ndarray, "4 4"]

    @property
    def size_bytes(self) -> int:
        """Length of the file that the header promises, when unpacked."""
        return self.offset + int(np.prod(self.shape, dtype=object)) * (
            self.dtype.itemsize
        )


def damaged(name: str, how: str) -> VolumeError:
    """Return the sentence for a file that cannot have been written so."""
    return VolumeError(f"{name} is damaged ({how}): copy it again from its source.")


def layout_of(name: str, header: Any, *, byte_order: str) -> Layout:
    """Return what a header says.

    Parameters
    ----------
    name
        The file, as errors call it.
    header
        nibabel's NIfTI-1 or NIfTI-2 header, unchecked.
    byte_order
        ``<`` or ``>``.

    Raises
    ------
    VolumeError
        If it describes no single 3-D volume of real numbers, says something
        impossible, or says two things of one.
    """
    shape = _shape(name, header["dim"])
    slope, inter = _scaling(name, header)
    return Layout(
        shape=shape,
        dtype=_dtype(name, header).newbyteorder(byte_order),  # type: ignore[arg-type]  # a plain str
        offset=_offset(name, header),
        slope=slope,
        inter=inter,
        affine=_affine(name, header, shape),
    )


def _shape(name: str, dim: Any) -> tuple[int, int, int]:
    if not 1 <= dim[0] <= 7:
        raise damaged(name, f"it counts {dim[0]} axes")
    shape = tuple(int(n) for n in dim[1 : dim[0] + 1])
    if min(shape) < 1:
        raise damaged(name, f"its shape is {shape}")
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise VolumeError(
            f"{name} has shape {shape}: one three-dimensional volume is needed. Export "
            "one volume of the series."
        )
    return shape[0], shape[1], shape[2]


def _dtype(name: str, header: Any) -> np.dtype[Any]:
    code, bits = int(header["datatype"]), int(header["bitpix"])
    if code not in TYPES:
        told = OTHER_TYPES.get(code, f"voxels of the unknown type {code}")
        raise VolumeError(
            f"{name} holds {told}; export it with one real number a voxel."
        )
    dtype = np.dtype(TYPES[code])
    if bits not in (0, 8 * dtype.itemsize):
        raise damaged(name, f"it says {bits} bits for a voxel of {dtype}")
    return dtype


def _offset(name: str, header: Any) -> int:
    offset = float(header["vox_offset"])
    if not (offset >= header.single_vox_offset and offset == np.floor(offset) < 2**40):
        raise damaged(name, f"its voxels start at byte {offset}")
    return int(offset)


def _scaling(name: str, header: Any) -> tuple[float, float]:
    """Return what a stored number is multiplied by, and what is added then."""
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or np.isnan(slope):  # the standard's, and nibabel's, "not scaled"
        return 1.0, 0.0
    if not (np.isfinite(slope) and np.isfinite(inter)):
        raise damaged(name, f"it scales voxels by {slope} and {inter}")
    return slope, inter


def _affine(
    name: str, header: Any, shape: tuple[int, int, int]
) -> Float[np.ndarray, "4 4"]:
    """Return the sform, else the qform, in the standard's order."""
    s_code, q_code = int(header["sform_code"]), int(header["qform_code"])
    if not (0 <= s_code <= MOST_CODE and 0 <= q_code <= MOST_CODE):
        raise damaged(name, f"it has sform code {s_code} and qform code {q_code}")
    if not (s_code or q_code):
        raise VolumeError(
            f"{name} does not say where it lies (no sform, no qform): export it with "
            "its orientation."
        )
    unit = _unit(name, header)
    _check_pixdim(name, header)
    stated = []
    with np.errstate(invalid="ignore"):  # NaN is refused below
        if s_code:
            stated.append(_sform(header))
        if q_code:
            stated.append(_qform(name, header))
    for affine in stated:
        affine[:3] *= unit
        check_affine(name, affine)
    if len(stated) == 2 and not agree(shape, *stated):
        raise VolumeError(
            f"{name} says two places for its voxels (sform and qform differ by over "
            f"{SAME_MM} mm): export it again, or clear the wrong one."
        )
    spacing = unit * header["pixdim"][1:4].astype(np.float64)
    _check_spacing(name, spacing, shape, stated[0])
    return np.asarray(stated[0])


def _unit(name: str, header: Any) -> float:
    code = int(header["xyzt_units"]) & 7
    if code not in MILLIMETRES:
        raise damaged(name, f"it gives its lengths in the unknown unit {code}")
    return MILLIMETRES[code]


def _check_pixdim(name: str, header: Any) -> None:
    spacing = header["pixdim"][1:4]
    if not (np.isfinite(spacing).all() and (spacing > 0).all()):
        told = " x ".join(f"{length:.3g}" for length in spacing)
        raise VolumeError(
            f"{name} has a voxel spacing of {told}; it must be above zero: export it "
            "again."
        )


def _check_spacing(
    name: str, spacing: Any, shape: tuple[int, int, int], affine: Any
) -> None:
    """Refuse a file whose size depends on which of its fields a reader believes."""
    other = np.linalg.norm(affine[:3, :3], axis=0)
    lengths = np.maximum(np.array(shape) - 1, 1)
    if (np.abs(spacing - other) * lengths > SAME_MM).any():
        raise VolumeError(
            f"{name} says two sizes for its voxels (pixdim and sform differ): export "
            "it again."
        )


def _sform(header: Any) -> Float[np.ndarray, "4 4"]:
    rows = [header[f"srow_{axis}"] for axis in "xyz"]
    return np.array([*rows, (0, 0, 0, 1)], dtype=np.float64)


def _qform(name: str, header: Any) -> Float[np.ndarray, "4 4"]:
    quaternion = np.array([float(header[f"quatern_{part}"]) for part in "bcd"])
    handedness = float(header["pixdim"][0])
    norm = float(np.linalg.norm(quaternion))
    if norm > 1 + 1e-5:  # the slack is that of 32-bit numbers
        raise damaged(name, f"the quaternion {quaternion} of its qform is no rotation")
    if handedness not in (-1, 0, 1):
        raise damaged(name, f"the handedness of its qform is {handedness}")
    own = header.copy()
    if norm > 1:
        for part, value in zip("bcd", quaternion / norm, strict=True):
            own[f"quatern_{part}"] = value
    if handedness == 0:  # "should not occur", says the standard, and means 1
        own["pixdim"][0] = 1
    return np.array(own.get_qform(), dtype=np.float64)
