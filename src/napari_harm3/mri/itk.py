"""NRRD and MetaImage volumes, the formats of ITK: read whole and checked."""

import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from napari_harm3.mri.header import damaged
from napari_harm3.mri.itk_header import TextHeader, read_header
from napari_harm3.mri.volume import (
    FEWER,
    LONGER,
    Geometry,
    Volume,
    check_voxels,
    file_bytes,
)


def read_itk(path: Path) -> Volume:
    """Return a volume whose every byte was checked.

    Raises
    ------
    VolumeError
        If a file is missing or damaged, the volume is no 3-D one of real numbers with
        a usable geometry, or holds NaN.
    """
    header = read_header(path)
    content = file_bytes(path)
    data = memoryview(content)[header.offset :]
    if header.data_file is not None:
        apart = file_bytes(header.data_file)
        content, data = content + apart, memoryview(apart)
    if header.packing is not None:
        numbers = _unpacked(header, data)
    else:
        numbers = np.frombuffer(data, dtype=np.uint8)
    if len(numbers) < header.size_bytes:
        raise damaged(path.name, FEWER)
    if len(numbers) > header.size_bytes:
        raise damaged(path.name, LONGER)
    stored = numbers.view(header.dtype).reshape(header.shape, order="F")
    with np.errstate(over="ignore", invalid="ignore"):
        array = stored.astype(np.float32)
    check_voxels(path.name, array)
    return Volume(
        shape=header.shape,
        affine=header.affine,
        array=array,
        name=path.name,
        sha256=content,
    )


def read_itk_geometry(path: Path) -> Geometry:
    """Return shape and affine from the header alone; the voxels are not checked.

    Raises
    ------
    VolumeError
        If the header is missing, or says something impossible.
    """
    header = read_header(path)
    return Geometry(shape=header.shape, affine=header.affine)


def _unpacked(header: TextHeader, data: memoryview) -> UInt8[np.ndarray, "bytes"]:
    """Return a stream's content, of which `zlib` verifies the checksum.

    No more is unpacked than a byte beyond what the header promises.
    """
    assert header.packing is not None
    inflate = zlib.decompressobj(header.packing)
    try:
        content = inflate.decompress(data, header.size_bytes + 1)
    except zlib.error as error:
        raise damaged(header.name, str(error)) from error
    if not inflate.eof and len(content) <= header.size_bytes:
        raise damaged(header.name, "its compressed stream is cut short")
    if inflate.unused_data.strip(b"\0"):
        raise damaged(header.name, "bytes follow its compressed stream")
    return np.frombuffer(content, dtype=np.uint8)
