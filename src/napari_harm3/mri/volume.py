"""NIfTI volumes: read whole and checked, written whole.

nibabel alone lets most single-bit faults of a ``.nii.gz`` through, so the stream is
inflated here, with its checksum verified and its size capped by the header: at once by
libdeflate, which is fastest, or else piece by piece by isal, which says what is wrong.
"""

import gzip
import hashlib
import io
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from imagecodecs import GzipError, gzip_decode
from isal import igzip, isal_zlib
from jaxtyping import Float, Shaped, UInt8

from napari_harm3.artifacts import write_bytes
from napari_harm3.errors import VolumeError
from napari_harm3.mri.affine import agree
from napari_harm3.mri.header import Layout, damaged, layout_of

MOST_BYTES = 4 << 30
"""A volume larger than this, as a file or in memory, is refused beforehand."""

MOST_VALUE = 1e12
"""No scanner measures more, and the squares of larger numbers overflow."""

SAME_SHARE = 0.1
"""Of a voxel: two statements of one grid are rounded, and differ by less."""

NIFTI1_BYTES, NIFTI2_BYTES = 348, 540
SIZES = (NIFTI1_BYTES, NIFTI2_BYTES)
"""Length of a header, which is also its first number."""

GZIP_MAGIC = b"\x1f\x8b"
GZIP_MOST = 1032
"""No gzip stream unpacks to more bytes than this for one of its own."""

STEP_BYTES = 1 << 20
"""Unpacked at a time."""

PIECES, PIECE_BYTES = 64, 1 << 12
"""Taken evenly from a content, and hashed beside its checksum."""

STEP_VOXELS = 1 << 18
"""Turned into numbers at a time."""

FEWER = "it holds fewer voxels than its header says"
LONGER = "it is longer than its header says"
GZIP_FAULTS: Any = (  # isal's stub calls its error an instance
    EOFError,
    gzip.BadGzipFile,
    isal_zlib.error,
    zlib.error,
)


class Digest:
    """A SHA-256: given as text, or found from bytes when it is first asked for.

    To hash a volume's file takes a fifth as long as to unpack it, and most volumes are
    only looked at.
    """

    def __get__(self, owner: object, kind: type | None = None) -> str:
        """Return the digest in hexadecimal."""
        if owner is None:
            raise AttributeError  # so that the field has no default
        value = owner.__dict__["sha256"]
        if not isinstance(value, str):
            value = owner.__dict__["sha256"] = hashlib.sha256(value).hexdigest()
        return value

    def __set__(self, owner: object, value: str | bytes) -> None:
        """Keep the digest, or what it is to be found from."""
        owner.__dict__["sha256"] = value


class Voxels:
    """Voxels as float32, made of those of a file when they are first asked for.

    Scanners write whole numbers of 16 bits. These take half the room, and what goes
    through all of them is twice as fast: `Volume.stored` gives them as they are.
    """

    def __get__(
        self, owner: object, kind: type | None = None
    ) -> Float[np.ndarray, "X Y Z"]:
        """Return the voxels as float32; those of the file are let go."""
        if owner is None:
            raise AttributeError  # so that the field has no default
        array = owner.__dict__["array"]
        if array.dtype != np.float32 and array.dtype.kind in "iu":
            array = owner.__dict__["array"] = array.astype(np.float32)
        return np.asarray(array)

    def __set__(self, owner: object, value: Shaped[np.ndarray, "X Y Z"]) -> None:
        """Keep voxels that are the numbers meant."""
        owner.__dict__["array"] = value


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Where a voxel grid lies: shape, and the affine from indices to RAS mm."""

    shape: tuple[int, int, int]
    affine: Float[np.ndarray, "4 4"]

    @property
    def spacing_mm(self) -> Float[np.ndarray, "3"]:
        """Distance of neighbouring voxels along each array axis."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in millilitres."""
        return abs(float(np.linalg.det(self.affine[:3, :3]))) / 1000

    def same_as(self, other: "Geometry") -> bool:
        """Return whether two grids are one: no corner is a tenth of a voxel apart."""
        within_mm = SAME_SHARE * float(self.spacing_mm.min())
        return self.shape == other.shape and agree(
            self.shape, self.affine, other.affine, within_mm=within_mm
        )


@dataclass(frozen=True, kw_only=True)
class Volume(Geometry):
    """A volume in its own space, axes as in its file."""

    array: Voxels = Voxels()
    name: str
    """Name of the file, without its folder."""

    sha256: Digest = Digest()
    """Of the file's bytes."""

    unpacked: str | None = None
    """What stays the same when the file is packed anew, see `fingerprint`; None for a
    format that is not packed as a whole."""

    frame_of_reference: str | None = None
    """UID of the scanner's coordinate system, where the file says it (DICOM)."""

    @property
    def stored(self) -> Shaped[np.ndarray, "X Y Z"]:
        """The voxels, in the type that holds them now: the same numbers as `array`."""
        return np.asarray(self.__dict__["array"])


def read_nifti(path: Path) -> Volume:
    """Return a volume whose every byte was checked.

    Raises
    ------
    VolumeError
        If the file is missing, damaged, no 3-D NIfTI volume of real numbers, too
        large, without usable geometry, or holds NaN or infinity.
    """
    packed = file_bytes(path)
    with _stream(packed) as stream:
        try:
            layout = _header(path.name, stream)
            if layout.size_bytes > GZIP_MOST * len(packed):  # no memory is asked for
                raise damaged(path.name, FEWER)
            content = _inflated(packed, layout.size_bytes)
            if content is None:
                content = _streamed(path.name, layout, stream)
                crc = isal_zlib.crc32(content)
            else:
                crc = int.from_bytes(packed[-8:-4], "little")  # verified there
        except GZIP_FAULTS as error:
            raise damaged(path.name, str(error)) from error
    return Volume(
        shape=layout.shape,
        affine=layout.affine,
        array=_voxels(path.name, layout, content),
        name=path.name,
        sha256=packed,
        unpacked=fingerprint(content, crc),
    )


def read_nifti_geometry(path: Path) -> Geometry:
    """Return shape and affine from the header alone; the voxels are not checked.

    Raises
    ------
    VolumeError
        If the header is missing, or says something impossible.
    """
    with _stream(file_bytes(path, most=1 << 16)) as stream:
        try:
            layout = _header(path.name, stream)
        except GZIP_FAULTS as error:
            raise damaged(path.name, str(error)) from error
    return Geometry(shape=layout.shape, affine=layout.affine)


def write_volume(
    path: Path, array: Shaped[np.ndarray, "X Y Z"], affine: Float[np.ndarray, "4 4"]
) -> None:
    """Write ``.nii.gz`` atomically; the same voxels give the same bytes.

    isal takes a tenth of zlib's time or less for a few percent more bytes.
    """
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    grid = Geometry(shape=array.shape, affine=image.get_sform())
    if not grid.same_as(Geometry(shape=array.shape, affine=image.get_qform())):
        image.header["qform_code"] = 0  # it knows no shear
    write_bytes(path, igzip.compress(image.to_bytes(), 2, mtime=0))


def fingerprint(content: UInt8[np.ndarray, "N"], crc: int) -> str:
    """Return what tells contents apart, however they are packed, as SHA-256.

    To hash all of a content would take a tenth of the time of unpacking it; its
    CRC-32, which is known, would alone now and then take two of some thousand for one.
    """
    digest = hashlib.sha256(f"{len(content)} {crc}".encode())
    for start in np.linspace(0, len(content), PIECES, endpoint=False, dtype=int):
        digest.update(content[start : start + PIECE_BYTES].data)
    return digest.hexdigest()


def file_bytes(path: Path, *, most: int | None = None) -> bytes:
    """Return a file's bytes, or only the first of them.

    Raises
    ------
    VolumeError
        If it is missing, no plain file, too large, or the system does not give it.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe or a device may never end
            raise VolumeError(f"{path.name} is no file: give a volume's file.")
        if most is None and status.st_size > MOST_BYTES:
            raise too_large(path.name, status.st_size)
        with path.open("rb") as stream:
            return stream.read(-1 if most is None else most)
    except FileNotFoundError as error:
        raise VolumeError(f"{path.name} does not exist: correct the path.") from error
    except OSError as error:
        raise VolumeError(f"{path.name} cannot be read ({error.strerror}).") from error


def _stream(packed: bytes) -> Any:
    """Return the unpacked bytes of a file, to be read in turn.

    Several gzip members in a row are one stream, as gzip's standard has it; the length
    and the checksum of each are verified when its end is reached.
    """
    stream = io.BytesIO(packed)
    zipped = packed.startswith(GZIP_MAGIC)
    return igzip.IGzipFile(fileobj=stream) if zipped else stream


def _header(name: str, stream: Any) -> Layout:
    """Return what the header says, with which a stream begins."""
    start = stream.read(NIFTI1_BYTES)
    byte_order = "<" if int.from_bytes(start[:4], "little") in SIZES else ">"
    size = int.from_bytes(start[:4], "little" if byte_order == "<" else "big")
    if size not in SIZES:
        raise VolumeError(f"{name} is not a NIfTI file: give a .nii or .nii.gz volume.")
    start += stream.read(size - NIFTI1_BYTES)
    if len(start) < size:
        raise damaged(name, "it ends inside its header")
    kind = nib.Nifti1Header if size == NIFTI1_BYTES else nib.Nifti2Header
    header = kind(start, endianness=byte_order, check=False)
    _check_magic(name, bytes(header["magic"]), 1 if size == NIFTI1_BYTES else 2)
    layout = layout_of(name, header, byte_order=byte_order)
    as_floats = 4 * int(np.prod(layout.shape, dtype=object))
    if max(layout.size_bytes, as_floats) > MOST_BYTES:
        raise too_large(name, max(layout.size_bytes, as_floats))
    return layout


def _check_magic(name: str, magic: bytes, version: int) -> None:
    if magic[:3] == f"ni{version}".encode():
        raise VolumeError(
            f"{name} is half of a pair (.hdr and .img): convert it to one .nii.gz file."
        )
    if magic[:3] != f"n+{version}".encode():
        raise VolumeError(
            f"{name} is not a NIfTI file (an Analyze header does not tell left from "
            "right): give a .nii or .nii.gz volume."
        )


def _inflated(packed: bytes, size: int) -> UInt8[np.ndarray, "N"] | None:
    """Return what a file unpacks to; None if it is not one sound member of that size.

    libdeflate verifies length and checksum of the first member, and looks no further:
    these eight bytes must end the file, and stand nowhere before.
    """
    content = np.empty(size, dtype=np.uint8)
    try:
        found = len(gzip_decode(packed, out=content.data))
    except (GzipError, ValueError):
        return None
    whole = found == size and packed.rfind(packed[-8:], 0, -1) < 0
    return content if whole else None


def _streamed(name: str, layout: Layout, stream: Any) -> UInt8[np.ndarray, "N"]:
    """Return the bytes of a stream, which must end with those of the voxels."""
    content = np.empty(layout.size_bytes, dtype=np.uint8)
    room, done = content.data, 0
    stream.seek(0)
    while done < len(room):
        read = stream.readinto(room[done : done + STEP_BYTES])
        if not read:
            raise damaged(name, FEWER)
        done += read
    if stream.read(1):  # this is also where the last checksum is verified
        raise damaged(name, LONGER)
    return content


def _voxels(
    name: str, layout: Layout, content: UInt8[np.ndarray, "N"]
) -> Shaped[np.ndarray, "X Y Z"]:
    """Return what the bytes of a file stand for, as float32 or short whole numbers."""
    stored = content[layout.offset :].view(layout.dtype)
    scaled = (layout.slope, layout.inter) != (1, 0)
    own = layout.dtype.newbyteorder("=")
    if not scaled and (own.itemsize <= 2 or own == np.float32):
        array = np.require(stored, own, "A")
    else:
        array = np.empty(stored.size, dtype=np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, stored.size, STEP_VOXELS):
                piece = stored[start : start + STEP_VOXELS]
                if scaled:
                    piece = piece * np.float64(layout.slope) + layout.inter
                array[start : start + STEP_VOXELS] = piece
    if array.dtype == np.float32:
        check_voxels(name, array)  # no short whole number can be wrong
    return array.reshape(layout.shape, order="F")


def check_voxels(name: str, array: Float[np.ndarray, "..."]) -> None:
    """Refuse voxels with which nothing can be computed.

    Raises
    ------
    VolumeError
        If one is NaN, infinite, or larger than any measurement.
    """
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):  # either is NaN if a voxel is
        raise VolumeError(
            f"{name} holds NaN or infinite voxels: export it again, with numbers."
        )
    if max(-low, high) > MOST_VALUE:
        raise VolumeError(
            f"{name} holds voxels from {low:.3g} to {high:.3g}, which no scanner "
            "measures: export it again."
        )


def too_large(name: str, size: int) -> VolumeError:
    """Return the sentence for a volume above `MOST_BYTES`."""
    return VolumeError(
        f"{name} claims {size / 2**30:.1f} GiB of voxels; at most "
        f"{MOST_BYTES >> 30} GiB are read. Crop it, or check its header."
    )
