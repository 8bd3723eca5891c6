"""NIfTI volumes: read whole and checked, written whole.

nibabel alone lets most single-bit faults of a ``.nii.gz`` through, so the stream is
inflated here first, with its checksum verified and its size capped by the header.
"""

import gzip
import hashlib
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from isal import isal_zlib
from jaxtyping import Float, Shaped
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, ImageDataError

from napari_harm3.artifacts import write_bytes
from napari_harm3.errors import VolumeError

MOST_BYTES = 4 << 30
"""A volume larger than this is refused before memory is asked for."""

HEADER_BYTES = 544
GZIP_MAGIC = b"\x1f\x8b"
SAME_MM = 1.0
"""How far sform and qform may place a corner apart."""


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Where a voxel grid lies: shape, and the affine from indices to RAS mm."""

    shape: tuple[int, int, int]
    affine: Float[np.ndarray, "4 4"]

    @property
    def spacing_mm(self) -> Float[np.ndarray, "3"]:
        """Distance of neighbouring voxels along each array axis."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))

    def same_as(self, other: "Geometry") -> bool:
        """Return whether two grids are one, to a hundredth of a millimetre."""
        return self.shape == other.shape and np.allclose(
            self.affine, other.affine, atol=0.01
        )


@dataclass(frozen=True, kw_only=True)
class Volume(Geometry):
    """A volume in its own space, axes as in its file."""

    array: Float[np.ndarray, "X Y Z"]
    name: str
    """Name of the file, without its folder."""

    sha256: str
    """Of the file's bytes."""


def read_volume(path: Path) -> Volume:
    """Return a volume whose every byte was checked.

    Raises
    ------
    VolumeError
        If the file is missing, damaged, no 3-D NIfTI volume of real numbers, too
        large, without usable geometry, constant, or holds NaN or infinity.
    """
    packed = _bytes_of(path)
    image = _image(path, _unpacked(path, packed))
    array = _voxels(path, image)
    geometry = _geometry(path, image)
    return Volume(
        shape=geometry.shape,
        affine=geometry.affine,
        array=array,
        name=path.name,
        sha256=hashlib.sha256(packed).hexdigest(),
    )


def read_geometry(path: Path) -> Geometry:
    """Return shape and affine from the header alone; the voxels are not checked.

    Raises
    ------
    VolumeError
        If the header is missing, or says something impossible.
    """
    try:
        with path.open("rb") as stream:
            packed = stream.read(1 << 16)
    except OSError as error:
        raise _unreadable(path, error) from error
    if packed[:2] == GZIP_MAGIC:
        try:
            packed = zlib.decompressobj(31).decompress(packed, HEADER_BYTES)
        except zlib.error as error:
            raise _damaged(path, str(error)) from error
    return _geometry(path, _image(path, packed))


def write_volume(
    path: Path, array: Shaped[np.ndarray, "X Y Z"], affine: Float[np.ndarray, "4 4"]
) -> None:
    """Write ``.nii.gz`` atomically; the same voxels give the same bytes."""
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    write_bytes(path, gzip.compress(image.to_bytes(), 6, mtime=0))


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unpacked(path: Path, packed: bytes) -> bytes:
    """Return the NIfTI bytes; a gzip stream is inflated whole and checked."""
    if packed[:2] != GZIP_MAGIC:
        return packed
    try:
        head = zlib.decompressobj(31).decompress(packed, HEADER_BYTES)
    except zlib.error as error:
        raise _damaged(path, str(error)) from error
    expected = _expected_bytes(path, _image(path, head))
    # One byte more than the header promises tells an overlong stream from a right one.
    inflate = isal_zlib.decompressobj(31)
    try:
        content = bytes(inflate.decompress(packed, expected + 1))
        content += bytes(inflate.flush()) if not inflate.eof else b""
    except (isal_zlib.error, zlib.error) as error:  # type: ignore[misc]  # isal's stub
        raise _damaged(path, str(error)) from error
    if not inflate.eof or inflate.unused_data.strip(b"\0"):
        raise _damaged(path, "the compressed stream is cut short or too long")
    _check_trailer(path, packed, content, len(inflate.unused_data))
    return content


def _check_trailer(path: Path, packed: bytes, content: bytes, unused: int) -> None:
    """Verify gzip's own checksum and length, whatever the inflater does about them."""
    end = len(packed) - unused
    checksum, length = struct.unpack("<II", packed[end - 8 : end])
    if length != len(content) & 0xFFFFFFFF or checksum != isal_zlib.crc32(content):
        raise _damaged(path, "its checksum does not match")


def _expected_bytes(path: Path, image: Any) -> int:
    header = image.header
    voxels = int(np.prod([int(n) for n in header.get_data_shape()], dtype=object))
    item = int(header.get_data_dtype().itemsize)
    size = int(header.get_data_offset()) + voxels * item
    if not 0 < size <= MOST_BYTES:
        raise VolumeError(
            f"{path.name} claims {size / 2**30:.1f} GiB of voxels; at most "
            f"{MOST_BYTES >> 30} GiB are read. Crop it, or check its header."
        )
    return size


def _image(path: Path, content: bytes) -> Any:
    """Return nibabel's image over bytes, of which only the header is read."""
    if len(content) < 348:
        raise _damaged(path, "it ends inside its header")
    big, little = (struct.unpack(order + "i", content[:4])[0] for order in "><")
    kind = nib.Nifti2Image if 540 in (big, little) else nib.Nifti1Image
    try:
        if not kind.header_class.may_contain_header(content):
            raise VolumeError(
                f"{path.name} is not a NIfTI file: give a .nii or .nii.gz volume."
            )
        return kind.from_bytes(content)
    except (ImageFileError, HeaderDataError, ValueError, OverflowError) as error:
        raise _damaged(path, f"its header is wrong: {error}") from error


def _voxels(path: Path, image: Any) -> Float[np.ndarray, "X Y Z"]:
    dtype = image.header.get_data_dtype()
    if dtype.kind not in "iuf":
        raise VolumeError(
            f"{path.name} holds {dtype} voxels; export it with one real number a voxel."
        )
    _expected_bytes(path, image)
    try:
        array = np.asarray(image.dataobj, dtype=np.float32)
    except (ImageDataError, OSError, ValueError, OverflowError) as error:
        raise _damaged(path, "it holds fewer voxels than its header says") from error
    array = array.reshape(_shape(path, image))
    if not np.isfinite(array).all():
        raise VolumeError(
            f"{path.name} holds NaN or infinite voxels: export it again, with numbers."
        )
    return array


def _shape(path: Path, image: Any) -> tuple[int, int, int]:
    shape = tuple(int(n) for n in image.header.get_data_shape())
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3 or min(shape) < 1:
        raise VolumeError(
            f"{path.name} has shape {shape}: one three-dimensional volume is needed."
        )
    return shape[0], shape[1], shape[2]


def _geometry(path: Path, image: Any) -> Geometry:
    """Return the grid by the sform, else the qform, in the standard's order."""
    shape = _shape(path, image)
    try:
        with np.errstate(all="ignore"):
            sform, s_code = image.header.get_sform(coded=True)
            qform, q_code = image.header.get_qform(coded=True)
    except (HeaderDataError, ValueError, np.linalg.LinAlgError) as error:
        raise _damaged(path, f"its orientation cannot be read: {error}") from error
    affine = next((a for a in (sform, qform) if a is not None), None)
    if affine is None:
        raise VolumeError(
            f"{path.name} does not say where it lies (no sform, no qform): export it "
            "with its orientation."
        )
    geometry = Geometry(shape=shape, affine=np.asarray(affine, dtype=np.float64))
    _check_affine(path, geometry)
    if s_code and q_code and not _agree(shape, sform, qform):
        raise VolumeError(
            f"{path.name} says two places for its voxels (sform and qform differ by "
            f"over {SAME_MM} mm): export it again, or clear the wrong one."
        )
    return geometry


def _check_affine(path: Path, geometry: Geometry) -> None:
    affine = geometry.affine
    spacing = geometry.spacing_mm
    if not np.isfinite(affine).all() or (spacing < 1e-3).any() or (spacing > 100).any():
        raise VolumeError(
            f"{path.name} has a voxel spacing of {spacing} mm, which cannot be right: "
            "export it again."
        )
    directions = affine[:3, :3] / spacing
    if abs(np.linalg.det(directions)) < 0.9:
        raise VolumeError(
            f"{path.name} has sheared or singular axes: resample it onto an orthogonal "
            "grid first."
        )


def _agree(
    shape: tuple[int, int, int],
    one: Float[np.ndarray, "4 4"],
    other: Float[np.ndarray, "4 4"],
) -> bool:
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], [1])).reshape(4, -1)
    with np.errstate(invalid="ignore"):
        apart = np.linalg.norm(((one - other) @ corners)[:3], axis=0)
    return bool((apart <= SAME_MM).all())


def _unreadable(path: Path, error: OSError) -> VolumeError:
    if isinstance(error, FileNotFoundError):
        return VolumeError(f"{path.name} does not exist: correct the path.")
    return VolumeError(f"{path.name} cannot be read ({error.strerror}).")


def _damaged(path: Path, how: str) -> VolumeError:
    return VolumeError(
        f"{path.name} is damaged ({how}): copy it again from its source."
    )
