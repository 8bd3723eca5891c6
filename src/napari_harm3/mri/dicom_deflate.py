"""Deflated DICOM files: how much they hold is known before pydicom inflates them.

pydicom inflates such a file at once, whatever comes out: a megabyte of it may fill a
gigabyte of memory.
"""

import math
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any, BinaryIO

from napari_harm3.errors import VolumeError
from napari_harm3.mri.series import number_of
from napari_harm3.mri.volume import MOST_BYTES

PIECE_BYTES = 1 << 12
"""Inflated at a time: some 4 MB at most come out."""

HEAD_BYTES = 4 << 20
"""Within these a header says how many pixels it has."""

MOST_HEADER_BYTES = 128 << 20
"""No header is longer, nor are the contours of a plan."""

SIZES = ("Rows", "Columns", "SamplesPerPixel", "NumberOfFrames", "BitsAllocated")
"""Their product is how many bits the pixels take."""


def check_inflated(
    stream: BinaryIO, name: str, header_of: Callable[[BinaryIO], Any]
) -> None:
    """Refuse what inflates to more than its header says.

    Parameters
    ----------
    stream
        Where the deflated part begins.
    name
        Of the file, for messages.
    header_of
        Reads a header, up to the pixels, from inflated bytes.

    Raises
    ------
    VolumeError
        If it holds more.
    """
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    head = bytearray()
    while len(head) < HEAD_BYTES and (piece := stream.read(PIECE_BYTES)):
        head += inflate.decompress(piece)
    most = MOST_HEADER_BYTES + _pixel_bytes(header_of(BytesIO(head)))
    size = len(head)
    while size <= most and (piece := stream.read(PIECE_BYTES)):
        size += len(inflate.decompress(piece))
    if size > most:
        raise VolumeError(
            f"{name} cannot be read as DICOM: it inflates to over {most >> 20} MiB, "
            "more than its header says. Export it uncompressed."
        )


def _pixel_bytes(header: Any) -> int:
    bits = math.prod(number_of(header, keyword) or 1 for keyword in SIZES)
    return int(min(bits / 8, MOST_BYTES))
